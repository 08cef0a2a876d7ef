package verification

import (
	"errors"
	"fmt"
	"log/slog"
)

// Errors of Stripe's API. The adapter returns them, and the rest of the service decides by them.
var (
	// ErrStripeUnknown: Stripe has no such session in this mode and account.
	ErrStripeUnknown = errors.New("Stripe knows no such session")
	// ErrStripeUnavailable: Stripe cannot be reached, answers too late, limits the rate, or fails.
	ErrStripeUnavailable = errors.New("Stripe's API is unavailable")
	// ErrStripeUnauthorized: Stripe refuses the key of this service (401 or 403). The caller cannot fix it.
	ErrStripeUnauthorized = errors.New("Stripe refuses the API key: check STRIPE_API_KEY and its permissions")
	// ErrStripeAccountRefused: Stripe refuses access to a connected account, or refused it within the last day, so that
	// the request was not sent. It says nothing about the key.
	ErrStripeAccountRefused = errors.New("the connected account gives no access at Stripe")
	// ErrStripeBusy: the request was not sent, because too many calls wait within this service. It wraps
	// ErrStripeUnavailable.
	ErrStripeBusy = fmt.Errorf("%w: too many calls wait for the rate limit", ErrStripeUnavailable)
	// ErrStripeBudget: the reads of the day for this purpose are used up.
	ErrStripeBudget = errors.New("the day's budget of Stripe API reads is spent: see API_READS_PER_DAY")
	// ErrStripeShare: the caller's share of the reads of the day is used up. It wraps ErrStripeBudget.
	ErrStripeShare = fmt.Errorf("%w: the share of this caller", ErrStripeBudget)
	// ErrStripeNotConfigured: there is no API key.
	ErrStripeNotConfigured = errors.New("no Stripe API key is configured: set STRIPE_API_KEY")
	// ErrStripeExcluded: the session belongs to a connected account that is not accepted. The request was not sent.
	ErrStripeExcluded = errors.New("the session is of a connected account that is not in STRIPE_ACCOUNTS")
	// ErrStripeOtherMode: a session was read that is of the mode which is not accepted.
	ErrStripeOtherMode = errors.New("the session is of the other mode than LIVEMODE says")
)

// StripePermissionError is an ErrStripeUnauthorized of a restricted key that lacks a permission.
type StripePermissionError struct {
	// Permission is Stripe's name of the missing permission, such as "rak_identity_product_read". If Stripe named several,
	// commas separate them.
	Permission string
}

func (e *StripePermissionError) Error() string {
	return ErrStripeUnauthorized.Error() + " (missing: " + e.Permission + ")"
}

// Unwrap returns ErrStripeUnauthorized.
func (e *StripePermissionError) Unwrap() error { return ErrStripeUnauthorized }

// StripeRefusedError is Stripe's refusal of a request that it understood: a 4xx that is none of the errors above.
type StripeRefusedError struct {
	// Code is Stripe's error code or, without one, its error type. It is never Stripe's message, which can quote the
	// request.
	Code string
}

// CodeIdempotency is Stripe's error code for an idempotency key that it has seen with another request.
const CodeIdempotency = "idempotency_error"

func (e *StripeRefusedError) Error() string { return "Stripe refused the call: " + e.Code }

// Purpose is the purpose of a request to Stripe. Requests of a smaller purpose go first, and no purpose can use up what a
// smaller one needs.
type Purpose uint8

// The purposes, the most important first.
const (
	// PurposeAmbiguous: the order of two events is ambiguous, or an event must be read at Stripe.
	PurposeAmbiguous Purpose = iota
	// PurposeCreated: an event says that a session was created which this service does not know. Its reads have the rate of
	// PurposeAmbiguous and go behind all of that: a caller's users can create sessions without limit, and must not delay the
	// outcomes of others.
	PurposeCreated
	// PurposeRetry: a person wants to try again.
	PurposeRetry
	// PurposeLookup: a caller asks for something that this service does not know.
	PurposeLookup
	// PurposeCatchUp: this service looks for events that it might have missed. These reads wait in one queue with the
	// lookups, and the budget of the day reserves more for them than lookups can use.
	PurposeCatchUp
)

// OfEvent reports whether the request is made for an event. Such requests have a rate of their own, and do not count in the
// budget of the day.
func (p Purpose) OfEvent() bool { return p == PurposeAmbiguous || p == PurposeCreated }

// Retrieved is the answer to a GET of a session at Stripe.
type Retrieved struct {
	Object Object
	// AsOf is Read.AsOf.
	AsOf int64
	// Link is the person's link back into the session. It is empty unless the status is requires_input.
	Link Link
}

// Link is a person's link back into a session. It can be used once, and each GET makes a new one. It goes into one
// response and is stored nowhere.
type Link struct {
	// URL is Stripe's hosted page, valid for 48 hours.
	URL Secret
	// ClientSecret is for Stripe.js, valid for 24 hours.
	ClientSecret Secret
}

// Secret is a text that no log, no error and no format verb shows.
type Secret string

const concealed = "[secret]"

// Reveal returns the text itself, for the one response or request that needs it.
func (s Secret) Reveal() string { return string(s) }

// String returns a placeholder and not the text.
func (s Secret) String() string { return concealed }

// GoString returns a placeholder, for %#v.
func (s Secret) GoString() string { return concealed }

// LogValue returns a placeholder, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(concealed) }

// MarshalText returns a placeholder, for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(concealed), nil }

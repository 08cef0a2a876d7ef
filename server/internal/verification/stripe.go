package verification

import (
	"errors"
	"fmt"
	"log/slog"
)

// Errors of Stripe's API, as the adapter tells them and the rest of the service decides by them.
var (
	// ErrStripeUnknown: Stripe has no such session (in this mode and account).
	ErrStripeUnknown = errors.New("Stripe knows no such session")
	// ErrStripeUnavailable: Stripe cannot be reached, answers too late, limits the rate or fails.
	ErrStripeUnavailable = errors.New("Stripe's API is unavailable")
	// ErrStripeUnauthorized: Stripe refuses this service's key (401, 403). Not the caller's fault.
	ErrStripeUnauthorized = errors.New("Stripe refuses the API key: check STRIPE_API_KEY and its permissions")
	// ErrStripeBusy: Stripe was not asked, because too many calls wait for their turn here. It is an
	// ErrStripeUnavailable.
	ErrStripeBusy = fmt.Errorf("%w: too many calls wait for their turn", ErrStripeUnavailable)
	// ErrStripeBudget: the day's reads for such a purpose are used up.
	ErrStripeBudget = errors.New("the day's budget of Stripe API reads is spent: see API_READS_PER_DAY")
	// ErrStripeShare: the caller's share of the day's reads is used up. It is an ErrStripeBudget.
	ErrStripeShare = fmt.Errorf("%w: the share of this caller", ErrStripeBudget)
	// ErrStripeNotConfigured: there is no API key.
	ErrStripeNotConfigured = errors.New("no Stripe API key is configured: set STRIPE_API_KEY")
	// ErrStripeExcluded: the session is of a connected account that is not accepted. Stripe was not asked.
	ErrStripeExcluded = errors.New("the session is of a connected account that is not in STRIPE_ACCOUNTS")
)

// StripeRefusedError says that Stripe understood a call and refused it (a 4xx other than the above).
type StripeRefusedError struct {
	// Code is Stripe's error code or, without one, its error type; never its message, which may
	// quote what was sent.
	Code string
}

// CodeIdempotency is Stripe's refusal of an idempotency key that came with another request before.
const CodeIdempotency = "idempotency_error"

func (e *StripeRefusedError) Error() string { return "Stripe refused the call: " + e.Code }

// Purpose says what Stripe is asked for. The smaller one goes first, and no purpose can use up what a smaller
// one needs.
type Purpose uint8

// The purposes, of the greatest worth first.
const (
	// PurposeDoubt: the order of two events is ambiguous, or an event must be read.
	PurposeDoubt Purpose = iota
	// PurposeRetry: a person wants to try again.
	PurposeRetry
	// PurposeLookup: a caller asks for more than is known here.
	PurposeLookup
	// PurposeCatchUp: this service looks for what it might have missed. It waits in line with the lookups, and
	// the day's budget keeps more for it than lookups can use.
	PurposeCatchUp
)

// Retrieved is the answer to a GET of a session at Stripe.
type Retrieved struct {
	Object Object
	// AsOf is Read.AsOf.
	AsOf int64
	// Link is the way back in; empty unless the status is requires_input.
	Link Link
}

// EventQuery says which events to list. The zero value: all that Stripe still has.
type EventQuery struct {
	// From and Before bound the events' `created`, in Unix seconds: From is included, Before is not.
	// 0: no bound.
	From, Before int64
	// After is the id of the event that the page follows, in the list's order: EventPage.Last. Empty:
	// the first page.
	After string
}

// EventPage is one page of Stripe's events about Identity sessions, the newest first.
type EventPage struct {
	// Events are those that can be used, with SourceStripeAPI. RecordTime is not set.
	Events []Event
	// Malformed are the ids of those that cannot; empty where the id cannot be read either.
	Malformed []string
	// Oldest and Newest are the least and the greatest `created` of all events of the page, also of
	// those that are of no use, in Unix seconds; 0 for an empty page.
	Oldest, Newest int64
	// Last is the id of the page's last event.
	Last string
	// More says that the list goes on after Last.
	More bool
	// AsOf is Read.AsOf: by Stripe's clock; 0 where Stripe did not tell the time.
	AsOf int64
}

// Link is a person's way back into a session: single use, made afresh by each GET. It goes into one
// response and nowhere else.
type Link struct {
	// URL is Stripe's hosted page, good for 48 hours.
	URL Secret
	// ClientSecret is for Stripe.js, good for 24 hours.
	ClientSecret Secret
}

// Secret is text that no log, error or format verb shows.
type Secret string

const concealed = "[secret]"

// Reveal returns the text itself, for the one place that may have it.
func (s Secret) Reveal() string { return string(s) }

// String conceals the text.
func (s Secret) String() string { return concealed }

// GoString conceals the text from %#v.
func (s Secret) GoString() string { return concealed }

// LogValue conceals the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(concealed) }

// MarshalText conceals the text from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(concealed), nil }

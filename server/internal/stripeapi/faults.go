package stripeapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/verification-status/server/internal/verification"
)

// Outcome is how a call ended. It is the label of a metric, so the set is small and fixed.
type Outcome string

// The outcomes.
const (
	OutcomeOK           Outcome = "ok"
	OutcomeUnknown      Outcome = "unknown"      // verification.ErrStripeUnknown
	OutcomeUnavailable  Outcome = "unavailable"  // verification.ErrStripeUnavailable
	OutcomeUnauthorized Outcome = "unauthorized" // verification.ErrStripeUnauthorized
	OutcomeBudget       Outcome = "budget"       // verification.ErrStripeBudget: not sent
	OutcomeBusy         Outcome = "busy"         // not sent: verification.ErrStripeBusy, or lookups are paused (breaker.go)
	OutcomeRefused      Outcome = "refused"      // *verification.StripeRefusedError

	OutcomeAccountRefused Outcome = "account_refused" // verification.ErrStripeAccountRefused
	OutcomeAccountRests   Outcome = "account_rests"   // verification.ErrStripeAccountRefused: not sent
)

// errKeyInUse: a POST with the same key is in progress. A later try gets its answer.
var errKeyInUse = fmt.Errorf("%w: the same request is in progress", verification.ErrStripeUnavailable)

// errAccountRefused is what a caller gets of a refused account: also a *StripeRefusedError with Stripe's code.
var errAccountRefused = fmt.Errorf("%w (%w)", verification.ErrStripeAccountRefused, &verification.StripeRefusedError{Code: codeAccountInvalid})

// codeAccountInvalid is Stripe's error code for an account that does not exist or has revoked its access.
const codeAccountInvalid = "account_invalid"

// fault is the failure of a call: err is for the caller, the other fields are for the log. Each text is this package's own
// or matches wordPattern.
type fault struct {
	outcome   Outcome
	err       error
	cause     string
	status    int
	code      string
	requestID string
	// permission is what a restricted key lacks. It is empty if Stripe did not name it.
	permission string
	// unknownAccount says that this service has nothing to do with the refused account: a caller named it.
	unknownAccount bool
}

// wordPattern matches Stripe's codes, types and request ids. Other texts are dropped, because they can contain anything.
var wordPattern = regexp.MustCompile(`^[A-Za-z0-9_]{1,100}$`)

func word(s string) string {
	if wordPattern.MatchString(s) {
		return s
	}
	return ""
}

// busy returns the fault of a call that got no slot.
func busy(caller context.Context) fault {
	if over := ended(caller); over != nil {
		return fault{outcome: OutcomeBusy, err: fmt.Errorf("%w: %w", verification.ErrStripeBusy, over)}
	}
	return fault{outcome: OutcomeBusy, err: verification.ErrStripeBusy}
}

// unavailable returns the fault of a call without a usable answer. If the caller's context has ended, the error also wraps
// the context's error, to distinguish it from a failure at Stripe.
func unavailable(caller context.Context, cause string) fault {
	f := fault{outcome: OutcomeUnavailable, err: verification.ErrStripeUnavailable, cause: cause}
	if over := ended(caller); over != nil {
		f.err = fmt.Errorf("%w: %w", f.err, over)
	}
	return f
}

// ended returns ctx.Err(), or DeadlineExceeded after the deadline of ctx. The connection has the same deadline and can
// fail a moment earlier.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ctx.Err() == nil && ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// permissionPattern matches the names of the permissions of restricted keys, such as rak_identity_product_read. Nothing else
// of Stripe's message is used, since a message can quote the request.
var permissionPattern = regexp.MustCompile(`\brak_[a-z0-9_]{1,80}\b`)

// maxPermissions bounds the permissions that are named of one message.
const maxPermissions = 4

// permissions returns the names of the permissions in Stripe's message, separated by commas.
func permissions(message string) string {
	var names []string
	for _, name := range permissionPattern.FindAllString(message, -1) {
		if !slices.Contains(names, name) && len(names) < maxPermissions {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// classify converts stripe-go's error to an error of package verification.
func classify(caller context.Context, r request, err error) fault {
	var refusal *stripe.Error
	if !errors.As(err, &refusal) {
		return unavailable(caller, cause(caller, err))
	}
	f := fault{
		status:    refusal.HTTPStatusCode,
		code:      word(string(refusal.Code)),
		requestID: word(refusal.RequestID),
	}
	if f.code == "" {
		f.code = word(string(refusal.Type))
	}
	f.outcome, f.err = judge(r, refusal)
	if lacks := (*verification.StripePermissionError)(nil); errors.As(f.err, &lacks) {
		f.permission = lacks.Permission
	}
	if f.outcome != OutcomeRefused {
		return f
	}
	if refused := (*verification.StripeRefusedError)(nil); errors.As(f.err, &refused) {
		if refusal.Type == stripe.ErrorTypeIdempotency {
			f.code = string(stripe.ErrorTypeIdempotency)
		}
		if f.code == "" {
			f.code = "unknown"
		}
		refused.Code = f.code
	}
	return f
}

// judge decides by the HTTP status, and by the code if several errors share the status.
// See https://docs.stripe.com/api/errors.
func judge(r request, refusal *stripe.Error) (Outcome, error) {
	status := refusal.HTTPStatusCode
	missing := status == http.StatusNotFound || refusal.Code == stripe.ErrorCodeResourceMissing
	switch {
	// It says nothing about the key of the other calls, and nothing about an account.
	case r.sensitive && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return OutcomeRefused, errSensitiveRefused
	// The account has revoked its access, or never gave it. The key works for the other accounts.
	case r.account != "" && refusal.Code == codeAccountInvalid:
		return OutcomeAccountRefused, errAccountRefused
	case status == http.StatusUnauthorized:
		return OutcomeUnauthorized, verification.ErrStripeUnauthorized
	case status == http.StatusForbidden:
		if names := permissions(refusal.Msg); names != "" {
			return OutcomeUnauthorized, &verification.StripePermissionError{Permission: names}
		}
		return OutcomeUnauthorized, verification.ErrStripeUnauthorized
	// If a POST gets a 404, something in its form is missing, such as a deleted verification flow.
	case missing && r.method == http.MethodGet:
		return OutcomeUnknown, verification.ErrStripeUnknown
	case refusal.Code == stripe.ErrorCodeIdempotencyKeyInUse:
		return OutcomeUnavailable, errKeyInUse
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError,
		refusal.Code == stripe.ErrorCodeLockTimeout:
		return OutcomeUnavailable, verification.ErrStripeUnavailable
	default:
		return OutcomeRefused, &verification.StripeRefusedError{}
	}
}

// cause says in this package's words why there was no answer. The text of the error is not used: it contains the URL with
// the session or reference, or a part of the body.
func cause(caller context.Context, err error) string {
	var network *net.OpError
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		return "the caller gave up"
	case ended(caller) != nil, errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &certificate):
		return "the server's certificate is not trusted: is STRIPE_API_BASE right?"
	case errors.Is(err, errAnswerTooLarge):
		return errAnswerTooLarge.Error()
	case errors.As(err, &network):
		return "network: " + network.Op + ": " + network.Err.Error()
	default:
		return "a broken connection, or an answer that is not Stripe's"
	}
}

// log writes one line about a failed call. An unknown session is not a failure. A call that was not sent gets no line, or
// callers would decide how many lines there are. The budget logs its own lines.
func (f fault) log(logger *slog.Logger, r request) {
	level, text := slog.LevelWarn, "stripe: call failed"
	switch f.outcome {
	case OutcomeOK, OutcomeBudget, OutcomeBusy, OutcomeAccountRests:
		return
	case OutcomeUnknown:
		level = slog.LevelDebug
	case OutcomeUnauthorized:
		level, text = slog.LevelError, "stripe: the API key was refused: check STRIPE_API_KEY and its permissions"
	case OutcomeRefused:
		switch {
		case errors.Is(f.err, errSensitiveRefused) && f.status == http.StatusUnauthorized:
			text = "stripe: STRIPE_SENSITIVE_API_KEY is not a key that Stripe knows, so no date of birth and no id number is compared: set a new key"
		case errors.Is(f.err, errSensitiveRefused):
			text = "stripe: sensitive results are not shown: they are older than 48 hours, or STRIPE_SENSITIVE_API_KEY lacks the permission to read them"
		}
	case OutcomeAccountRefused:
		text = "stripe: a connected account gives no access, so nothing is requested for it for a day"
		if f.unknownAccount {
			level, text = slog.LevelDebug, "stripe: an account that a caller named gives no access"
		}
	}
	fields := []any{"operation", string(r.operation), "outcome", string(f.outcome),
		"cause", f.cause, "status", f.status, "code", f.code, "request", f.requestID}
	if r.account != "" {
		fields = append(fields, "account", r.account)
	}
	if f.permission != "" {
		fields = append(fields, "permission", f.permission)
	}
	logger.Log(context.Background(), level, text, fields...)
}

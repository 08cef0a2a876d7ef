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
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/verification-status/server/internal/verification"
)

// Outcome says how a call ended. The set is small and fixed: a metric's label.
type Outcome string

// The outcomes.
const (
	OutcomeOK           Outcome = "ok"
	OutcomeUnknown      Outcome = "unknown"      // verification.ErrStripeUnknown
	OutcomeUnavailable  Outcome = "unavailable"  // verification.ErrStripeUnavailable
	OutcomeUnauthorized Outcome = "unauthorized" // verification.ErrStripeUnauthorized
	OutcomeBudget       Outcome = "budget"       // verification.ErrStripeBudget: not sent
	OutcomeBusy         Outcome = "busy"         // verification.ErrStripeBusy: not sent
	OutcomeRefused      Outcome = "refused"      // *verification.StripeRefusedError
)

// errKeyInUse: the same POST is under way, and its answer is there for the next try.
var errKeyInUse = fmt.Errorf("%w: the same request is under way", verification.ErrStripeUnavailable)

// fault is what went wrong, for the caller (err) and for the log (the rest). All its texts are this
// package's own or have passed wordPattern.
type fault struct {
	outcome   Outcome
	err       error
	cause     string
	status    int
	code      string
	requestID string
}

// wordPattern is the form of Stripe's codes, types and request ids. Texts of any other form are not
// passed on: they could be anything.
var wordPattern = regexp.MustCompile(`^[A-Za-z0-9_]{1,100}$`)

func word(s string) string {
	if wordPattern.MatchString(s) {
		return s
	}
	return ""
}

// busy is a call that got no turn.
func busy(caller context.Context) fault {
	if over := ended(caller); over != nil {
		return fault{outcome: OutcomeBusy, err: fmt.Errorf("%w: %w", verification.ErrStripeBusy, over)}
	}
	return fault{outcome: OutcomeBusy, err: verification.ErrStripeBusy}
}

// unavailable is a call without a usable answer. Where the caller's own context is over, the error
// is that one's too, so that it can be told from Stripe's trouble.
func unavailable(caller context.Context, cause string) fault {
	f := fault{outcome: OutcomeUnavailable, err: verification.ErrStripeUnavailable, cause: cause}
	if over := ended(caller); over != nil {
		f.err = fmt.Errorf("%w: %w", f.err, over)
	}
	return f
}

// ended is ctx.Err(), and DeadlineExceeded from the deadline on: a connection's own deadline is the
// same moment and may strike first.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ctx.Err() == nil && ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// classify turns stripe-go's error into the core's.
func classify(caller context.Context, method string, err error) fault {
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
	f.outcome, f.err = judge(method, refusal)
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

// judge goes by the HTTP status, and by the code where the status is shared.
// See https://docs.stripe.com/api/errors.
func judge(method string, refusal *stripe.Error) (Outcome, error) {
	status := refusal.HTTPStatusCode
	missing := status == http.StatusNotFound || refusal.Code == stripe.ErrorCodeResourceMissing
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return OutcomeUnauthorized, verification.ErrStripeUnauthorized
	// What a POST misses is something that it names, such as a deleted verification flow.
	case missing && method == http.MethodGet:
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

// cause says in our own words why there was no answer. The error's text is not used: it holds the
// URL, with the session or reference in it, or a sample of the body.
func cause(caller context.Context, err error) string {
	var network *net.OpError
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		return "the caller gave up"
	case ended(caller) != nil, errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
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

// log writes one line about a call that failed. Unknown sessions are no failures. A call that was not sent
// has no line: callers would decide how many there are. The budget has lines of its own.
func (f fault) log(logger *slog.Logger, operation Operation) {
	level := slog.LevelWarn
	switch f.outcome {
	case OutcomeOK, OutcomeBudget, OutcomeBusy:
		return
	case OutcomeUnknown:
		level = slog.LevelDebug
	case OutcomeUnauthorized:
		level = slog.LevelError
	}
	text := "stripe: call failed"
	if f.outcome == OutcomeUnauthorized {
		text = "stripe: the API key was refused: check STRIPE_API_KEY and its permissions"
	}
	logger.Log(context.Background(), level, text, "operation", string(operation), "outcome", string(f.outcome),
		"cause", f.cause, "status", f.status, "code", f.code, "request", f.requestID)
}

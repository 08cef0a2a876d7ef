package stripeapi

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/form"

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/verification"
)

const (
	sessionsPath  = "/v1/identity/verification_sessions"
	eventsPath    = "/v1/events"
	endpointsPath = "/v1/webhook_endpoints"
)

// Operation names a call in logs and metrics.
type Operation string

// The operations.
const (
	OperationRetrieve       Operation = "retrieve"
	OperationFind           Operation = "find"
	OperationCreate         Operation = "create"
	OperationEphemeralKey   Operation = "ephemeral_key"
	OperationEvents         Operation = "events"
	OperationSessions       Operation = "sessions"
	OperationEvent          Operation = "event"
	OperationEndpoints      Operation = "endpoints"
	OperationCreateEndpoint Operation = "create_endpoint"

	OperationDestinations      Operation = "destinations"
	OperationCreateDestination Operation = "create_destination"
	OperationProbe             Operation = "probe"
	OperationOutputs           Operation = "outputs"
	OperationSensitiveOutputs  Operation = "sensitive_outputs"
)

// request is one request to Stripe.
type request struct {
	operation Operation
	method    string
	path      string
	purpose   verification.Purpose
	account   string // the connected account; empty for the platform
	form      *form.Values
	// json is a JSON body, which API v2 takes instead of a form.
	json []byte
	// version is the Stripe-Version. Empty means stripe-go's.
	version string
	// idempotencyKey is only for POST.
	idempotencyKey string
	// sensitive sends Config.SensitiveKey in place of the usual key.
	sensitive bool
	// decode reads a 200. It returns "", or a fixed sentence that says why the answer cannot be used.
	decode func(answer) (wrong string)
}

// answer is a successful response. body holds the received bytes of an object.
type answer struct {
	body []byte
	asOf int64 // see asOf
}

// raw makes stripe-go keep the bytes instead of decoding them. An answer that is not a JSON object still fails.
type raw struct{ stripe.APIResource }

// call makes one request. It returns ErrStripeExcluded if the account is not accepted, and ErrStripeUnknown if the key has
// no account of its own and the request names none. It takes the read from the budget first, which answers at once, and
// then waits for a slot of the rate. A read that is not sent uses no budget, also if no connection to Stripe can be made. A
// read that Stripe received uses budget also if Stripe does not answer it: Stripe can have counted it. While Stripe fails, a
// lookup is not sent, uses no budget and gets the error of the last one.
func (c *Client) call(ctx context.Context, r request) error {
	if !c.config.Accounts.Accept(r.account) {
		return verification.ErrStripeExcluded
	}
	if r.account == "" && !c.HasPlatform() {
		return errNoPlatform
	}
	ctx, end := c.config.Trace(ctx, r.operation)
	f := c.send(ctx, r)
	end(f.outcome)
	c.config.Observe(r.operation, f.outcome)
	f.log(c.config.Logger, r)
	return f.err
}

func (c *Client) send(caller context.Context, r request) fault {
	ctx, cancel := context.WithTimeout(caller, c.config.Timeout)
	defer cancel()
	// A caller's lookup is no probe: callers would decide when an account is tried again.
	if r.account != "" && c.config.AccountRests(ctx, r.account, r.purpose != verification.PurposeLookup) {
		return fault{outcome: OutcomeAccountRests, err: errAccountRefused}
	}
	scope := scope{key: c.KeyID(r.account), connected: r.account != ""}
	if r.isLookup() {
		if err := c.breaker.paused(scope); err != nil {
			return fault{outcome: OutcomeBusy, err: err}
		}
	}
	holder := shares.HolderOf(caller)
	var read spent
	if r.method == http.MethodGet {
		var err error
		if read, err = c.budget.take(r.purpose, holder); err != nil {
			c.config.Refused(r.purpose, err)
			return fault{outcome: OutcomeBudget, err: err}
		}
	}
	if c.awaitSlot(ctx, r.purpose, holder) != nil {
		read.refund()
		return busy(caller)
	}
	key, header, err := c.addressOf(ctx, r.account)
	if r.sensitive {
		key = c.config.SensitiveKey() // of the same account as the usual one, so the header is the same
	}
	if err != nil {
		read.refund()
		return unavailable(caller, "not sent: the store does not say how the account is named")
	}
	probe, err := c.breaker.begin(scope, &r)
	if err != nil {
		read.refund()
		return fault{outcome: OutcomeBusy, err: err}
	}
	// Only a request that can be sent at once takes the account's probe.
	if r.account != "" && !c.config.AccountProbe(ctx, r.account) {
		read.refund()
		f := fault{outcome: OutcomeAccountRests, err: errAccountRefused}
		c.breaker.end(scope, &r, probe, &f, 0, false)
		return f
	}
	started := c.config.Clock()
	f, sent := c.sendNow(caller, ctx, r, key, header)
	c.breaker.end(scope, &r, probe, &f, c.config.Clock().Sub(started), ended(ctx) != nil)
	if !sent {
		read.refund()
	}
	return f
}

// sendNow sends a request within ctx, for a caller. sent reports whether Stripe can have received it, so that the read
// counts in Stripe's own limits.
func (c *Client) sendNow(caller, ctx context.Context, r request, key verification.Secret, header string) (_ fault, sent bool) {
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }})
	var response raw
	started := c.config.Clock()
	err := c.exchange(ctx, r, key, header, &response)
	took := c.config.Clock().Sub(started)
	if err != nil {
		f := classify(caller, r, err)
		c.noteAccount(caller, r, started, key, &f)
		return f, wrote.Load()
	}
	c.noteAccount(caller, r, started, key, &fault{outcome: OutcomeOK})
	last := response.LastResponse
	if last.StatusCode != http.StatusOK {
		return unavailable(caller, "an answer that is neither 200 nor an error: is STRIPE_API_BASE right?"), true
	}
	if wrong := r.decode(answer{body: last.RawJSON, asOf: asOf(last.Header, took)}); wrong != "" {
		return unavailable(caller, wrong), true
	}
	return fault{outcome: OutcomeOK}, true
}

// exchange sends a request and reads its answer. key and header are those of addressOf.
func (c *Client) exchange(ctx context.Context, r request, key verification.Secret, header string, response *raw) error {
	params := &stripe.Params{Context: ctx, Headers: http.Header{}}
	if header != "" {
		params.Headers.Set(header, r.account)
	}
	if r.version != "" {
		params.Headers.Set("Stripe-Version", r.version)
	}
	if r.idempotencyKey != "" {
		params.SetIdempotencyKey(r.idempotencyKey)
	}
	if r.json == nil {
		return c.backend.CallRaw(r.method, r.path, key.Reveal(), r.form, params, response)
	}
	sent, err := c.backend.NewRequest(r.method, r.path, key.Reveal(), "application/json", params)
	if err != nil {
		return err
	}
	return c.backend.Do(sent, bytes.NewBuffer(r.json), response)
}

// awaitSlot waits for a slot of the rate. Reads of events have their own rate, which no other call can use up.
func (c *Client) awaitSlot(ctx context.Context, purpose verification.Purpose, holder shares.Holder) error {
	switch purpose {
	case verification.PurposeAmbiguous:
		return c.events.Wait(ctx, 0, holder)
	case verification.PurposeCreated:
		return c.events.Wait(ctx, 1, holder)
	case verification.PurposeRetry:
		return c.others.Wait(ctx, 0, holder)
	default:
		return c.others.Wait(ctx, 1, holder)
	}
}

// asOf returns verification.Read.AsOf: the answer's Date less the duration of the call, because Stripe did not read the
// session before the call began. It is one second less, because the clocks of Stripe's servers can differ by a second.
// It returns 0 if the answer has no Date, as with some proxies.
func asOf(header http.Header, took time.Duration) int64 {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	seconds := int64(math.Ceil(max(0, took).Seconds()))
	return max(0, date.Unix()-seconds-1)
}

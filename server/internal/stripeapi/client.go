// Package stripeapi is the adapter to Stripe's API: it reads sessions, finds them by reference, lists
// events, creates the successor of a closed session, and registers webhook endpoints, within a rate, a
// daily budget and a deadline.
//
// It uses stripe-go for requests and errors, with its retries (they sleep through deadlines), its
// telemetry and its logger (it prints bodies) off. Answers are decoded by stripeevent like webhooks.
// It decides nothing about sessions and keeps nothing: links pass through to the caller alone, and
// Stripe's messages, which may quote what was sent, go no further than here.
package stripeapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/stripe/stripe-go/v76"

	"example.com/verification-status/server/internal/verification"
)

const (
	defaultRate    = 10
	defaultTimeout = 10 * time.Second
	// doubtRate is how many times RatePerSecond events and doubts have for themselves.
	doubtRate = 2
)

// Config says how to reach Stripe. Only Key is required.
type Config struct {
	// Key returns the secret or restricted API key as it is now. It is called for every request, from
	// many goroutines at once.
	Key func() verification.Secret
	// Base is the URL of the API. Empty: Stripe's own.
	Base string
	// Accounts: of other connected accounts nothing is asked. nil: all may be.
	Accounts verification.Accounts
	// ReferenceKey is stripeevent.Options.ReferenceKey.
	ReferenceKey string
	// RatePerSecond bounds all requests but the reads for events and doubts, which have twice the rate for
	// themselves. Requests are spaced evenly, so that no second sees more. 0: 10.
	RatePerSecond float64
	// ReadsPerDay bounds the GETs of one day (UTC) but those for events and doubts. 0: no bound.
	ReadsPerDay int
	// CallerSharePercent is the greatest part of ReadsPerDay, of its lookups and, while others wait, of
	// RatePerSecond that one named caller has; see package shares. 0: no bound by caller.
	CallerSharePercent int
	// Timeout bounds a call, the wait for its turn included, beside the caller's deadline. 0: 10 s.
	Timeout time.Duration
	// Clock tells the day and measures calls. nil: time.Now.
	Clock func() time.Time
	// Logger gets failed calls and the state of the budget. nil: slog.Default.
	Logger *slog.Logger
	// Observe is called after each call, from many goroutines at once. nil: nobody counts.
	Observe func(operation Operation, outcome Outcome)
	// Trace is called before each call, whose context is the one that it returns, and end after it.
	// nil: nobody traces.
	Trace func(ctx context.Context, operation Operation) (_ context.Context, end func(Outcome))
}

// Client calls Stripe's API. It is safe for concurrent use.
type Client struct {
	config    Config
	backend   stripe.Backend
	transport *http.Transport
	doubts    *schedule // of the reads for events and doubts
	others    *schedule // of all other requests: retries, then all the rest
	budget    *budget
}

// keyPattern is visible ASCII: anything else, such as a newline at the end of a file, cannot be sent
// in a header.
var keyPattern = regexp.MustCompile(`^[!-~]{1,512}$`)

// New checks the configuration and returns a client. It connects to nothing.
func New(config Config) (*Client, error) {
	if config.Key == nil || config.Key() == "" {
		return nil, verification.ErrStripeNotConfigured
	}
	if !keyPattern.MatchString(config.Key().Reveal()) {
		return nil, errors.New("the Stripe API key holds spaces, line ends or other characters that no key has: correct STRIPE_API_KEY")
	}
	if config.Base == "" {
		config.Base = stripe.APIURL
	}
	base, err := url.Parse(config.Base)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" ||
		base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("STRIPE_API_BASE must be like https://api.stripe.com, without user, query or fragment")
	}
	if config.RatePerSecond < 0 || config.ReadsPerDay < 0 || config.Timeout < 0 || config.CallerSharePercent < 0 {
		return nil, errors.New("rate, budget, shares and timeout of the Stripe API must not be negative")
	}
	if config.RatePerSecond == 0 {
		config.RatePerSecond = defaultRate
	}
	if config.Timeout == 0 {
		config.Timeout = defaultTimeout
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Observe == nil {
		config.Observe = func(Operation, Outcome) {}
	}
	if config.Trace == nil {
		config.Trace = func(ctx context.Context, _ Operation) (context.Context, func(Outcome)) { return ctx, func(Outcome) {} }
	}
	transport := newTransport()
	return &Client{
		config:    config,
		transport: transport,
		doubts:    newSchedule(doubtRate*config.RatePerSecond, 1, 0),
		others:    newSchedule(config.RatePerSecond, 2, config.CallerSharePercent),
		budget:    newBudget(config.ReadsPerDay, config.CallerSharePercent, config.Clock, config.Logger),
		backend: stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
			URL:               stripe.String(config.Base),
			HTTPClient:        newHTTPClient(transport, config.Timeout),
			MaxNetworkRetries: stripe.Int64(0),
			EnableTelemetry:   stripe.Bool(false),
			LeveledLogger:     silence{},
		}),
	}, nil
}

// ReadsLeft is how many of Config.ReadsPerDay are left until midnight UTC; 0 where there is no bound.
func (c *Client) ReadsLeft() int { return c.budget.left() }

// Close drops idle connections. Calls under way go on until they end.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

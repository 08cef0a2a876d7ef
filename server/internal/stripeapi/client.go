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

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/verification"
)

const (
	defaultRate    = 10
	defaultTimeout = 10 * time.Second
	// eventsRate times RatePerSecond is the rate of the reads of events: see verification.Purpose.OfEvent.
	eventsRate = 2
)

// Config says how to reach Stripe. Only Key is required.
type Config struct {
	// Key returns the current secret or restricted API key. It is called for every request, by many goroutines at once.
	Key func() verification.Secret
	// AccountKey returns the current key of a connected account's own, or "" if the account has none. nil means that no
	// account has one. It is called like Key.
	AccountKey func(account string) verification.Secret
	// SensitiveKey returns the current restricted key for sensitive results, or "" if there is none. nil means that there is none.
	// It is called like Key.
	SensitiveKey func() verification.Secret
	// ByContext reports whether the requests for a connected account name it in Stripe-Context instead of Stripe-Account.
	// nil means never. A key of an organization always does. If ByContext returns an error, the request is not sent and gets
	// ErrStripeUnavailable.
	ByContext func(ctx context.Context, account string) (bool, error)
	// AccountRests reports whether nothing is requested for a connected account now, because Stripe refused it before.
	// nil means never. canProbe says that the request can find out whether Stripe still refuses. AccountProbe is called just
	// before the request and reports whether it can be sent; nil means always. AccountRefused is called if Stripe refuses an
	// account, and AccountAnswered if it answers a request for one, both with the begin of the request and the KeyID of its
	// key. AccountRefused reports whether the account is known; a refusal of another one gets no warning, or callers would
	// decide how many there are. They can be nil. All are called by many goroutines at once.
	AccountRests    func(ctx context.Context, account string, canProbe bool) bool
	AccountProbe    func(ctx context.Context, account string) bool
	AccountRefused  func(ctx context.Context, account string, begin time.Time, keyID int64) (known bool)
	AccountAnswered func(ctx context.Context, account string, begin time.Time, keyID int64)
	// Base is the URL of the API. Empty means Stripe's own.
	Base string
	// Accounts are the accepted connected accounts. No request is sent for another one. nil accepts all.
	Accounts verification.Accounts
	// ReferenceKey is stripeevent.Options.ReferenceKey.
	ReferenceKey string
	// RatePerSecond limits all requests but the reads of events (verification.Purpose.OfEvent), which have twice this rate for themselves.
	// Requests are spaced evenly. With CallerSharePercent, up to three can go at once after a pause, so a second sees
	// two more at most. 0 means 10.
	RatePerSecond float64
	// ReadsPerDay limits the GETs of one day (UTC) but those of events. 0 means no limit.
	ReadsPerDay int
	// CallerSharePercent is the largest part of ReadsPerDay, of the lookups in it and, while others wait, of
	// RatePerSecond that one named caller gets. See package shares. 0 means no limit for a caller.
	CallerSharePercent int
	// Timeout bounds a call, including its wait for a slot. The caller's deadline also applies. 0 means 10 s.
	Timeout time.Duration
	// Clock decides which day it is and measures calls. nil means time.Now.
	Clock func() time.Time
	// Logger gets failed calls and the state of the budget. nil means slog.Default.
	Logger *slog.Logger
	// Observe is called after each call, by many goroutines at once. It can be nil.
	Observe func(operation Operation, outcome Outcome)
	// Refused is called for each read that the budget refuses, with ErrStripeBudget or ErrStripeShare, by many goroutines at once. It
	// can be nil.
	Refused func(purpose verification.Purpose, err error)
	// Trace is called before each call and returns the context of the call. end is called after the call. Trace can be
	// nil.
	Trace func(ctx context.Context, operation Operation) (_ context.Context, end func(Outcome))
}

// Client calls Stripe's API. It is safe for concurrent use.
type Client struct {
	config    Config
	backend   *stripe.BackendImplementation
	transport *http.Transport
	events    *shares.Schedule // the reads of events: those of sessions that are created go last
	others    *shares.Schedule // all other requests: retries first
	budget    *budget
	breaker   *breaker
}

// keyPattern matches visible ASCII. Anything else, such as the newline at the end of a file, cannot be sent in a header.
var keyPattern = regexp.MustCompile(`^[!-~]{1,512}$`)

// New returns a client. It returns verification.ErrStripeNotConfigured if there is no key, and another error if the
// configuration is not valid. It sends no request.
func New(config Config) (*Client, error) {
	if config.Key == nil || config.Key() == "" {
		return nil, verification.ErrStripeNotConfigured
	}
	if !keyPattern.MatchString(config.Key().Reveal()) {
		return nil, errors.New("the Stripe API key contains spaces, line ends or other characters that a key cannot have: correct STRIPE_API_KEY")
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
	config.setAccountHooks()
	if config.SensitiveKey == nil {
		config.SensitiveKey = func() verification.Secret { return "" }
	}
	if config.Observe == nil {
		config.Observe = func(Operation, Outcome) {}
	}
	if config.Refused == nil {
		config.Refused = func(verification.Purpose, error) {}
	}
	if config.Trace == nil {
		config.Trace = func(ctx context.Context, _ Operation) (context.Context, func(Outcome)) { return ctx, func(Outcome) {} }
	}
	transport := newTransport()
	backend, ok := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		URL:               stripe.String(config.Base),
		HTTPClient:        newHTTPClient(transport, config.Timeout),
		MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry:   stripe.Bool(false),
		LeveledLogger:     silence{},
	}).(*stripe.BackendImplementation)
	if !ok {
		return nil, errors.New("stripe-go's backend is of another type than in version 76")
	}
	return &Client{
		config:    config,
		transport: transport,
		events:    shares.NewSchedule(eventsRate*config.RatePerSecond, 2, 0),
		others:    shares.NewSchedule(config.RatePerSecond, 2, config.CallerSharePercent),
		budget:    newBudget(config.ReadsPerDay, config.CallerSharePercent, config.Clock, config.Logger),
		breaker:   newBreaker(config.Clock, config.Logger),
		backend:   backend,
	}, nil
}

// ReadsLeft returns how many of Config.ReadsPerDay are left until midnight UTC. It returns 0 if there is no limit.
func (c *Client) ReadsLeft() int { return c.ReadsLeftFor(verification.PurposeRetry) }

// ReadsLeftFor returns how many of them are left for a purpose, for all callers together. Do not ask for the purposes of
// events: their reads do not count.
func (c *Client) ReadsLeftFor(purpose verification.Purpose) int { return c.budget.left(purpose) }

// Close closes idle connections. Calls in progress continue until they end.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

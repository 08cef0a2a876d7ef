package webhook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// Path is the default of Config.Path.
const Path = "/webhook"

const (
	// retryAfter is the Retry-After of a 429 and a 503, in seconds. Stripe ignores it, and has a schedule of its own.
	retryAfter = "10"

	defaultTolerance    = 5 * time.Minute
	defaultApplyTimeout = 10 * time.Second
	defaultMaxInFlight  = 256
)

// Applier keeps events.
type Applier interface {
	// Apply returns nil only if the event is kept, now or by an earlier call. For a thin event, which must be read at Stripe, the
	// error can be one of verification's ErrStripe….
	Apply(ctx context.Context, event verification.Event) (verification.Outcome, error)
}

// Config configures a Handler. Applier and Secrets are required.
type Config struct {
	// Applier keeps the events. It is called concurrently.
	Applier Applier
	// Secrets returns the current signing secrets of the endpoint: several while one is rolled. It is called for every request,
	// concurrently.
	Secrets func() []verification.Secret
	// AccountOf, if not nil, returns the account whose endpoint has a signing secret, or "". Its events that name no account are of
	// this account. It is called concurrently.
	AccountOf func(secret verification.Secret) string
	// Platform, if not nil, returns the id of the platform's own account, or "". Events that name it are of the platform, as those
	// that name no account. It is called concurrently.
	Platform func() string
	// Path is the path to which Stripe must send its events. Every other path is answered 404. Empty: Path.
	Path string
	// Tolerance is the greatest difference between a signature's time and Clock, in both directions. 0: 5 minutes.
	Tolerance time.Duration
	// Livemode is the mode whose events are applied. Events of the other mode are acknowledged and ignored. A thin event that does
	// not say its mode reaches Applier. nil: both are applied.
	Livemode *bool
	// Accounts are the connected accounts whose events are applied. Events of others are acknowledged and ignored. nil: all are
	// applied.
	Accounts verification.Accounts
	// ReferenceKey is stripeevent.Options.ReferenceKey.
	ReferenceKey string
	// Deauthorized and Authorized, if not nil, are called with a connected account that has revoked or given its permission, and
	// with the Unix second of the event (0: unknown), before the answer, concurrently. After an error the answer is 503.
	Deauthorized, Authorized func(ctx context.Context, account string, second int64) error
	// ApplyTimeout bounds one Apply. 0: 10 seconds, which leaves time for an answer within the write timeout of NewServer.
	ApplyTimeout time.Duration
	// MaxInFlight is the limit of concurrent calls of Applier. An event over the limit is refused at once: Stripe sends it again,
	// and a queue would fill the memory. 0: 256.
	MaxInFlight int
	// Clock returns the time. nil: time.Now.
	Clock func() time.Time
	// Logger gets event ids, types, session ids and effects. nil: slog.Default.
	Logger *slog.Logger
	// Observe, if not nil, is called once for each request, after the answer, concurrently.
	Observe func(Result)
}

// Handler is the webhook endpoint. It is safe for concurrent use.
type Handler struct {
	config Config
	slots  chan struct{}            // one is taken during each Apply
	large  chan struct{}            // one is taken while a body that is not small arrives
	warned map[Reason]*atomic.Int64 // the Unix second of the last warning about a signature, by reason
}

// New returns a Handler. It returns an error if a required field is missing, if a number is negative, or if a secret is empty: anyone
// can sign with an empty key.
func New(config Config) (*Handler, error) {
	if config.Applier == nil || config.Secrets == nil {
		return nil, errors.New("webhook: Applier and Secrets are required")
	}
	secrets := config.Secrets()
	if len(secrets) == 0 {
		return nil, errors.New("no webhook signing secret: set STRIPE_WEBHOOK_SECRET")
	}
	for i, secret := range secrets {
		if !usable(secret) {
			return nil, fmt.Errorf("webhook signing secret %d of %d is empty: correct STRIPE_WEBHOOK_SECRET", i+1, len(secrets))
		}
	}
	if config.Tolerance < 0 || config.ApplyTimeout < 0 || config.MaxInFlight < 0 {
		return nil, errors.New("webhook: Tolerance, ApplyTimeout and MaxInFlight must not be negative")
	}
	if config.Path == "" {
		config.Path = Path
	}
	if config.Tolerance == 0 {
		config.Tolerance = defaultTolerance
	}
	if config.AccountOf == nil {
		config.AccountOf = func(verification.Secret) string { return "" }
	}
	if config.Platform == nil {
		config.Platform = func() string { return "" }
	}
	if config.ApplyTimeout == 0 {
		config.ApplyTimeout = defaultApplyTimeout
	}
	if config.MaxInFlight == 0 {
		config.MaxInFlight = defaultMaxInFlight
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Observe == nil {
		config.Observe = func(Result) {}
	}
	if config.Deauthorized == nil {
		config.Deauthorized = func(context.Context, string, int64) error { return nil }
	}
	if config.Authorized == nil {
		config.Authorized = func(context.Context, string, int64) error { return nil }
	}
	h := &Handler{config: config, slots: make(chan struct{}, config.MaxInFlight), large: make(chan struct{}, largeBodies), warned: map[Reason]*atomic.Int64{}}
	for reason := range advice {
		h.warned[reason] = &atomic.Int64{}
	}
	return h, nil
}

// ServeHTTP answers one delivery. It never redirects: for Stripe, a redirect is a failure.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := h.config.Clock()
	result := h.process(w, r)
	result.write(w)
	result.Took = h.config.Clock().Sub(started)
	h.config.Observe(result)
}

// process does all steps of a delivery, the cheapest first. A panic is answered like any other failure. Its text is not logged.
func (h *Handler) process(w http.ResponseWriter, r *http.Request) (result Result) {
	defer func() {
		if p := recover(); p != nil {
			// The value can quote the event. Its type and the stack cannot.
			h.config.Logger.Error("webhook: panic", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			result = Result{Status: http.StatusServiceUnavailable, Reason: ReasonPanic}
		}
	}()
	if r.URL.Path != h.config.Path {
		return Result{Status: http.StatusNotFound, Reason: ReasonWrongPath}
	}
	if r.Method != http.MethodPost {
		return Result{Status: http.StatusMethodNotAllowed, Reason: ReasonWrongMethod}
	}
	body, err := h.readBody(w, r)
	if err != nil {
		return unread(err)
	}
	secrets := h.config.Secrets()
	if !slices.ContainsFunc(secrets, usable) {
		h.config.Logger.Error("webhook: no signing secret is left: set STRIPE_WEBHOOK_SECRET")
		return Result{Status: http.StatusServiceUnavailable, Reason: ReasonNoSecret}
	}
	secret, reason := checkSignature(r.Header, body, secrets, h.config.Clock(), h.config.Tolerance)
	if reason != "" {
		h.refuse(reason)
		return Result{Status: http.StatusBadRequest, Reason: reason}
	}
	result = h.apply(r.Context(), body, h.config.AccountOf(secrets[secret-1]))
	result.Secret = secret
	return result
}

// apply decodes a body that Stripe has signed, and applies the event. account is the account of the event if it names none.
func (h *Handler) apply(ctx context.Context, body []byte, account string) Result {
	event, err := stripeevent.Decode(body, stripeevent.Options{ReferenceKey: h.config.ReferenceKey})
	if err != nil {
		return h.withoutEvent(ctx, err)
	}
	event.Object.Account = cmp.Or(event.Object.Account, account)
	if event.Object.Account == h.config.Platform() {
		event.Object.Account, event.Object.ByContext = "", false
	}
	result := Result{Status: http.StatusOK, EventType: knownType(event.Type)}
	if reason := h.foreign(event.Object.Livemode, event.ModeUnknown, event.Object.Account); reason != "" {
		h.log(ctx, slog.LevelDebug, "webhook: event of the other mode, or of an account that is not in STRIPE_ACCOUNTS, ignored", event,
			slog.Bool("livemode", event.Object.Livemode), slog.String("account", event.Object.Account))
		result.Reason = reason
		return result
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		h.log(ctx, slog.LevelDebug, "webhook: event refused, Stripe will send it again: WEBHOOK_MAX_IN_FLIGHT is reached", event)
		result.Status, result.Reason = http.StatusServiceUnavailable, ReasonOverloaded
		return result
	}
	now := h.config.Clock()
	event.Source, event.RecordTime = verification.SourceWebhook, now.UnixMilli()
	ctx, cancel := context.WithTimeout(ctx, h.config.ApplyTimeout)
	defer cancel()
	outcome, err := h.config.Applier.Apply(ctx, event)
	if err != nil {
		result.Status, result.Reason = resultOf(err)
		h.logFailure(ctx, event, result, err)
		return result
	}
	result.Reason, result.Effect = ReasonApplied, outcome.Effect
	if outcome.Duplicate {
		result.Reason = ReasonDuplicate
	}
	result.Age = max(0, now.Sub(time.Unix(event.Second, 0)))
	h.log(ctx, slog.LevelInfo, "webhook: event kept", event, slog.String("outcome", string(result.Reason)), slog.String("effect", outcome.Effect.String()))
	return result
}

// refuse logs a warning with advice, once a minute for each reason. Other clients could fill the log otherwise, and a warning for
// one reason must not hide that for another one.
func (h *Handler) refuse(reason Reason) {
	warned := h.warned[reason]
	now, last := h.config.Clock().Unix(), warned.Load()
	if now >= last && now-last < 60 || !warned.CompareAndSwap(last, now) {
		return
	}
	h.config.Logger.Warn("webhook: signature refused; this is logged once a minute for each reason",
		"reason", string(reason), "advice", advice[reason])
}

// advice says what an operator does about each reason to refuse a signature.
var advice = map[Reason]string{
	ReasonNotSigned:          "Stripe signs every webhook: another client sent this, or a proxy removes the Stripe-Signature header",
	ReasonMalformedSignature: "another client sent this, or a proxy changes the Stripe-Signature header",
	ReasonWrongSignature:     "check STRIPE_WEBHOOK_SECRET against the endpoint's signing secret at Stripe, and that no proxy changes the body; if another client sent this, nothing is wrong",
	ReasonTooOld:             "check this machine's clock; if this is a replayed request, nothing is wrong",
	ReasonInFuture:           "check this machine's clock; if this is a replayed request, nothing is wrong",
}

// usable reports whether a secret is not blank. A reload can bring blank ones.
func usable(secret verification.Secret) bool { return strings.TrimSpace(secret.Reveal()) != "" }

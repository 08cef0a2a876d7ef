// Package webhook receives Stripe's webhook: it bounds the body, checks the signature, has the event
// decoded and applied, and answers. It answers 2xx only when the event is kept or does not concern
// this service, because Stripe sends again whatever else it gets.
//
// It knows no Redis, no gRPC and no rule about events. Bodies, references and reasons are in none of
// its logs, and errors are in none of its answers.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// Path is where Stripe must send its events.
const Path = "/webhook"

const (
	// maxBody bounds a body, in bytes, before anything is computed from it. Identity's are below 2 KB.
	maxBody = 256 << 10
	// retryAfter is what a 503 tells whoever is not Stripe, which has a schedule of its own; seconds.
	retryAfter = "10"

	defaultTolerance    = 5 * time.Minute
	defaultApplyTimeout = 10 * time.Second
	defaultMaxInFlight  = 256
)

// Applier keeps an event. It returns nil only once the event is kept, or was before.
type Applier interface {
	Apply(ctx context.Context, event verification.Event) (verification.Outcome, error)
}

// Config is what a Handler needs. Applier and Secrets are required.
type Config struct {
	// Applier keeps the events; it is called from many goroutines at once.
	Applier Applier
	// Secrets returns the endpoint's signing secrets as they are now: several while one is rolled. It
	// is called for every request, from many goroutines at once.
	Secrets func() []verification.Secret
	// Tolerance is how far a signature's time may be from Clock, in both directions. 0: 5 minutes.
	Tolerance time.Duration
	// Livemode: events of the other mode are acknowledged and ignored. nil: both are applied.
	Livemode *bool
	// Accounts: events of other connected accounts are acknowledged and ignored. nil: all are applied.
	Accounts verification.Accounts
	// ReferenceKey is stripeevent.Options.ReferenceKey.
	ReferenceKey string
	// ApplyTimeout bounds one Apply. 0: 10 seconds, which leaves time to answer within NewServer's
	// write timeout.
	ApplyTimeout time.Duration
	// MaxInFlight is how many events are with the Applier at once; further ones are refused at once,
	// since Stripe sends them again and whoever waits in line fills the memory. 0: 256.
	MaxInFlight int
	// Clock is the time. nil: time.Now.
	Clock func() time.Time
	// Logger gets event ids, types, session ids and effects. nil: slog.Default.
	Logger *slog.Logger
	// Observe is called once for each request, after the answer, by many goroutines at once. nil:
	// nobody counts.
	Observe func(Result)
}

// Handler is the webhook endpoint. It is safe for concurrent use.
type Handler struct {
	cfg    Config
	places chan struct{}            // taken by the events that are with the Applier
	said   map[Reason]*atomic.Int64 // the Unix second of the last warning about a signature, by reason
}

// New checks the configuration. It refuses an empty secret: a signature that anyone can make with an
// empty key would pass, and the endpoint would be an open door.
func New(cfg Config) (*Handler, error) {
	if cfg.Applier == nil || cfg.Secrets == nil {
		return nil, errors.New("webhook: Applier and Secrets are required")
	}
	secrets := cfg.Secrets()
	if len(secrets) == 0 {
		return nil, errors.New("no webhook signing secret: set STRIPE_WEBHOOK_SECRET")
	}
	for i, secret := range secrets {
		if !usable(secret) {
			return nil, fmt.Errorf("webhook signing secret %d of %d is empty: correct STRIPE_WEBHOOK_SECRET", i+1, len(secrets))
		}
	}
	if cfg.Tolerance < 0 || cfg.ApplyTimeout < 0 || cfg.MaxInFlight < 0 {
		return nil, errors.New("webhook: Tolerance, ApplyTimeout and MaxInFlight must not be negative")
	}
	if cfg.Tolerance == 0 {
		cfg.Tolerance = defaultTolerance
	}
	if cfg.ApplyTimeout == 0 {
		cfg.ApplyTimeout = defaultApplyTimeout
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = defaultMaxInFlight
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Observe == nil {
		cfg.Observe = func(Result) {}
	}
	h := &Handler{cfg: cfg, places: make(chan struct{}, cfg.MaxInFlight), said: map[Reason]*atomic.Int64{}}
	for reason := range advice {
		h.said[reason] = &atomic.Int64{}
	}
	return h, nil
}

// ServeHTTP answers one delivery. There is no redirect, whatever the path: Stripe takes one for a
// failure.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := h.cfg.Clock()
	result := h.process(w, r)
	result.write(w)
	result.Took = h.cfg.Clock().Sub(started)
	h.cfg.Observe(result)
}

// process takes a delivery through all the steps, cheapest first. A panic below it is a failure like
// any other: nothing of its text gets out.
func (h *Handler) process(w http.ResponseWriter, r *http.Request) (result Result) {
	defer func() {
		if p := recover(); p != nil {
			// The value may quote the event; its type and the stack cannot.
			h.cfg.Logger.Error("webhook: panic", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			result = Result{Status: http.StatusServiceUnavailable, Reason: ReasonPanic}
		}
	}()
	if r.URL.Path != Path {
		return Result{Status: http.StatusNotFound, Reason: ReasonWrongPath}
	}
	if r.Method != http.MethodPost {
		return Result{Status: http.StatusMethodNotAllowed, Reason: ReasonWrongMethod}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return Result{Status: http.StatusRequestEntityTooLarge, Reason: ReasonTooLarge}
	} else if err != nil {
		return Result{Status: http.StatusBadRequest, Reason: ReasonUnreadable}
	}
	secrets := h.cfg.Secrets()
	if !slices.ContainsFunc(secrets, usable) {
		h.cfg.Logger.Error("webhook: no signing secret is configured any more: set STRIPE_WEBHOOK_SECRET")
		return Result{Status: http.StatusServiceUnavailable, Reason: ReasonNoSecret}
	}
	secret, reason := checkSignature(r.Header, body, secrets, h.cfg.Clock(), h.cfg.Tolerance)
	if reason != "" {
		h.refuse(reason)
		return Result{Status: http.StatusBadRequest, Reason: reason}
	}
	result = h.apply(r.Context(), body)
	result.Secret = secret
	return result
}

// apply decodes a body that Stripe has signed, and keeps the event.
func (h *Handler) apply(ctx context.Context, body []byte) Result {
	event, err := stripeevent.Decode(body, stripeevent.Options{ReferenceKey: h.cfg.ReferenceKey})
	if malformed := (*stripeevent.MalformedError)(nil); errors.As(err, &malformed) {
		h.cfg.Logger.Warn("webhook: malformed event", "event_id", malformed.EventID, "reason", malformed.Reason)
		return Result{Status: http.StatusBadRequest, Reason: ReasonMalformed}
	} else if err != nil {
		return Result{Status: http.StatusOK, Reason: ReasonNotIdentity}
	}
	result := Result{Status: http.StatusOK, EventType: knownType(event.Type)}
	if h.cfg.Livemode != nil && *h.cfg.Livemode != event.Object.Livemode {
		h.log(ctx, slog.LevelDebug, "webhook: event of the other mode ignored", event, slog.Bool("livemode", event.Object.Livemode))
		result.Reason = ReasonOtherLivemode
		return result
	}
	if !h.cfg.Accounts.Accept(event.Object.Account) {
		h.log(ctx, slog.LevelDebug, "webhook: event of an account that is not in STRIPE_ACCOUNTS ignored", event, slog.String("account", event.Object.Account))
		result.Reason = ReasonOtherAccount
		return result
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		h.log(ctx, slog.LevelDebug, "webhook: event refused, Stripe will send it again: too many are being kept", event)
		result.Status, result.Reason = http.StatusServiceUnavailable, ReasonOverloaded
		return result
	}
	now := h.cfg.Clock()
	event.Source, event.RecordTime = verification.SourceWebhook, now.UnixMilli()
	ctx, cancel := context.WithTimeout(ctx, h.cfg.ApplyTimeout)
	defer cancel()
	outcome, err := h.cfg.Applier.Apply(ctx, event)
	if err != nil {
		h.log(ctx, slog.LevelError, "webhook: event not kept, Stripe will send it again", event, slog.Any("error", err))
		result.Status, result.Reason = http.StatusServiceUnavailable, ReasonApplyFailed
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

// log writes a line about an event. A logger with its attributes, and the place in the source, which the
// line does not bear, would be found anew for every event.
func (h *Handler) log(ctx context.Context, level slog.Level, text string, event verification.Event, attrs ...slog.Attr) {
	if !h.cfg.Logger.Enabled(ctx, level) {
		return
	}
	line := slog.NewRecord(time.Now(), level, text, 0)
	line.AddAttrs(slog.String("event_id", event.ID), slog.String("type", event.Type), slog.String("session_id", event.Object.ID))
	line.AddAttrs(attrs...)
	_ = h.cfg.Logger.Handler().Handle(ctx, line) // a log that cannot be written has nowhere to say so
}

// refuse tells the operator what to look at, once a minute for each reason: what others cause at will must not fill
// the log, nor keep a line out of it that the operator needs.
func (h *Handler) refuse(reason Reason) {
	said := h.said[reason]
	now, last := h.cfg.Clock().Unix(), said.Load()
	if now >= last && now-last < 60 || !said.CompareAndSwap(last, now) {
		return
	}
	h.cfg.Logger.Warn("webhook: signature refused; further ones of this minute with this reason are only counted",
		"reason", string(reason), "advice", advice[reason])
}

// advice is what an operator does about each reason to refuse a signature.
var advice = map[Reason]string{
	ReasonNotSigned:          "Stripe signs every webhook: another client sent this, or a proxy removes the Stripe-Signature header",
	ReasonMalformedSignature: "another client sent this, or a proxy changes the Stripe-Signature header",
	ReasonWrongSignature:     "check STRIPE_WEBHOOK_SECRET against the endpoint's signing secret at Stripe, and that no proxy changes the body; another client's requests are refused rightly",
	ReasonTooOld:             "check this machine's clock; a replayed request is refused rightly",
	ReasonInFuture:           "check this machine's clock; a replayed request is refused rightly",
}

// usable says whether anything may be signed with a secret: a reload may bring blank ones.
func usable(secret verification.Secret) bool { return strings.TrimSpace(secret.Reveal()) != "" }

package stripeapi

import (
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"example.com/verification-status/server/internal/verification"
)

const (
	// breakerFailures is how many lookups in a row must fail until lookups are paused.
	breakerFailures = 5
	// breakerPatience is the least time after which a caller that stops waiting counts as a failure of Stripe. A lookup that
	// waited for its slot can have less time left than Stripe needs.
	breakerPatience = 2 * time.Second
)

// breakerPauses is how long no lookup is sent after Stripe failed: longer each time. After each pause one lookup is sent,
// and the others go if Stripe answers it.
var breakerPauses = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}

// breaker pauses the lookups while Stripe fails: it gives no answer, or refuses the key. Otherwise callers that ask for
// what is not known here would spend the day's lookups during an outage. Events, ambiguous orders, retries and catch-ups
// are sent all the same, since their number does not grow by asking again. It is safe for concurrent use.
type breaker struct {
	clock func() time.Time
	log   *slog.Logger

	mu      sync.Mutex
	streaks map[scope]*streak // only of keys that fail
}

// scope is what fails together: the lookups by one key, apart for the platform and for connected accounts. A caller that
// names an account which refuses the key must not pause the lookups of the platform.
type scope struct {
	key       int64 // see keyID
	connected bool
}

// streak is a number of failures in a row.
type streak struct {
	failures int
	pauses   int       // so far; 0: no lookup is paused
	until    time.Time // the end of the pause
	probing  bool      // a lookup is under way after the pause
	err      error     // why the last lookup failed
}

func newBreaker(clock func() time.Time, log *slog.Logger) *breaker {
	return &breaker{clock: clock, log: log, streaks: make(map[scope]*streak)}
}

// isLookup reports whether the breaker can pause a request.
func (r *request) isLookup() bool {
	return r.purpose == verification.PurposeLookup && r.readsSessions()
}

// readsSessions reports whether an answer to the request shows that lookups are answered.
func (r *request) readsSessions() bool {
	return r.method == http.MethodGet && (r.operation == OperationRetrieve || r.operation == OperationFind)
}

// paused returns why no lookup is sent now: ErrStripeUnavailable or ErrStripeUnauthorized. It returns nil if one can be
// sent.
func (b *breaker) paused(s scope) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pausedBy(b.streaks[s])
}

// pausedBy is paused for a streak, which can be nil. The caller holds b.mu.
func (b *breaker) pausedBy(failing *streak) error {
	if failing == nil || failing.pauses == 0 || !failing.probing && !b.clock().Before(failing.until) {
		return nil
	}
	return failing.err
}

// begin returns the error of paused for a request that is sent now. If the error is nil, call end with probe after the
// request. probe says that the request decides whether the pause is over.
func (b *breaker) begin(s scope, r *request) (probe bool, err error) {
	if !r.isLookup() {
		return false, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	failing := b.streaks[s]
	if err := b.pausedBy(failing); err != nil {
		return false, err
	}
	if failing == nil || failing.pauses == 0 {
		return false, nil
	}
	failing.probing = true
	return true, nil
}

// end notes how a request ended. took is the time for which it waited for Stripe, and late says that its caller or its
// own time limit ended that wait.
func (b *breaker) end(s scope, r *request, probe bool, f *fault, took time.Duration, late bool) {
	if !r.readsSessions() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	failing := b.streaks[s]
	switch f.outcome {
	case OutcomeUnavailable, OutcomeUnauthorized:
		if r.isLookup() && (!late || took >= breakerPatience) {
			b.failed(s, probe, f.err)
			return
		}
	case OutcomeOK, OutcomeUnknown, OutcomeRefused, OutcomeAccountRefused:
		if failing != nil && failing.pauses > 0 {
			b.log.Info("stripe: lookups are sent again")
		}
		delete(b.streaks, s)
		return
	}
	if probe && failing != nil {
		failing.probing = false // it has shown nothing: the next lookup decides
	}
}

// failed notes a lookup that Stripe did not answer. A failure of a lookup that was sent before the pause does not make the
// pause longer. The caller holds b.mu.
func (b *breaker) failed(s scope, probe bool, err error) {
	failing := b.streaks[s]
	if failing == nil {
		failing = &streak{}
		b.streaks[s] = failing
	}
	failing.failures++
	if !probe && (failing.pauses > 0 || failing.failures < breakerFailures) {
		return
	}
	if failing.pauses == 0 {
		b.log.Warn("stripe: lookups are paused, since Stripe does not answer them. One is tried after 1 s, 5 s, and then every 30 s", "failures", failing.failures)
	}
	failing.err = verification.ErrStripeUnavailable // without the context's error of another caller
	if errors.Is(err, verification.ErrStripeUnauthorized) {
		failing.err = verification.ErrStripeUnauthorized
	}
	failing.until = b.clock().Add(breakerPauses[min(failing.pauses, len(breakerPauses)-1)])
	failing.pauses++
	failing.probing = false
}

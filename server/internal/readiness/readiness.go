package readiness

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"example.com/verification-status/server/internal/store"
)

const (
	// pingEvery is the time between two pings.
	pingEvery = time.Second
	// pingTimeout bounds a ping, and a check while the process is ready or starts.
	pingTimeout = 2 * time.Second
	// prepareTimeout bounds a check while the process is not ready. Each check opens connections of its own, so that a check
	// that is cut off has achieved nothing. With a shorter time, a slow Redis would never be used again.
	prepareTimeout = 5 * time.Second
	// unreadyAfter is how long pings must have failed before the process is not ready. A short outage must not take all replicas
	// out of service; calls answer UNAVAILABLE anyway.
	unreadyAfter = 3 * time.Second
	// prepareEvery is the time between two checks of a Redis that answers: its eviction policy, the permissions of its user, and
	// whether it accepts a new connection. A check costs Redis less than a millisecond.
	prepareEvery = 10 * time.Second
	// logEvery is the time between two log lines about the same refusal.
	logEvery = time.Minute
)

// Store is the part of store.Backend that a Monitor needs.
type Store interface {
	Prepare(ctx context.Context) error
	Ping(ctx context.Context) error
	Suspect() bool
}

// Config configures a Monitor. All fields are required.
type Config struct {
	// Store is the store without which the process cannot work.
	Store Store
	// Logger gets every change, and every refusal.
	Logger *slog.Logger
	// Publish is called with each change of readiness, but not by Stop.
	Publish func(ready bool)
	// Refused is called whenever the Reason of the store's refusal changes, with "" if the refusal is over.
	Refused func(reason string)
}

// Monitor watches the store. Ready, InTouch and Stop are safe for concurrent use.
type Monitor struct {
	config  Config
	state   atomic.Bool
	stopped atomic.Bool
	waiting bool // it is logged that Redis cannot be reached

	reason   string    // the last argument of Refused
	logged   string    // the last log line about it
	loggedAt time.Time // the time of that line
}

// New returns a Monitor that is not ready. It does not call the store.
func New(config Config) *Monitor { return &Monitor{config: config} }

// Ready reports whether this process is ready for calls.
func (m *Monitor) Ready() bool { return m.InTouch() && !m.stopped.Load() }

// InTouch reports whether the store can be used. Unlike Ready it stays true after Stop.
func (m *Monitor) InTouch() bool { return m.state.Load() }

// Stop makes the process not ready for good, so that it gets no new calls while it stops.
func (m *Monitor) Stop() { m.stopped.Store(true) }

// set makes the process ready or not ready. It returns true if that is a change.
func (m *Monitor) set(ready bool) bool {
	if m.state.Swap(ready) == ready {
		return false
	}
	m.config.Publish(ready)
	return true
}

// Begin checks the store before the process listens. It returns an error if the store is misconfigured, since somebody watches a
// start. A store that cannot be reached is not an error: Run waits for it.
func (m *Monitor) Begin(ctx context.Context) error {
	err := m.prepare(ctx, pingTimeout)
	if store.RefusalOf(err).Misconfigured {
		return err
	}
	m.conclude(err, false)
	return nil
}

// Run watches the store until ctx ends. After an outage it checks the store before the process is ready, since another server can
// be there. It waits for as long as the store refuses: if the process ended instead, it would end again at each start, until the
// platform restarts it only every few minutes.
func (m *Monitor) Run(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	var missing time.Time // when the first of the pings began that have failed in a row
	prepared := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !m.Ready() {
			m.conclude(m.prepare(ctx, prepareTimeout), false)
			missing, prepared = time.Time{}, time.Now()
			continue
		}
		pinged := time.Now()
		answers := m.ping(ctx) == nil
		switch {
		case answers:
			missing = time.Time{}
		case missing.IsZero():
			missing = pinged
		}
		if suspect := m.config.Store.Suspect(); suspect || m.reason != "" || answers && pinged.Sub(prepared) >= prepareEvery {
			m.conclude(m.prepare(ctx, pingTimeout), answers)
			prepared = time.Now()
		}
		if !missing.IsZero() && time.Since(missing) >= unreadyAfter && m.set(false) {
			m.config.Logger.Warn("not ready: Redis does not answer")
		}
	}
}

// conclude acts on the result of a check. answers is true if the open connections can be used.
func (m *Monitor) conclude(err error, answers bool) {
	refusal := store.RefusalOf(err)
	serving := m.Ready() && answers
	switch {
	case err == nil:
		m.logged = ""
		if m.set(true) {
			m.config.Logger.Info("ready: Redis can be used")
		} else if m.reason != "" {
			m.config.Logger.Info("Redis lets new connections in again")
		}
	case serving && refusal.NewConnectionsOnly:
		m.complain("Redis refuses new connections: this replica works until its open connections close. Fix what the field error names; do not restart", refusal.Reason, err)
	case refusal.Reason != "":
		m.set(false)
		m.complain("not ready: Redis is misconfigured. Fix what the field error names; do not restart", refusal.Reason, err)
	case m.Ready():
		return // pings decide whether Redis cannot be reached
	case !m.waiting:
		m.config.Logger.Warn("Redis cannot be reached: until it is back, calls get UNAVAILABLE and webhooks 503", "error", err)
	}
	m.waiting = err != nil
	if refusal.Reason != m.reason {
		m.reason = refusal.Reason
		m.config.Refused(refusal.Reason)
	}
}

// complain logs a refusal: at once if it differs from the one logged last, else once a minute.
func (m *Monitor) complain(what, reason string, err error) {
	if text := what + err.Error(); text != m.logged || time.Since(m.loggedAt) >= logEvery {
		m.config.Logger.Error(what, "reason", reason, "error", err)
		m.logged, m.loggedAt = text, time.Now()
	}
}

func (m *Monitor) prepare(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return m.config.Store.Prepare(ctx)
}

func (m *Monitor) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return m.config.Store.Ping(ctx)
}

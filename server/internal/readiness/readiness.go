package readiness

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"example.com/verification-status/server/internal/store"
)

const (
	// pingEvery is how often Redis is looked at.
	pingEvery = time.Second
	// pingTimeout bounds one look.
	pingTimeout = 2 * time.Second
	// prepareTimeout bounds a check while not ready: each begins with connections of its own, so one that is cut off
	// leaves nothing done, and a Redis that is slow for all would never be used again.
	prepareTimeout = 5 * time.Second
	// unreadyAfter is how long looks must have failed before the server calls itself not ready: a short
	// blip must not take all replicas out of service, since calls answer UNAVAILABLE anyway.
	unreadyAfter = 3 * time.Second
	// prepareEvery is how often a Redis that answers is checked like at the start: its eviction policy, its
	// user's permissions, whether a new connection is let in. Each check costs Redis less than a millisecond.
	prepareEvery = 10 * time.Second
	// sayEvery is how often the log repeats what somebody must correct.
	sayEvery = time.Minute
)

// Store is what a Monitor asks of the store. The methods are those of store.Backend.
type Store interface {
	Prepare(ctx context.Context) error
	Ping(ctx context.Context) error
	Suspect() bool
}

// Config is what a Monitor is made of. All fields are required.
type Config struct {
	// Store is the store without which the process cannot work.
	Store Store
	// Logger gets every change, and what somebody must correct.
	Logger *slog.Logger
	// Publish gets each change of readiness, and not the one that Stop makes.
	Publish func(ready bool)
	// Refused gets the Reason of the store's refusal whenever it changes; an empty one if the refusal is over.
	Refused func(reason string)
}

// Monitor knows whether this process can do its work. Ready, InTouch and Stop are safe for concurrent use.
type Monitor struct {
	config  Config
	state   atomic.Bool
	stopped atomic.Bool
	waiting bool // the log has been told that Redis is away

	reason string    // what Refused was told last
	text   string    // what the log was told of it
	said   time.Time // when
}

// New makes a Monitor of a process that is not ready yet. It asks the store nothing.
func New(config Config) *Monitor { return &Monitor{config: config} }

// Ready reports whether this process should be sent calls.
func (m *Monitor) Ready() bool { return m.InTouch() && !m.stopped.Load() }

// InTouch reports whether the store can be used. Unlike Ready it stays true after Stop.
func (m *Monitor) InTouch() bool { return m.state.Load() }

// Stop makes the process not ready for good, so that a process that is going gets no new calls.
func (m *Monitor) Stop() { m.stopped.Store(true) }

// set makes the process ready or not, and returns whether it was the other.
func (m *Monitor) set(ready bool) bool {
	if m.state.Swap(ready) == ready {
		return false
	}
	m.config.Publish(ready)
	return true
}

// Begin checks Redis before the process listens. Only a Redis that must not be used is an error: at the
// start somebody looks on. One that is away is waited for.
func (m *Monitor) Begin(ctx context.Context) error {
	err := m.prepare(ctx, pingTimeout)
	if store.RefusalOf(err).Misconfigured {
		return err
	}
	m.conclude(err, false)
	return nil
}

// Run looks at Redis until ctx ends. What comes back after an absence is checked: it may be another server.
// What somebody must correct is waited for, however long that takes: a process that ended would end again
// at each start, until the restarts are minutes apart.
func (m *Monitor) Run(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	var missing time.Time // when the first of the looks began that failed in a row
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
		looked := time.Now()
		answers := m.ping(ctx) == nil
		switch {
		case answers:
			missing = time.Time{}
		case missing.IsZero():
			missing = looked
		}
		if suspect := m.config.Store.Suspect(); suspect || m.reason != "" || answers && looked.Sub(prepared) >= prepareEvery {
			m.conclude(m.prepare(ctx, pingTimeout), answers)
			prepared = time.Now()
		}
		if !missing.IsZero() && time.Since(missing) >= unreadyAfter && m.set(false) {
			m.config.Logger.Warn("not ready: Redis does not answer")
		}
	}
}

// conclude draws what follows from a check. answers: the connections that are open can be used.
func (m *Monitor) conclude(err error, answers bool) {
	refusal := store.RefusalOf(err)
	serving := m.Ready() && answers
	switch {
	case err == nil:
		m.text = ""
		if m.set(true) {
			m.config.Logger.Info("ready: Redis can be used")
		} else if m.reason != "" {
			m.config.Logger.Info("Redis lets new connections in again")
		}
	case serving && refusal.NewConnectionsOnly:
		m.complain("Redis refuses new connections: this replica works only until its open ones end; no restart is needed", refusal.Reason, err)
	case refusal.Reason != "":
		m.set(false)
		m.complain("not ready: Redis must not be used until somebody corrects this; no restart is needed", refusal.Reason, err)
	case m.Ready():
		return // pings decide whether it is away
	case !m.waiting:
		m.config.Logger.Warn("Redis cannot be reached: waiting for it, and answering UNAVAILABLE and 503 meanwhile", "error", err)
	}
	m.waiting = err != nil
	if refusal.Reason != m.reason {
		m.reason = refusal.Reason
		m.config.Refused(refusal.Reason)
	}
}

// complain logs what somebody must correct: at once if it is not what was logged last, else once a minute.
func (m *Monitor) complain(what string, reason string, err error) {
	if text := what + err.Error(); text != m.text || time.Since(m.said) >= sayEvery {
		m.config.Logger.Error(what, "reason", reason, "error", err)
		m.text, m.said = text, time.Now()
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

package rpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// lookAgain is how long a watch trusts its wake-ups before it looks by itself: the net under a
	// wake-up that was lost. Spread by a fifth, so that streams opened together do not look together.
	lookAgain = 30 * time.Second
	// lookAgainFailed is the same while the store cannot be read.
	lookAgainFailed = time.Second
	// lookTimeout bounds one look; lookGrace does where a heartbeat is due meanwhile: a store that
	// hangs must not keep it back for a second.
	lookTimeout = 5 * time.Second
	lookGrace   = 500 * time.Millisecond
)

// stream is one open watch: where responses go, what wakes it, and when it must end.
type stream struct {
	ctx       context.Context
	send      func(*verificationv1.WatchStatusResponse) error
	woken     *hub.Subscription
	stopping  context.Context // ends when the server begins to stop
	heartbeat time.Duration   // 0: none
	inTouch   func() bool     // with the store; see Config.InTouch
	patience  time.Duration   // with a caller who does not read
	sent      time.Time       // when something was sent last
	sending   atomic.Int64    // since when a send waits, in nanoseconds after loaded; 0: none does
	alarm     *time.Timer     // wakes the watch at a time
	alarmAt   time.Time
	expires   time.Time                               // zero: never
	lookAt    time.Time                               // when to look again at the latest
	behind    bool                                    // there may be something new: woken, and no look has succeeded since
	topics    uint64                                  // what woke it since the last look that succeeded; see hub.Subscription.Woken
	interrupt atomic.Pointer[context.CancelCauseFunc] // of a look that a wake-up ends; see untilWoken
	following string                                  // the session that wakes a watch by reference
}

func (w *watcher) newStream(server verificationv1.VerificationService_WatchStatusServer, heartbeat time.Duration, topics ...hub.Topic) *stream {
	now := time.Now()
	st := &stream{
		ctx: server.Context(), send: server.Send, woken: w.config.Live.Hub().Subscribe(topics...),
		stopping: w.stopping, heartbeat: heartbeat, inTouch: w.config.InTouch, patience: w.config.StallTimeout, sent: now, behind: true,
	}
	if w.config.StreamMaxAge > 0 {
		// Up to a fifth earlier, never later: a proxy may have the same limit.
		st.expires = now.Add(w.config.StreamMaxAge - rand.N(w.config.StreamMaxAge/5+1))
	}
	return st
}

func (st *stream) close() {
	st.woken.Close()
	if st.alarm != nil {
		st.alarm.Stop()
	}
}

// setAlarm wakes the watch at a time, or earlier. A watch has one timer for all that it waits for. An alarm that is set
// for an earlier time will do: a busy watch needs no other.
func (st *stream) setAlarm(at time.Time) {
	now := time.Now()
	if st.alarmAt.After(now) && !st.alarmAt.After(at) {
		return
	}
	if st.alarm == nil {
		st.alarm = time.AfterFunc(at.Sub(now), st.woken.Poke)
	} else {
		st.alarm.Reset(at.Sub(now))
	}
	st.alarmAt = at
}

// look reads the store, within a bound: streams have no deadline of their own.
func (st *stream) look(read reader) (verification.Session, error) {
	ctx, cancel := st.lookContext()
	defer cancel()
	session, err := read(ctx)
	return session, st.orDraining(err)
}

// orDraining is err, or what ends the stream now that the server stops: a look that was given up for it
// has failed for no other reason.
func (st *stream) orDraining(err error) error {
	if err != nil && st.stopping.Err() != nil {
		return errDraining
	}
	return err
}

func (st *stream) lookContext() (context.Context, context.CancelFunc) {
	timeout := lookTimeout
	if st.heartbeat > 0 {
		due := time.Until(st.sent.Add(st.heartbeat))
		timeout = min(timeout, max(due, 0)+lookGrace)
	}
	parent := st.ctx
	if !st.behind {
		parent = live.Background(parent)
	}
	ctx, cancel := context.WithTimeout(parent, timeout)
	// A store that hangs must not keep the last word back either, when the server stops.
	forget := context.AfterFunc(st.stopping, cancel)
	return ctx, func() { forget(); cancel() }
}

// untilWoken is a look that asks Stripe for a session that is not known here. It ends with errWoken when the
// session's webhook comes: Stripe can take seconds to answer, and by then the store has the session.
func (st *stream) untilWoken(read reader) reader {
	return func(ctx context.Context) (verification.Session, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		st.interrupt.Store(&cancel)
		defer st.interrupt.Store(nil)
		session, err := read(ctx)
		if err != nil && errors.Is(context.Cause(ctx), errWoken) {
			err = errWoken
		}
		return session, err
	}
}

// pause waits after a look that ended with err, until there may be something new. It returns why the
// watch ends: any error does but that of a store which went away once the watch had begun, and that of a
// session that is not known here while this service has no read left for Stripe. The latter waits for its webhook.
//
// A look that nothing had asked for is not repeated soon when it fails: thousands of watches would ask a
// store that is slow already again and again.
func (st *stream) pause(token func() string, begun bool, err error) error {
	pause := lookAgain
	switch {
	case err == nil:
		st.behind, st.topics = false, 0
	case errors.Is(err, errWoken), unasked(err):
	case !begun || !away(err):
		return err
	case st.behind:
		pause = lookAgainFailed
	}
	topics, err := st.wait(token, pause)
	st.behind, st.topics = st.behind || topics != 0, st.topics|topics
	return err
}

// unasked reports whether Stripe was not asked.
func unasked(err error) bool {
	return errors.Is(err, verification.ErrStripeBudget) || errors.Is(err, verification.ErrStripeBusy)
}

// away reports whether the store could not be asked.
func away(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// ended says why the stream must end now, if it must.
func (st *stream) ended() error {
	if st.stopping.Err() != nil {
		return errDraining
	}
	if st.expired(time.Now()) {
		return errStreamExpired
	}
	return st.ctx.Err()
}

// expired reports whether the stream has reached its greatest age.
func (st *stream) expired(now time.Time) bool {
	return !st.expires.IsZero() && !now.Before(st.expires)
}

// wait returns when it is time to look at the store again, at the latest after a pause, with the topics
// that were woken (see hub.Subscription.Woken), or with why the stream ends. Meanwhile it sends
// heartbeats, with the token as it stands. Out of touch with the store it sends none: a heartbeat says that
// there is no news, and nobody knows. A caller that hears none takes the stream for dead, and is told the
// reason by the next one.
func (st *stream) wait(token func() string, pause time.Duration) (topics uint64, err error) {
	st.lookAt = time.Now().Add(spread(pause))
	for {
		if topics := st.woken.Woken(); topics != 0 {
			return topics, st.ended()
		}
		now := time.Now()
		beat := st.sent.Add(st.heartbeat)
		if st.heartbeat > 0 && !now.Before(beat) && !st.inTouch() {
			beat = now.Add(lookAgainFailed)
		}
		switch err := st.ended(); {
		case err != nil:
			return 0, err
		case st.heartbeat > 0 && !now.Before(beat): // before a look, which may take its time
			if err := st.do(func() error { return st.respond(nil, token()) }); err != nil {
				return 0, err
			}
			continue
		case !now.Before(st.lookAt):
			return 0, nil
		}
		due := st.lookAt
		if !st.expires.IsZero() && st.expires.Before(due) {
			due = st.expires
		}
		if st.heartbeat > 0 && beat.Before(due) {
			due = beat
		}
		st.setAlarm(due)
		select {
		case <-st.ctx.Done():
		case <-st.woken.C():
		}
	}
}

// spread is a duration varied by a fifth up and down.
func spread(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

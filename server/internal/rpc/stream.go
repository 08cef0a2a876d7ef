package rpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/consumers"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// pollAfter is the pause after which a watch reads without a wake-up, in case one was lost. It is spread by a
	// fifth, so that streams that were opened together do not read together.
	pollAfter = 30 * time.Second
	// pollAfterFailure is the same while the store cannot be read.
	pollAfterFailure = time.Second
	// readTimeout bounds one read of a watch. If a heartbeat is due earlier, the read ends heartbeatGrace after that
	// time: a store that hangs must not delay a heartbeat by a second.
	readTimeout    = 5 * time.Second
	heartbeatGrace = 500 * time.Millisecond
)

// pollAfterOutage is the pause of a watch without a status after each read in a row that Stripe, being unavailable, did
// not answer. The last one also holds for all further reads. A fault of a moment must not delay a status by half a minute.
var pollAfterOutage = []time.Duration{time.Second, 5 * time.Second, pollAfter}

// stream is one open watch: how it sends, what wakes it, and when it must end.
type stream struct {
	ctx          context.Context
	send         func(*verificationv1.WatchStatusResponse) error
	woken        *hub.Subscription
	stopping     context.Context // ends when the server begins to stop
	heartbeat    time.Duration   // 0: none
	inTouch      func() bool     // see Config.InTouch
	stallTimeout time.Duration   // see Config.StallTimeout
	sent         time.Time       // when the last response was sent
	sending      atomic.Int64    // when the send under way began, in nanoseconds after loaded; 0: none
	alarm        *time.Timer     // wakes the watch at a time
	alarmAt      time.Time
	expires      time.Time                               // zero: never
	pollAt       time.Time                               // when to read again at the latest
	behind       bool                                    // there can be something new: woken, and no read has succeeded since
	topics       uint64                                  // what woke it since the last read that succeeded; see hub.Subscription.Woken
	interrupt    atomic.Pointer[context.CancelCauseFunc] // of a read that a wake-up ends; see untilWoken
	catchingUp   bool                                    // a watch of all sessions is more than a page behind the tail of the feed
	unanswered   int                                     // reads in a row that Stripe did not answer; see untilWoken
	following    string                                  // the session whose changes wake a watch by reference
	consumer     *consumers.Stream                       // of a watch of all sessions with a consumer; else nil
}

func (w *watcher) newStream(server verificationv1.VerificationService_WatchStatusServer, heartbeat time.Duration, topics ...hub.Topic) *stream {
	now := time.Now()
	st := &stream{
		ctx: server.Context(), send: server.Send, woken: w.config.Live.Hub().Subscribe(topics...),
		stopping: w.stopping, heartbeat: heartbeat, inTouch: w.config.InTouch, stallTimeout: w.config.StallTimeout, sent: now, behind: true,
	}
	if w.config.StreamMaxAge > 0 {
		// Up to a fifth earlier, never later: a proxy can have the same limit.
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

// look reads a session within readTimeout: streams have no deadline of their own.
func (st *stream) look(read reader) (verification.Session, error) {
	ctx, cancel := st.lookContext()
	defer cancel()
	session, err := read(ctx)
	return session, st.orDraining(err)
}

// orDraining replaces an error by errDraining while the server shuts down: the shutdown has canceled the read.
func (st *stream) orDraining(err error) error {
	if err != nil && st.stopping.Err() != nil {
		return errDraining
	}
	return err
}

func (st *stream) lookContext() (context.Context, context.CancelFunc) {
	timeout := readTimeout
	if st.heartbeat > 0 {
		due := time.Until(st.sent.Add(st.heartbeat))
		timeout = min(timeout, max(due, 0)+heartbeatGrace)
	}
	parent := st.ctx
	if !st.behind || st.catchingUp {
		parent = live.Background(parent)
	}
	ctx, cancel := context.WithTimeout(parent, timeout)
	// A store that hangs must not delay the end of the stream when the server shuts down.
	stop := context.AfterFunc(st.stopping, cancel)
	return ctx, func() { stop(); cancel() }
}

// untilWoken returns a reader for a session that can be unknown here, so that Stripe is asked. The read ends with errWoken
// if the session's webhook comes first: Stripe can take seconds to answer, and the store has the session by then. The
// reader counts the reads in a row that Stripe does not answer.
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
		if stripeUnanswered(err) {
			st.unanswered++
		} else {
			st.unanswered = 0
		}
		return session, err
	}
}

// pause waits after a read that ended with err, until there can be something new. It returns the error that ends the
// watch. Two errors do not end it: the store is unavailable once the watch has begun; and the session is not known
// here, while Stripe was not asked or did not answer. Such a watch waits for the session's webhook. A caller that had to
// open the watch again, and obeyed RetryInfo, would miss the webhook for that time.
//
// A background read that fails is not repeated soon: thousands of watches would load a store that is slow
// already.
func (st *stream) pause(token func() string, begun bool, err error) error {
	pause := pollAfter
	switch {
	case err == nil:
		st.behind, st.topics = false, 0
	case errors.Is(err, errWoken), stripeNotAsked(err):
	case st.unanswered > 0:
		if errors.Is(err, verification.ErrStripeUnavailable) {
			pause = pollAfterOutage[min(st.unanswered, len(pollAfterOutage))-1]
		}
	case !begun || !isUnavailable(err):
		return err
	case st.behind:
		pause = pollAfterFailure
	}
	topics, err := st.wait(token, pause)
	st.behind, st.topics = st.behind || topics != 0, st.topics|topics
	return err
}

// isUnavailable reports whether an error says that the store could not be read.
func isUnavailable(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// ended returns the reason for which the stream must end now. It returns nil if the stream need not end.
func (st *stream) ended() error {
	if st.stopping.Err() != nil {
		return errDraining
	}
	if st.expired(time.Now()) {
		return errStreamExpired
	}
	if err := st.lost(); err != nil {
		return err
	}
	return st.ctx.Err()
}

// expired reports whether the stream has reached its maximum age.
func (st *stream) expired(now time.Time) bool {
	return !st.expires.IsZero() && !now.Before(st.expires)
}

// wait returns when it is time to read again, at the latest after a pause. It returns the topics that were woken (see
// hub.Subscription.Woken), or the error that ends the stream. Meanwhile it sends heartbeats with the current token. It
// sends none while the store cannot be read: a heartbeat says that nothing has changed, which is not known then. A
// caller that gets no heartbeat takes the stream for dead, and learns the reason from the next stream.
func (st *stream) wait(token func() string, pause time.Duration) (topics uint64, err error) {
	st.pollAt = time.Now().Add(spread(pause))
	var lost <-chan struct{}
	if st.consumer != nil {
		lost = st.consumer.Lost()
	}
	for {
		if topics := st.woken.Woken(); topics != 0 {
			return topics, st.ended()
		}
		now := time.Now()
		beat := st.sent.Add(st.heartbeat)
		if st.heartbeat > 0 && !now.Before(beat) && !st.inTouch() {
			beat = now.Add(pollAfterFailure)
		}
		switch err := st.ended(); {
		case err != nil:
			return 0, err
		case st.heartbeat > 0 && !now.Before(beat): // before a read, which can take long
			if err := st.do(func() error { return st.respond(nil, token()) }); err != nil {
				return 0, err
			}
			continue
		case !now.Before(st.pollAt):
			return 0, nil
		}
		due := st.pollAt
		if !st.expires.IsZero() && st.expires.Before(due) {
			due = st.expires
		}
		if st.heartbeat > 0 && beat.Before(due) {
			due = beat
		}
		st.setAlarm(due)
		select {
		case <-st.ctx.Done():
		case <-lost:
		case <-st.woken.C():
		}
	}
}

// spread returns a duration varied by up to a fifth up and down.
func spread(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

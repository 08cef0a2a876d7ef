package stripeapi

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"example.com/verification-status/server/internal/shares"
)

// errNoTurn: the call has no turn before its deadline.
var errNoTurn = errors.New("the rate leaves no turn before the deadline")

// window is how many of the last turns are looked at to tell whether a holder has had its share of the rate.
const window = 8

// kept is how many turns are kept for holders within their share: a holder beyond it waits until so many would be left.
// Without them the first call of another would wait for the end of a turn that a flood has just used.
const kept = 2

// schedule gives the turns of one rate to the calls that wait. A call of a better class goes before all of
// the others; within a class the holders take turns, however many calls each of them has waiting. A named holder
// that has had its share of the last turns goes behind all holders that have not, of every class: so a flood
// of retries by one caller does not keep the lookups of others waiting. It also leaves some turns unused, so that a
// call of another goes at once.
//
// Who goes next is decided when a turn comes, not when a call begins to wait.
type schedule struct {
	limiter *rate.Limiter // its tokens are the turns that are free
	share   int           // of window, for a named holder; 0: no bound
	kept    float64

	mu      sync.Mutex
	classes []class         // the best first
	last    []shares.Holder // of the last turns, the oldest first
	timer   *time.Timer     // runs run when the next call that waits can go
}

// class is the calls of one worth that wait.
type class struct {
	order []shares.Holder // whose turn it is next, of those with calls that wait
	calls map[shares.Holder][]*waiter
}

// waiter is a call that waits. turn is closed when it goes.
type waiter struct{ turn chan struct{} }

func newSchedule(perSecond float64, classes, sharePercent int) *schedule {
	s := &schedule{share: shares.Of(window, sharePercent), classes: make([]class, classes)}
	if s.share > 0 {
		s.kept = kept
	}
	s.limiter = rate.NewLimiter(rate.Limit(perSecond), 1+int(s.kept))
	for i := range s.classes {
		s.classes[i].calls = make(map[shares.Holder][]*waiter)
	}
	s.timer = time.AfterFunc(time.Hour, s.turnCame)
	s.timer.Stop()
	return s
}

// wait returns when it is the call's turn. It returns errNoTurn at once if no turn comes before the context's
// deadline as things stand, and when the context ends before the turn.
func (s *schedule) wait(ctx context.Context, class int, holder shares.Holder) error {
	if ctx.Err() != nil {
		return errNoTurn
	}
	mine := s.enter(ctx, class, holder)
	if mine == nil {
		return errNoTurn
	}
	select {
	case <-mine.turn:
		return nil
	case <-ctx.Done():
		return s.leave(class, holder, mine)
	}
}

// enter makes a call wait, for no time if a turn is free. It returns nil if no turn comes in time.
func (s *schedule) enter(ctx context.Context, class int, holder shares.Holder) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if deadline, ok := ctx.Deadline(); ok && s.expected(now, class, holder).After(deadline) {
		return nil
	}
	mine := &waiter{turn: make(chan struct{})}
	s.classes[class].add(holder, mine)
	s.run(now)
	return mine
}

// expected is about when the turn of a further call comes if nobody else begins to wait. A holder within its share
// waits for no more than the share of each of the others, as pick does. The lock is held.
func (s *schedule) expected(now time.Time, class int, holder shares.Holder) time.Time {
	ahead := 0
	for i := range class {
		for other, calls := range s.classes[i].calls {
			if s.share > 0 && other != (shares.Holder{}) && other != holder && s.within(holder) {
				ahead += min(len(calls), s.share)
			} else {
				ahead += len(calls)
			}
		}
	}
	own := len(s.classes[class].calls[holder])
	for other, calls := range s.classes[class].calls {
		if other == holder {
			ahead += own
		} else {
			ahead += min(len(calls), own+1)
		}
	}
	return now.Add(s.until(now, float64(ahead)+s.needs(s.within(holder))))
}

// needs is how many turns must be free for a call to go.
func (s *schedule) needs(within bool) float64 {
	if within {
		return 1
	}
	return 1 + s.kept
}

// until is how long it takes until so many turns have become free, if none is used.
func (s *schedule) until(now time.Time, turns float64) time.Duration {
	missing := max(0, turns-s.limiter.TokensAt(now))
	return time.Duration(missing / float64(s.limiter.Limit()) * float64(time.Second))
}

// turnCame is the timer's.
func (s *schedule) turnCame() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run(time.Now())
}

// run lets the calls go that can, and sets the timer for the next one. The lock is held.
func (s *schedule) run(now time.Time) {
	for {
		in, holder, within := s.pick()
		if in == nil {
			return
		}
		if delay := s.until(now, s.needs(within)); delay > 0 || !s.limiter.AllowN(now, 1) {
			s.timer.Reset(max(delay, time.Microsecond)) // a token can be missing by less than a nanosecond's worth
			return
		}
		s.note(holder)
		close(in.take(holder).turn)
	}
}

// pick returns whose call goes next, and in which class; nil if none waits. The service's own calls go before no better
// class: a catch-up must not take the turns of retries, however many of the last ones those had. The lock is held.
func (s *schedule) pick() (in *class, holder shares.Holder, within bool) {
	better := false // calls of a better class wait
	for i := range s.classes {
		c := &s.classes[i]
		for _, holder := range c.order {
			if s.within(holder) && (!better || holder != (shares.Holder{})) {
				return c, holder, true
			}
		}
		better = better || len(c.order) > 0
	}
	for i := range s.classes {
		if c := &s.classes[i]; len(c.order) > 0 {
			return c, c.order[0], false
		}
	}
	return nil, shares.Holder{}, false
}

// within reports whether a holder has not had its share of the last turns. The lock is held.
func (s *schedule) within(holder shares.Holder) bool {
	if s.share == 0 || holder == (shares.Holder{}) {
		return true
	}
	had := 0
	for _, one := range s.last {
		if one == holder {
			had++
		}
	}
	return had < s.share
}

// note remembers whose the last turns were. The lock is held.
func (s *schedule) note(holder shares.Holder) {
	if len(s.last) == window {
		s.last = slices.Delete(s.last, 0, 1)
	}
	s.last = append(s.last, holder)
}

// leave takes a call out that has given up. A call that got its turn at the same moment goes.
func (s *schedule) leave(class int, holder shares.Holder, mine *waiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.classes[class].remove(holder, mine) {
		return errNoTurn
	}
	return nil
}

func (c *class) add(holder shares.Holder, w *waiter) {
	if len(c.calls[holder]) == 0 {
		c.order = append(c.order, holder)
	}
	c.calls[holder] = append(c.calls[holder], w)
}

// take takes out the first call of a holder, which waits. The holder goes behind the others.
func (c *class) take(holder shares.Holder) *waiter {
	first := c.calls[holder][0]
	c.remove(holder, first)
	if waits := slices.Index(c.order, holder); waits >= 0 {
		c.order = append(slices.Delete(c.order, waits, waits+1), holder)
	}
	return first
}

// remove takes a call out, and reports whether it was there.
func (c *class) remove(holder shares.Holder, w *waiter) bool {
	at := slices.Index(c.calls[holder], w)
	if at < 0 {
		return false
	}
	c.calls[holder] = slices.Delete(c.calls[holder], at, at+1)
	if len(c.calls[holder]) == 0 {
		delete(c.calls, holder)
		c.order = slices.DeleteFunc(c.order, func(one shares.Holder) bool { return one == holder })
	}
	return true
}

package shares

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// ErrNoSlot says that a call gets no slot before its deadline.
var ErrNoSlot = errors.New("the rate leaves no slot before the deadline")

// window is the number of the last slots that decide whether a holder has used up its share of the rate.
const window = 8

// kept is the number of slots that are kept for holders within their share: a call beyond it waits until so many would be
// left. Otherwise a flood uses each slot when it comes, and a call of another holder waits for the next one.
const kept = 2

// Schedule gives the slots of one rate to waiting calls. A call of a better class goes before the calls of all other
// classes. Within a class the holders alternate, however many calls each of them has. A named holder that has used up its
// share of the last slots goes behind all holders of every class that have not. So a flood of retries by one caller does
// not delay the lookups of others. It leaves kept slots unused, so that a call of another holder goes at once. It is safe
// for concurrent use.
//
// The schedule chooses the next call when the slot comes, not when a call begins to wait.
type Schedule struct {
	limiter *rate.Limiter // its tokens are the free slots
	share   int           // slots of window for a named holder; 0 means no limit
	kept    float64       // 0 without a share

	mu      sync.Mutex
	classes []class     // the best first
	recent  []Holder    // the holders of the last slots, the oldest first
	timer   *time.Timer // calls grant when the next waiting call can go
}

// class holds the waiting calls of one importance.
type class struct {
	rotation []Holder // the holders with waiting calls, the next one first
	calls    map[Holder][]*waiter
}

// waiter is a waiting call. granted is closed when it gets its slot. In a Queue, unit is set before that.
type waiter struct {
	granted chan struct{}
	unit    Unit
}

// NewSchedule makes a Schedule of perSecond slots for a number of classes. Class 0 is the best. A named holder has
// sharePercent of the slots while others wait; 0 means no limit.
func NewSchedule(perSecond float64, classes, sharePercent int) *Schedule {
	s := &Schedule{share: Of(window, sharePercent), classes: make([]class, classes)}
	if s.share > 0 {
		s.kept = kept
	}
	s.limiter = rate.NewLimiter(rate.Limit(perSecond), 1+int(s.kept))
	for i := range s.classes {
		s.classes[i].calls = make(map[Holder][]*waiter)
	}
	s.timer = time.AfterFunc(time.Hour, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.grant(time.Now())
	})
	s.timer.Stop()
	return s
}

// Wait returns nil when the call gets a slot. It returns ErrNoSlot at once if no slot is expected before the deadline of
// ctx, and when ctx ends.
func (s *Schedule) Wait(ctx context.Context, class int, holder Holder) error {
	if ctx.Err() != nil {
		return ErrNoSlot
	}
	mine := s.enqueue(ctx, class, holder)
	if mine == nil {
		return ErrNoSlot
	}
	select {
	case <-mine.granted:
		return nil
	case <-ctx.Done():
		return s.giveUp(class, holder, mine)
	}
}

// enqueue adds the call to the queue; its waiter is granted already if a slot is free. It returns nil if no slot is
// expected before the deadline of ctx.
func (s *Schedule) enqueue(ctx context.Context, class int, holder Holder) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if deadline, ok := ctx.Deadline(); ok && s.expected(now, class, holder).After(deadline) {
		return nil
	}
	mine := &waiter{granted: make(chan struct{})}
	s.classes[class].add(holder, mine)
	s.grant(now)
	return mine
}

// expected estimates when a further call gets its slot if no other call begins to wait. It counts the calls that pick
// puts before it. The caller holds the lock.
func (s *Schedule) expected(now time.Time, class int, holder Holder) time.Time {
	better := 0
	for i := range class {
		better += len(s.classes[i].rotation)
	}
	// passes: the holder goes before those that are beyond their share.
	passes := s.share > 0 && s.within(holder) && (holder != (Holder{}) || better == 0)
	ahead := 0
	for i := range class {
		for other, calls := range s.classes[i].calls {
			switch {
			case !passes || other == holder || other == (Holder{}):
				ahead += len(calls)
			case s.within(other):
				ahead += min(len(calls), s.share)
			}
		}
	}
	own := len(s.classes[class].calls[holder])
	for other, calls := range s.classes[class].calls {
		switch {
		case other == holder:
			ahead += own
		case !passes || s.within(other):
			ahead += min(len(calls), own+1)
		}
	}
	return now.Add(s.until(now, float64(ahead)+s.required(s.within(holder))))
}

// required returns how many slots must be free for a call to go.
func (s *Schedule) required(within bool) float64 {
	if within {
		return 1
	}
	return 1 + s.kept
}

// until returns the time until so many slots have become free if none is used.
func (s *Schedule) until(now time.Time, slots float64) time.Duration {
	missing := max(0, slots-s.limiter.TokensAt(now))
	return time.Duration(missing / float64(s.limiter.Limit()) * float64(time.Second))
}

// grant gives the free slots to waiting calls and sets the timer for the next one. The caller holds the lock.
func (s *Schedule) grant(now time.Time) {
	for {
		in, holder, within := s.pick()
		if in == nil {
			return
		}
		if delay := s.until(now, s.required(within)); delay > 0 || !s.limiter.AllowN(now, 1) {
			s.timer.Reset(max(delay, time.Microsecond)) // a token can lack less than a nanosecond's worth
			return
		}
		s.record(holder)
		close(in.take(holder).granted)
	}
}

// pick returns the class and the holder of the next call, and whether the holder is within its share. The class is nil if
// no call waits. The service's own calls never go before a better class: a catch-up must not take the slots of retries,
// however many of the last slots the retries had. The caller holds the lock.
func (s *Schedule) pick() (in *class, holder Holder, within bool) {
	better := false // whether calls of a better class wait
	for i := range s.classes {
		c := &s.classes[i]
		for _, one := range c.rotation {
			if s.within(one) && (!better || one != (Holder{})) {
				return c, one, true
			}
		}
		better = better || len(c.rotation) > 0
	}
	for i := range s.classes {
		if c := &s.classes[i]; len(c.rotation) > 0 {
			return c, c.rotation[0], false
		}
	}
	return nil, Holder{}, false
}

// within reports whether a holder has not used up its share of the last slots. The caller holds the lock.
func (s *Schedule) within(holder Holder) bool {
	if s.share == 0 || holder == (Holder{}) {
		return true
	}
	had := 0
	for _, one := range s.recent {
		if one == holder {
			had++
		}
	}
	return had < s.share
}

// record adds the holder of a slot to recent. The caller holds the lock.
func (s *Schedule) record(holder Holder) {
	if len(s.recent) == window {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	s.recent = append(s.recent, holder)
}

// giveUp removes a call whose context has ended. It returns nil if the call got its slot at the same moment.
func (s *Schedule) giveUp(class int, holder Holder, mine *waiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.classes[class].remove(holder, mine) {
		return nil
	}
	s.grant(time.Now()) // the next call can need fewer free slots than this one did
	return ErrNoSlot
}

func (c *class) add(holder Holder, w *waiter) {
	if len(c.calls[holder]) == 0 {
		c.rotation = append(c.rotation, holder)
	}
	c.calls[holder] = append(c.calls[holder], w)
}

// take removes the first call of a holder with waiting calls, and moves the holder behind the others.
func (c *class) take(holder Holder) *waiter {
	first := c.calls[holder][0]
	c.remove(holder, first)
	if at := slices.Index(c.rotation, holder); at >= 0 {
		c.rotation = append(slices.Delete(c.rotation, at, at+1), holder)
	}
	return first
}

// remove removes a call and reports whether it was waiting.
func (c *class) remove(holder Holder, w *waiter) bool {
	at := slices.Index(c.calls[holder], w)
	if at < 0 {
		return false
	}
	c.calls[holder] = slices.Delete(c.calls[holder], at, at+1)
	if len(c.calls[holder]) == 0 {
		delete(c.calls, holder)
		c.rotation = slices.DeleteFunc(c.rotation, func(one Holder) bool { return one == holder })
	}
	return true
}

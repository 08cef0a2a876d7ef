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

// errNoSlot: the call has no turn before its deadline.
var errNoSlot = errors.New("the rate leaves no turn before the deadline")

// window is how many of the last turns are looked at to tell whether a holder has had its share of the rate.
const window = 8

// schedule gives the turns of one rate to the calls that wait. A call of a better class goes before all of
// the others; within a class the holders take turns, however many calls each of them has waiting. A named holder
// that has had its share of the last turns goes behind all holders that have not, of every class: so a flood
// of retries by one caller does not keep the lookups of others waiting.
//
// Who goes next is decided when a turn comes, not when a call begins to wait.
type schedule struct {
	limiter *rate.Limiter
	share   int // of window, for a named holder; 0: no bound

	mu      sync.Mutex
	classes []class         // the best first
	recent  []shares.Holder // of the last turns, the oldest first
	next    time.Time       // when the turn comes that is reserved for those who wait; zero: nobody waits
}

// class is the calls of one worth that wait.
type class struct {
	rotation []shares.Holder // whose turn it is next, of those with calls that wait
	calls map[shares.Holder][]*waiter
}

// waiter is a call that waits. turn is closed when it goes.
type waiter struct{ granted chan struct{} }

func newSchedule(perSecond float64, classes, sharePercent int) *schedule {
	s := &schedule{
		limiter: rate.NewLimiter(rate.Limit(perSecond), 1),
		share:   shares.Of(window, sharePercent),
		classes: make([]class, classes),
	}
	for i := range s.classes {
		s.classes[i].calls = make(map[shares.Holder][]*waiter)
	}
	return s
}

// wait returns when it is the call's turn. It returns errNoSlot at once if no turn comes before the context's
// deadline as things stand, and when the context ends before the turn.
func (s *schedule) wait(ctx context.Context, class int, holder shares.Holder) error {
	if ctx.Err() != nil {
		return errNoSlot
	}
	mine, err := s.enqueue(ctx, class, holder)
	if mine == nil {
		return err
	}
	select {
	case <-mine.granted:
		return nil
	case <-ctx.Done():
		return s.giveUp(class, holder, mine)
	}
}

// enter takes a turn that is free, or makes the call wait; then it returns the waiter.
func (s *schedule) enqueue(ctx context.Context, class int, holder shares.Holder) (*waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.next.IsZero() && s.limiter.AllowN(now, 1) {
		s.record(holder)
		return nil, nil
	}
	if deadline, ok := ctx.Deadline(); ok && s.expected(now, class, holder).After(deadline) {
		return nil, errNoSlot
	}
	mine := &waiter{granted: make(chan struct{})}
	s.classes[class].add(holder, mine)
	if s.next.IsZero() {
		s.reserve(now)
	}
	return mine, nil
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
	perSecond := float64(s.limiter.Limit())
	first := s.next
	if first.IsZero() {
		missing := max(0, 1-s.limiter.TokensAt(now))
		first = now.Add(time.Duration(missing / perSecond * float64(time.Second)))
	}
	return first.Add(time.Duration(float64(ahead) / perSecond * float64(time.Second)))
}

// reserve has the next turn given away when it comes. The lock is held.
func (s *schedule) reserve(now time.Time) {
	delay := s.limiter.ReserveN(now, 1).DelayFrom(now)
	s.next = now.Add(delay)
	time.AfterFunc(delay, s.grantNext)
}

// give lets the call go whose turn it is. A turn that nobody waits for any more is lost.
func (s *schedule) grantNext() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = time.Time{}
	if holder, first := s.pick(); first != nil {
		s.record(holder)
		close(first.granted)
	}
	if slices.ContainsFunc(s.classes, func(c class) bool { return len(c.rotation) > 0 }) {
		s.reserve(time.Now())
	}
}

// pick takes out the call that goes next; nil if none waits. The service's own calls go before no better class: a
// catch-up must not take the turns of retries, however many of the last ones those had. The lock is held.
func (s *schedule) pick() (shares.Holder, *waiter) {
	better := false // calls of a better class wait
	for i := range s.classes {
		within := func(holder shares.Holder) bool {
			return s.within(holder) && (!better || holder != (shares.Holder{}))
		}
		if holder, first := s.classes[i].take(within); first != nil {
			return holder, first
		}
		better = better || len(s.classes[i].rotation) > 0
	}
	for i := range s.classes {
		if holder, first := s.classes[i].take(func(shares.Holder) bool { return true }); first != nil {
			return holder, first
		}
	}
	return shares.Holder{}, nil
}

// within reports whether a holder has not had its share of the last turns. The lock is held.
func (s *schedule) within(holder shares.Holder) bool {
	if s.share == 0 || holder == (shares.Holder{}) {
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

// note remembers whose the last turns were. The lock is held.
func (s *schedule) record(holder shares.Holder) {
	if len(s.recent) == window {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	s.recent = append(s.recent, holder)
}

// leave takes a call out that has given up. A call that got its turn at the same moment goes.
func (s *schedule) giveUp(class int, holder shares.Holder, mine *waiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.classes[class].remove(holder, mine) {
		return errNoSlot
	}
	return nil
}

func (c *class) add(holder shares.Holder, w *waiter) {
	if len(c.calls[holder]) == 0 {
		c.rotation = append(c.rotation, holder)
	}
	c.calls[holder] = append(c.calls[holder], w)
}

// take takes out the first call of the first holder that may have it. The holder goes behind the others.
func (c *class) take(allowed func(shares.Holder) bool) (shares.Holder, *waiter) {
	at := slices.IndexFunc(c.rotation, allowed)
	if at < 0 {
		return shares.Holder{}, nil
	}
	holder := c.rotation[at]
	first := c.calls[holder][0]
	c.remove(holder, first)
	if waits := slices.Index(c.rotation, holder); waits >= 0 {
		c.rotation = append(slices.Delete(c.rotation, waits, waits+1), holder)
	}
	return holder, first
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
		c.rotation = slices.DeleteFunc(c.rotation, func(one shares.Holder) bool { return one == holder })
	}
	return true
}

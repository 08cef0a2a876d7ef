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

// errNoSlot: the call gets no slot before its deadline.
var errNoSlot = errors.New("the rate leaves no slot before the deadline")

// window is the number of the last slots that decide whether a holder has used up its share of the rate.
const window = 8

// schedule gives the slots of one rate to waiting calls. A call of a better class goes before the calls of all other
// classes. Within a class the holders alternate, however many calls each of them has. A named holder that has used up its
// share of the last slots goes behind all holders of every class that have not. So a flood of retries by one caller does
// not delay the lookups of others. It is safe for concurrent use.
//
// The schedule chooses the next call when the slot comes, not when a call begins to wait.
type schedule struct {
	limiter *rate.Limiter
	share   int // slots of window for a named holder; 0 means no limit

	mu      sync.Mutex
	classes []class         // the best first
	recent  []shares.Holder // the holders of the last slots, the oldest first
	next    time.Time       // when the reserved slot comes; zero if no call waits
}

// class holds the waiting calls of one importance.
type class struct {
	rotation []shares.Holder // the holders with waiting calls, the next one first
	calls    map[shares.Holder][]*waiter
}

// waiter is a waiting call. granted is closed when it gets its slot.
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

// wait returns nil when the call gets a slot. It returns errNoSlot at once if no slot is expected before the deadline of
// ctx, and when ctx ends.
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

// enqueue takes a free slot and returns nil, or adds the call to the queue and returns its waiter.
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

// expected estimates when a further call gets its slot if no other call begins to wait. A holder within its share waits for
// at most the share of each other holder, as in pick. The caller holds the lock.
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

// reserve reserves the next slot and calls grantNext when the slot comes. The caller holds the lock.
func (s *schedule) reserve(now time.Time) {
	delay := s.limiter.ReserveN(now, 1).DelayFrom(now)
	s.next = now.Add(delay)
	time.AfterFunc(delay, s.grantNext)
}

// grantNext gives a slot to the next call. The slot is lost if no call waits any more.
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

// pick removes the next call from the queue. It returns nil if none waits. The service's own calls never go before a better
// class: a catch-up must not take the slots of retries, however many of the last slots the retries had. The caller holds
// the lock.
func (s *schedule) pick() (shares.Holder, *waiter) {
	better := false // whether calls of a better class wait
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

// within reports whether a holder has not used up its share of the last slots. The caller holds the lock.
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

// record adds the holder of a slot to recent. The caller holds the lock.
func (s *schedule) record(holder shares.Holder) {
	if len(s.recent) == window {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	s.recent = append(s.recent, holder)
}

// giveUp removes a call whose context has ended. It returns nil if the call got its slot at the same moment.
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

// take removes the first call of the first allowed holder and moves the holder behind the others. It returns nil if no
// holder is allowed.
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

// remove removes a call and reports whether it was waiting.
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

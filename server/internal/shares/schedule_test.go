package shares

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	retries = 0
	lookups = 1
)

// line is a schedule under test, on the clock of a synctest bubble.
type line struct {
	*Schedule
	t     *testing.T
	calls sync.WaitGroup
}

// flood starts n calls with a deadline and returns when all of them wait.
func (l *line) flood(n, class int, holder Holder, deadline time.Duration) {
	for range n {
		l.calls.Go(func() {
			ctx, cancel := context.WithTimeout(l.t.Context(), deadline)
			defer cancel()
			_ = l.Wait(ctx, class, holder)
		})
	}
	synctest.Wait()
}

// took returns how long one call waits for its slot. The call must get one.
func (l *line) took(class int, holder Holder) time.Duration {
	l.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Second) // what a lookup has
	defer cancel()
	if err := l.Wait(ctx, class, holder); err != nil {
		l.t.Errorf("%v waited %v in class %d: %v", holder, time.Since(began), class, err)
	}
	return time.Since(began)
}

// inLine runs a test on a schedule of ten slots a second. A caller's share is a quarter.
func inLine(t *testing.T, test func(*testing.T, *line)) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{Schedule: NewSchedule(10, 2, 25), t: t}
		defer l.calls.Wait()
		test(t, l)
	})
}

func TestG15_AFloodOfOneCallersRetriesDelaysNobodyElse(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		l.flood(300, retries, Named("flood"), 30*time.Second)
		for n := range 20 {
			time.Sleep(400 * time.Millisecond)
			other := Named(fmt.Sprintf("caller %d", n%2))
			if took := l.took(n%2, other); took > 200*time.Millisecond {
				t.Errorf("call %d of %v in class %d waited %v behind the flood", n, other, n%2, took)
			}
		}
	})
}

// TestG15_ACallGoesAtOnceBesideAFloodOfAnotherCaller: a kept slot is free before the next one comes.
func TestG15_ACallGoesAtOnceBesideAFloodOfAnotherCaller(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		l.flood(300, retries, Named("flood"), 30*time.Second)
		for n := range 20 {
			time.Sleep(time.Second)
			for range 2 { // its share of the last slots
				if took := l.took(n%2, Named("other")); took > 0 {
					t.Errorf("call %d in class %d waited %v", n, n%2, took)
				}
			}
		}
	})
}

// TestG15_FloodsOfManyCallersRefuseNoCallWithinItsShare: calls of holders beyond their share do not count for a holder
// that goes before them.
func TestG15_FloodsOfManyCallersRefuseNoCallWithinItsShare(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		for n := range 4 { // each uses up its share of the last slots
			l.flood(100, retries, Named(fmt.Sprintf("flood %d", n)), 60*time.Second)
		}
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := l.Wait(ctx, lookups, Named("other")); err != nil {
			t.Errorf("a lookup within its share: %v", err)
		}
	})
}

// TestACallThatGivesUpLetsTheNextGo: the next call can need fewer free slots than the call that gave up.
func TestACallThatGivesUpLetsTheNextGo(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		for range 2 {
			l.took(retries, Named("person"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		l.calls.Go(func() { _ = l.Wait(ctx, retries, Named("person")) }) // beyond its share: it needs three free slots
		synctest.Wait()
		var took time.Duration
		began := time.Now()
		l.calls.Go(func() { took = l.took(lookups, Holder{}) })
		synctest.Wait()
		cancel()
		l.calls.Wait()
		if took > 0 {
			t.Errorf("a call that needs one free slot went %v after the one before it gave up, with a slot free since %v", took, began)
		}
	})
}

func TestG15_AFloodOfLookupsDelaysNoRetry(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		for n := range 8 {
			l.flood(100, lookups, Named(fmt.Sprintf("flood %d", n)), 30*time.Second)
		}
		for n := range 20 {
			time.Sleep(400 * time.Millisecond)
			if took := l.took(retries, Named("person")); took > 200*time.Millisecond {
				t.Errorf("retry %d waited %v", n, took)
			}
		}
	})
}

// TestUnwantedSlotsAreNotHeldBack: a caller gets all slots while no other caller waits.
func TestUnwantedSlotsAreNotHeldBack(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		began := time.Now()
		for range 40 {
			l.took(lookups, Named("alone"))
		}
		if took := time.Since(began); took != 3900*time.Millisecond {
			t.Errorf("40 slots of one caller took %v, want 3.9s", took)
		}
	})
}

func TestTheServicesOwnCallsGetSlotsBesideAFlood(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		l.flood(300, lookups, Named("flood"), 30*time.Second)
		began := time.Now()
		for range 10 {
			l.took(lookups, Holder{})
		}
		if took := time.Since(began); took > 2100*time.Millisecond {
			t.Errorf("10 slots of the service itself took %v beside a flood of one caller", took)
		}
	})
}

// TestTheServicesOwnReadsGoBehindRetries: a catch-up takes no slot of retries, even if one caller's retries have used
// up their share of the last slots.
func TestTheServicesOwnReadsGoBehindRetries(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		l.flood(20, retries, Named("person"), 30*time.Second)
		began := time.Now()
		l.took(lookups, Holder{})
		if took := time.Since(began); took < 1900*time.Millisecond {
			t.Errorf("a read of the service itself waited %v, before 20 retries that waited for 2s", took)
		}
	})
}

func TestOfOneHolderTheFirstCallGoesFirst(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		var mu sync.Mutex
		var order []int
		for n := range 20 {
			l.calls.Go(func() {
				if err := l.Wait(t.Context(), retries, Named("person")); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, n) // slots are 100 ms apart
			})
			synctest.Wait()
		}
		l.calls.Wait()
		for n, got := range order {
			if got != n {
				t.Fatalf("slots went to %v", order)
			}
		}
	})
}

func TestNoSlotBeforeTheDeadlineFailsAtOnce(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		l.flood(300, lookups, Named("flood"), 3*time.Second)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := l.Wait(ctx, lookups, Named("flood")); !errors.Is(err, ErrNoSlot) || time.Since(began) != 0 {
			t.Errorf("error %v after %v, want ErrNoSlot at once", err, time.Since(began))
		}
		if waiting := len(l.classes[lookups].calls[Named("flood")]); waiting > 31 {
			t.Errorf("%d calls wait; those after the 31st get no slot within their 3 s", waiting)
		}
		// Another caller's call gets its slot in time.
		if err := l.Wait(ctx, lookups, Named("other")); err != nil {
			t.Errorf("another caller: %v", err)
		}
	})
}

func TestACallThatGivesUpLeavesTheQueue(t *testing.T) {
	inLine(t, func(t *testing.T, l *line) {
		for range 1 + kept { // no slot is free now
			l.took(retries, Holder{})
		}
		var gone atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		for range 50 {
			l.calls.Go(func() {
				if errors.Is(l.Wait(ctx, retries, Holder{}), ErrNoSlot) {
					gone.Add(1)
				}
			})
		}
		synctest.Wait()
		cancel()
		l.calls.Wait()
		if took := l.took(retries, Holder{}); gone.Load() != 50 || took > 200*time.Millisecond {
			t.Errorf("%d of 50 gave up; the next call waited %v", gone.Load(), took)
		}
		if n := len(l.classes[retries].calls); n != 0 {
			t.Errorf("%d holders are still in line", n)
		}
	})
}

package reconcile

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// timed is a Stripe that records when it is called, from the start of the loop. It is also a store in which a named
// call fails with an error.
type timed struct {
	began time.Time
	mu    sync.Mutex
	at    []time.Duration
	tried int
	err   error
	call  string // of the store; empty: Stripe's
}

func (l *timed) Events(context.Context, string, verification.EventQuery) (verification.EventPage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = append(l.at, time.Since(l.began).Round(time.Second))
	if l.call != "" {
		return verification.EventPage{}, nil
	}
	return verification.EventPage{}, l.err
}

func (l *timed) refuse(call, _ string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if call != l.call {
		return nil
	}
	return l.err
}

func (l *timed) set(call string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.call, l.err = call, err
}

func (l *timed) asked() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.at)
}

func (l *timed) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tried
}

// loop runs Loop in a synctest bubble until during returns.
func loop(t *testing.T, jitter float64, during func(r *Reconciler, stripe *timed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := &timed{began: time.Now()}, newFakeStore()
		kept.fail = stripe.refuse
		r, err := New(Config{
			Store: kept, Stripe: stripe, Ingest: newApplied(), Holder: "me", Logger: slog.New(slog.DiscardHandler),
			Jitter: func() float64 { return jitter },
			Observe: func(_ Summary, err error) {
				stripe.mu.Lock()
				defer stripe.mu.Unlock()
				if err != nil {
					stripe.tried++
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.Loop(ctx)
		}()
		synctest.Wait()
		during(r, stripe)
		cancel()
		<-ended
	})
}

func same(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("asked at %v, want %v", got, want)
	}
	for i := range want {
		if d := got[i] - want[i]; d < -time.Second || d > time.Second {
			t.Fatalf("asked at %v, want %v", got, want)
		}
	}
}

func TestLoopRunsAtOnceAndAtEveryInterval(t *testing.T) {
	loop(t, 0, func(_ *Reconciler, stripe *timed) {
		time.Sleep(30 * time.Minute)
		same(t, stripe.asked(), 0, 13*time.Minute+30*time.Second, 27*time.Minute)
	})
	loop(t, 1, func(_ *Reconciler, stripe *timed) {
		time.Sleep(30 * time.Minute)
		same(t, stripe.asked(), 0, 16*time.Minute+30*time.Second)
	})
}

func TestLoopRunsSoonAfterATrigger(t *testing.T) {
	loop(t, 0.5, func(r *Reconciler, stripe *timed) {
		time.Sleep(time.Minute)
		for range 10 {
			r.Trigger()
		}
		synctest.Wait()
		same(t, stripe.asked(), 0, time.Minute)
		// One that flaps does not spend the budget.
		for range 20 {
			r.Trigger()
			time.Sleep(time.Second)
		}
		if n := len(stripe.asked()); n < 4 || n > 7 {
			t.Errorf("asked at %v", stripe.asked())
		}
	})
}

func TestLoopReadsWhatIsLost(t *testing.T) {
	loop(t, 0.5, func(r *Reconciler, stripe *timed) {
		time.Sleep(time.Minute)
		r.LostAll()
		synctest.Wait()
		same(t, stripe.asked(), 0, time.Minute)
		marks, err := r.config.Store.Marks(t.Context(), markLoss, markRestored)
		if err != nil || marks[0] == 0 || marks[1] != marks[0] {
			t.Errorf("%v, %v: no full run", marks, err)
		}
	})
}

func TestLoopBacksOff(t *testing.T) {
	for name, call := range map[string]string{"the store": "lease", "the key": ""} {
		t.Run(name, func(t *testing.T) {
			loop(t, 1, func(r *Reconciler, stripe *timed) {
				stripe.set(call, verification.ErrStripeUnauthorized)
				r.Trigger()
				time.Sleep(time.Hour)
				// 1, 2, 4 ... 256 s, then every 5 minutes.
				if n := stripe.failures(); n < 15 || n > 25 {
					t.Errorf("%d tries in an hour", n)
				}
				stripe.set("", nil)
				time.Sleep(6 * time.Minute)
				before := len(stripe.asked())
				time.Sleep(10 * time.Minute)
				if before == 0 || len(stripe.asked()) != before {
					t.Errorf("well again, it does not wait for the interval: %v", stripe.asked())
				}
			})
		})
	}
}

// TestLoopComesBackForTheLease: the holder of the lease might have crashed. The loop waits for the end of the lease
// and not for the next interval.
func TestLoopComesBackForTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stripe, kept := &timed{began: time.Now()}, newFakeStore()
		if held, err := kept.Lease(t.Context(), leaseName, "dead", leaseFor); err != nil || !held {
			t.Fatal(held, err)
		}
		r, err := New(Config{Store: kept, Stripe: stripe, Ingest: newApplied(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		r.Loop(ctx)
		if len(stripe.asked()) != 1 || stripe.asked()[0] > leaseFor+leaseFor/5 {
			t.Errorf("asked at %v", stripe.asked())
		}
	})
}

func TestLoopEndsInEveryState(t *testing.T) {
	// loop cancels and waits; a goroutine left over would fail the bubble.
	loop(t, 0, func(*Reconciler, *timed) {})
	loop(t, 0, func(*Reconciler, *timed) { time.Sleep(minPause + time.Second) })
	loop(t, 0, func(r *Reconciler, stripe *timed) {
		stripe.set("", verification.ErrStripeUnavailable)
		time.Sleep(time.Minute)
		r.Trigger()
		synctest.Wait() // in the pause between two tries
	})
}

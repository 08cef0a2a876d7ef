package maintain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeEndpoint is the endpoint at Stripe, as the replicas check and show it.
type fakeEndpoint struct {
	mu       sync.Mutex
	began    time.Time
	problems int64
	err      error
	checks   []time.Duration  // since the beginning
	shown    map[string]int64 // by replica
}

func (e *fakeEndpoint) set(problems int64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.problems, e.err = problems, err
}

func (e *fakeEndpoint) check(context.Context) (int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.checks = append(e.checks, time.Since(e.began).Round(time.Minute))
	return e.problems, e.err
}

func (e *fakeEndpoint) show(replica string) func(int64) {
	return func(problems int64) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.shown[replica] = problems
	}
}

// startChecking starts a replica that checks the endpoint.
func (f *fleet) startChecking(name string, e *fakeEndpoint) {
	jobs := New(Config{
		Store: f.view(name), Logger: slog.New(slog.DiscardHandler), Clock: time.Now,
		CheckEndpoint: e.check, ShowEndpoint: e.show(name),
	})
	ctx, cancel := context.WithCancel(f.t.Context())
	f.stops[name] = cancel
	f.work.Go(func() { jobs.Run(ctx) })
}

// made returns the times of the checks.
func (e *fakeEndpoint) made() []time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.checks)
}

// want compares the number of checks, and what the replicas show.
func (e *fakeEndpoint) want(t *testing.T, when string, checks int, shown int64, replicas ...string) {
	t.Helper()
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.checks) != checks {
		t.Errorf("%s: checks at %v, want %d", when, e.checks, checks)
	}
	for _, replica := range replicas {
		if got, ok := e.shown[replica]; !ok || got != shown {
			t.Errorf("%s: replica %s shows %d (%t), want %d", when, replica, got, ok, shown)
		}
	}
}

// One of the replicas checks the endpoint, once a day and every hour while there is a problem. All of them show the result.
func TestEndpointIsCheckedOnceADay(t *testing.T) {
	for replicas := 1; replicas <= 3; replicas++ {
		inBubble(t, func(f *fleet) {
			e := &fakeEndpoint{began: time.Now(), shown: map[string]int64{}}
			var names []string
			for n := range replicas {
				names = append(names, fmt.Sprint(n))
				f.startChecking(names[n], e)
			}
			e.want(t, "before the first look", 0, 0)
			time.Sleep(2 * endpointAfter)
			e.want(t, "at the start", 1, 0, names...)
			time.Sleep(23 * time.Hour)
			e.want(t, "after 23 hours", 1, 0, names...)
			e.set(5, nil)
			time.Sleep(2 * time.Hour)
			// The check of the day finds the problem, and there is at most one more.
			synctest.Wait()
			if n := len(e.made()); n < 2 || n > 3 {
				t.Errorf("after 25 hours: checks at %v", e.made())
			}
			e.want(t, "after 25 hours", len(e.made()), 5, names...)
			before := len(e.made())
			time.Sleep(10 * time.Hour)
			synctest.Wait()
			if n := len(e.made()) - before; n < 8 || n > 10 {
				t.Errorf("%d checks in 10 hours with a problem: %v", n, e.made())
			}
			e.set(0, nil)
			time.Sleep(90 * time.Minute)
			e.want(t, "after the correction", len(e.made()), 0, names...)
			before = len(e.made())
			time.Sleep(20 * time.Hour)
			e.want(t, "20 hours after it", before, 0, names...)
		})
	}
}

// A process that starts while there is a problem checks at once, since its configuration can be the correction. One that starts while
// there is none does not.
func TestEndpointIsCheckedAtAStartWithAProblem(t *testing.T) {
	inBubble(t, func(f *fleet) {
		e := &fakeEndpoint{began: time.Now(), shown: map[string]int64{}, problems: 1}
		f.startChecking("a", e)
		time.Sleep(time.Minute)
		e.want(t, "at the start", 1, 1, "a")
		f.stop("a")
		e.set(0, nil)
		f.startChecking("b", e)
		time.Sleep(time.Minute)
		e.want(t, "at the second start", 2, 0, "b")
		f.stop("b")
		f.startChecking("c", e)
		time.Sleep(time.Minute)
		e.want(t, "at the third start", 2, 0, "c")
	})
}

// A check without an answer is repeated within minutes, and changes nothing that was known.
func TestEndpointIsCheckedAgainWithoutAnAnswer(t *testing.T) {
	inBubble(t, func(f *fleet) {
		e := &fakeEndpoint{began: time.Now(), shown: map[string]int64{}, problems: 2}
		f.startChecking("a", e)
		time.Sleep(time.Minute)
		e.set(0, errors.New("planted"))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if n := len(e.made()); n < 8 || !slices.IsSorted(e.made()) {
			t.Errorf("without an answer: checks at %v", e.made())
		}
		e.want(t, "without an answer", len(e.made()), 2, "a")
		e.set(0, nil)
		time.Sleep(time.Hour)
		e.want(t, "with an answer", len(e.made()), 0, "a")
	})
}

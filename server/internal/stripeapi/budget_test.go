package stripeapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

func TestDailyBudget(t *testing.T) {
	var clock atomic.Int64
	day := time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC)
	clock.Store(day.Unix())
	s := serve(t, func(w http.ResponseWriter, c call) {
		if c.method == http.MethodPost {
			always(200, encode(session(fields{"id": "vs_1New"})))(w, c)
			return
		}
		always(200, encode(session(nil)))(w, c)
	})
	c := dial(t, s.URL, func(config *stripeapi.Config) {
		config.ReadsPerDay = 4
		config.Clock = func() time.Time { return time.Unix(clock.Load(), 0) }
	})
	ctx := context.Background()
	count := func(text string) int { return strings.Count(c.logs.String(), text) }
	read := func(want error) {
		t.Helper()
		if _, err := c.Retrieve(ctx, "", id); !errors.Is(err, want) {
			t.Fatalf("error %v, want %v", err, want)
		}
	}
	wantLeft := func(want int) {
		t.Helper()
		if got := c.ReadsLeft(); got != want {
			t.Fatalf("%d reads are said to be left, want %d", got, want)
		}
	}
	wantLeft(4)
	read(nil)
	wantLeft(3)
	if count("half") != 0 {
		t.Error("half is said to be gone after a quarter")
	}
	read(nil)
	// The POST is no read: this uses one, not two.
	if _, err := c.CreateLike(ctx, "", id, ""); err != nil {
		t.Fatal(err)
	}
	read(nil)
	for range 3 {
		read(verification.ErrStripeBudget)
	}
	if _, err := c.FindByReference(ctx, "case-17"); !errors.Is(err, verification.ErrStripeBudget) {
		t.Errorf("find: error %v", err)
	}
	if _, err := c.CreateLike(ctx, "", id, ""); !errors.Is(err, verification.ErrStripeBudget) {
		t.Errorf("create: error %v", err)
	}
	if len(s.seen()) != 5 {
		t.Errorf("%d requests, want 5", len(s.seen()))
	}
	if count("half") != 1 || count("used up") != 1 {
		t.Errorf("log:\n%s", c.logs)
	}
	if !strings.HasSuffix(c.observed(), "retrieve:budget find:budget retrieve:budget") {
		t.Errorf("observed %s", c.observed())
	}

	wantLeft(0)
	clock.Add(1) // midnight UTC
	wantLeft(4)
	for range 4 {
		read(nil)
	}
	read(verification.ErrStripeBudget)
	if count("half") != 2 || count("used up") != 2 {
		t.Errorf("log of the second day:\n%s", c.logs)
	}
	// A clock set back does not give the first day's reads again.
	clock.Store(day.Unix())
	read(verification.ErrStripeBudget)
}

func TestBudgetUnderConcurrency(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.ReadsPerDay = 10 })
	var wg sync.WaitGroup
	var spent atomic.Int32
	for range 40 {
		wg.Go(func() {
			if _, err := c.Retrieve(context.Background(), "", id); errors.Is(err, verification.ErrStripeBudget) {
				spent.Add(1)
			}
		})
	}
	wg.Wait()
	if len(s.seen()) != 10 || spent.Load() != 30 {
		t.Errorf("%d requests, %d refused", len(s.seen()), spent.Load())
	}
}

// TestRateLeavesNoSlot: a call that gets no slot before its deadline fails at once and uses no budget.
func TestRateLeavesNoSlot(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.RatePerSecond, config.ReadsPerDay = 0.01, 2 })
	ctx := context.Background()
	if _, err := c.Retrieve(ctx, "", id); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	for range 3 {
		if _, err := c.Retrieve(ctx, "", id); !errors.Is(err, verification.ErrStripeUnavailable) {
			t.Errorf("error %v", err)
		}
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("waited %v", took)
	}
	if len(s.seen()) != 1 || strings.Contains(c.logs.String(), "used up") {
		t.Errorf("%d requests, log:\n%s", len(s.seen()), c.logs)
	}
}

// TestCallsAreSpaced: there is no burst, so no second sees more requests than the rate.
func TestCallsAreSpaced(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.RatePerSecond = 50 })
	started := time.Now()
	for range 5 {
		if _, err := c.Retrieve(context.Background(), "", id); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(started); took < 80*time.Millisecond {
		t.Errorf("five calls at 50 a second took %v", took)
	}
}

// TestCallsAreSpacedWithAShare: after a pause three calls go at once, and no more.
func TestCallsAreSpacedWithAShare(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.RatePerSecond, config.CallerSharePercent = 50, 25 })
	started := time.Now()
	for range 7 {
		if _, err := c.Retrieve(t.Context(), "", id); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(started); took < 80*time.Millisecond {
		t.Errorf("seven calls at 50 a second took %v, want 80ms at least: three at once, then one every 20ms", took)
	}
}

package stripeapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
)

func as(t *testing.T, caller string) context.Context {
	return shares.WithHolder(t.Context(), shares.Named(caller))
}

// spend makes calls until one is refused. It returns how many were made, and the refusal.
func spend(call func() error) (made int, err error) {
	for made = 0; err == nil && made < 1000; made++ {
		err = call()
	}
	return made - 1, err
}

func TestG15_TheReadsOfOneCallerAreNotTakenFromAnother(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.ReadsPerDay, config.CallerSharePercent = 100, 25 })
	lookup := func(ctx context.Context) func() error {
		return func() error {
			_, err := c.Read(ctx, verification.PurposeLookup, "", id)
			return err
		}
	}
	retry := func(ctx context.Context) func() error {
		return func() error {
			_, err := c.Retrieve(ctx, "", id)
			return err
		}
	}
	for _, step := range []struct {
		what string
		call func() error
		most int
	}{
		{"lookups of one caller", lookup(as(t, "one")), 12}, // a quarter of the half
		{"lookups of another", lookup(as(t, "two")), 12},
		{"retries of the first caller", retry(as(t, "one")), 13}, // the rest of its quarter of all
		{"retries of a third one", retry(as(t, "three")), 25},
		{"lookups of the third one", lookup(as(t, "three")), 0},
	} {
		if made, err := spend(step.call); made != step.most || !errors.Is(err, verification.ErrStripeBudget) {
			t.Errorf("%s: %d, then %v; want %d, then ErrStripeBudget", step.what, made, err, step.most)
		}
	}
	if n := strings.Count(c.logs.String(), "a caller has used up its share"); n != 3 {
		t.Errorf("%d lines about callers that have used up their share, want 3", n)
	}
	if left := c.ReadsLeft(); left != 38 {
		t.Errorf("%d reads are left, want 38", left)
	}
	// A catch-up leaves a fifth, and retries can use all.
	if made, err := spend(func() error {
		_, err := c.Events(t.Context(), "", verification.EventQuery{})
		if errors.Is(err, verification.ErrStripeUnavailable) {
			return nil // the server answers with a session
		}
		return err
	}); made != 18 || !errors.Is(err, verification.ErrStripeBudget) {
		t.Errorf("catch-up: %d, then %v; want 18", made, err)
	}
	if made, err := spend(retry(t.Context())); made != 20 || !errors.Is(err, verification.ErrStripeBudget) || errors.Is(err, verification.ErrStripeShare) {
		t.Errorf("retries without a name: %d, then %v; want 20", made, err)
	}
	for range 5 {
		if _, err := c.Read(t.Context(), verification.PurposeAmbiguous, "", id); err != nil {
			t.Errorf("a read for an ambiguous order without a budget: %v", err)
		}
	}
	if left := c.ReadsLeft(); left != 0 {
		t.Errorf("%d reads are left, want 0", left)
	}
}

func TestG15_NoFloodDelaysTheReadOfAnAmbiguousOrder(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.RatePerSecond, config.CallerSharePercent = 10, 25 })
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	defer flood.Wait()
	defer cancel()
	began := make(chan struct{}, 600)
	for n := range 600 {
		ctx := shares.WithHolder(ctx, shares.Named(fmt.Sprintf("flood %d", n%20)))
		flood.Go(func() {
			began <- struct{}{}
			if n%2 == 0 {
				_, _ = c.Retrieve(ctx, "", id)
			} else {
				_, _ = c.Read(ctx, verification.PurposeLookup, "", id)
			}
		})
	}
	for range 600 {
		await.One(t, began)
	}
	asked := time.Now()
	for range 10 {
		if _, err := c.Read(t.Context(), verification.PurposeAmbiguous, "", id); err != nil {
			t.Fatal(err)
		}
	}
	// Ten of twenty a second, on a machine that can be busy.
	if took := time.Since(asked); took > 2*time.Second {
		t.Errorf("10 reads for ambiguous orders took %v behind 600 calls that wait", took)
	}
}

func TestACallWithoutASlotIsBusyAndCostsNoRead(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.RatePerSecond, config.ReadsPerDay = 0.01, 10 })
	if _, err := c.Retrieve(t.Context(), "", id); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, call := range []func() error{
		func() error { _, err := c.Retrieve(ctx, "", id); return err },
		func() error { _, err := c.FindByReference(ctx, "case-17"); return err },
	} {
		if err := call(); !errors.Is(err, verification.ErrStripeBusy) || !errors.Is(err, verification.ErrStripeUnavailable) {
			t.Errorf("error %v, want ErrStripeBusy", err)
		}
	}
	if left := c.ReadsLeft(); left != 9 || c.observed() != "retrieve:ok retrieve:busy find:busy" {
		t.Errorf("%d reads are left, want 9; observed %s", left, c.observed())
	}
}

// TestG15_CreatedSessionsDoNotDelayTheEventsOfOthers: 500 events at once say that sessions were created, as a script at a
// sign-up page causes.
func TestG15_CreatedSessionsDoNotDelayTheEventsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newOutageRig(t)
		var flood sync.WaitGroup
		var busy atomic.Int32
		for n := range 500 {
			flood.Go(func() {
				if _, err := r.Read(t.Context(), verification.PurposeCreated, "", fmt.Sprintf("vs_Created%d", n)); errors.Is(err, verification.ErrStripeBusy) {
					busy.Add(1)
				}
			})
		}
		synctest.Wait()
		for n := range 20 {
			began := time.Now()
			if _, err := r.Read(t.Context(), verification.PurposeAmbiguous, "", fmt.Sprintf("vs_Other%d", n)); !errors.Is(err, verification.ErrStripeUnknown) {
				t.Errorf("error %v, want ErrStripeUnknown", err)
			}
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("the read for another event took %v, want the next slot", took)
			}
		}
		flood.Wait()
		if sent := int(r.asked.Load()) - 20; sent < 170 || busy.Load() == 0 {
			t.Errorf("%d reads of created sessions are sent, %d have no slot; want what ten seconds have, less the others", sent, busy.Load())
		}
		if r.ReadsLeft() != readsPerDay {
			t.Errorf("%d reads are left, want all: reads of events do not count", r.ReadsLeft())
		}
	})
}

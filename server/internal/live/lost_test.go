package live

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/await"
	"example.com/verification-status/server/internal/verification"
)

// TestG8_ARevisionLostBeforeItsNewsIsForgotten: the store loses a revision before the feed has told of it, so
// that the feed, which is followed all the time, shows no sign of it.
func TestG8_ARevisionLostBeforeItsNewsIsForgotten(t *testing.T) {
	for name, learn := range map[string]func(*testing.T, *records, *Cache){
		"committed here": func(t *testing.T, _ *records, c *Cache) {
			if _, err := c.Update(t.Context(), "vs_1", advance); err != nil {
				t.Fatal(err)
			}
		},
		"read here": func(t *testing.T, r *records, c *Cache) { r.commit("vs_1"); recent(t, c, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, c := newCache()
				recent(t, c, 0)
				learn(t, r, c)
				if got := recent(t, c, 0); got != 2 {
					t.Fatalf("revision %d, want 2", got)
				}
				r.set(func() { r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 1} })
				for range 4 {
					time.Sleep(Bound / 4)
					c.Trust(0, time.Now())
				}
				if got := recent(t, c, 0); got != 1 {
					t.Errorf("revision %d a second after it was lost, want 1", got)
				}
				// The number comes again, with other content.
				r.set(func() {
					r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 2, State: verification.State{Status: "verified"}}
				})
				c.Told("vs_1", 2)
				c.Trust(0, time.Now())
				if session, err := c.Recent(t.Context(), "vs_1", 0); err != nil || session.Status != "verified" {
					t.Errorf("%q, %v after the revision came again, want verified", session.Status, err)
				}
			})
		})
	}
}

// TestARevisionIsReadOnceMoreAndThenServed: what is proven costs no more reads, however old it gets.
func TestARevisionIsReadOnceMoreAndThenServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newCache()
		for range 40 {
			recent(t, c, 0)
			time.Sleep(Bound / 4)
			c.Trust(0, time.Now())
		}
		if got := r.count(); got != 2 {
			t.Errorf("%d reads in 10 seconds, want 2", got)
		}
	})
}

// TestAReadThatBeganBeforeTheFeedWasFollowedProvesNothing: the loss can come after the read and before the
// feed is read.
func TestAReadThatBeganBeforeTheFeedWasFollowedProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := newCache()
		time.Sleep(Bound / 8) // the feed was followed up to the beginning only
		recent(t, c, 0)
		time.Sleep(3 * Bound / 8)
		began := make(chan struct{})
		slow := true
		r.slow = func() {
			if slow {
				slow = false
				return
			}
			close(began)
			time.Sleep(Bound / 4)
			r.slow = func() {}
		}
		go func() { _, _ = c.Get(context.Background(), "vs_1") }()
		await.One(t, began)
		c.Trust(0, time.Now())
		time.Sleep(Bound / 2)
		r.set(func() { r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 0} })
		time.Sleep(Bound / 4)
		c.Trust(0, time.Now())
		if got := recent(t, c, 0); got != 0 {
			t.Errorf("revision %d, want what is in the store", got)
		}
	})
}

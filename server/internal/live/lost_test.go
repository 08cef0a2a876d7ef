package live

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
)

// TestG8_ARevisionLostBeforeItsFeedEntryIsEvicted: the store loses a revision before the feed has shown it, so
// that the feed, which is followed all the time, shows no sign of it.
func TestG8_ARevisionLostBeforeItsFeedEntryIsEvicted(t *testing.T) {
	for name, learn := range map[string]func(*testing.T, *records, *View){
		"committed here": func(t *testing.T, _ *records, v *View) {
			if _, err := v.Update(t.Context(), "vs_1", advance); err != nil {
				t.Fatal(err)
			}
		},
		"read here": func(t *testing.T, r *records, v *View) { r.commit("vs_1"); recent(t, v, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, v := newFreshView()
				recent(t, v, 0)
				learn(t, r, v)
				if got := recent(t, v, 0); got != 2 {
					t.Fatalf("revision %d, want 2", got)
				}
				r.set(func() { r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 1} })
				for range 4 {
					time.Sleep(FreshnessBound / 4)
					v.cache.markFresh(0, time.Now())
				}
				if got := recent(t, v, 0); got != 1 {
					t.Errorf("revision %d a second after it was lost, want 1", got)
				}
				// The number comes again, with other content.
				r.set(func() {
					r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 2, State: verification.State{Status: "verified"}}
				})
				v.cache.invalidate("vs_1", 2)
				v.cache.markFresh(0, time.Now())
				if session, err := v.Session(t.Context(), "vs_1", 0); err != nil || session.Status != "verified" {
					t.Errorf("%q, %v after the revision came again, want verified", session.Status, err)
				}
			})
		})
	}
}

// TestARevisionIsReadOnceMoreAndThenServed: what is proven costs no more reads, however old it gets.
func TestARevisionIsReadOnceMoreAndThenServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, v := newFreshView()
		for range 40 {
			recent(t, v, 0)
			time.Sleep(FreshnessBound / 4)
			v.cache.markFresh(0, time.Now())
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
		r, v := newFreshView()
		time.Sleep(FreshnessBound / 8) // the feed was followed up to the beginning only
		recent(t, v, 0)
		time.Sleep(3 * FreshnessBound / 8)
		began := make(chan struct{})
		slow := true
		r.slow = func() {
			if slow {
				slow = false
				return
			}
			close(began)
			time.Sleep(FreshnessBound / 4)
			r.slow = func() {}
		}
		go func() { _, _ = v.Get(context.Background(), "vs_1") }()
		await.One(t, began)
		v.cache.markFresh(0, time.Now())
		time.Sleep(FreshnessBound / 2)
		r.set(func() { r.held["vs_1"] = verification.Session{ID: "vs_1", Revision: 0} })
		time.Sleep(FreshnessBound / 4)
		v.cache.markFresh(0, time.Now())
		if got := recent(t, v, 0); got != 0 {
			t.Errorf("revision %d, want what is in the store", got)
		}
	})
}

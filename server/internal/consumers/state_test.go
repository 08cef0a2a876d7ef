package consumers

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
)

// List counts the changes after a consumer's positions and tells the age of the oldest.
func TestList(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if states, err := r.List(t.Context()); err != nil || len(states) != 0 {
			t.Errorf("List without consumers: %+v, %v", states, err)
		}
		begin := r.open(billing)
		r.open(Request{Name: "audit"}).Close()
		r.store.append(0)
		time.Sleep(10 * time.Second)
		r.store.append(1)
		r.store.append(1)
		time.Sleep(5 * time.Second)
		acknowledged := time.Now()
		heads := r.heads()
		if err := r.acknowledge("audit", "", []store.Position{heads[0], begin.Positions()[1], heads[2]}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		states, err := r.List(t.Context())
		if err != nil || len(states) != 2 {
			t.Fatalf("List = %+v, %v; want two", states, err)
		}
		audit, bill := states[0], states[1]
		if audit.Name != "audit" || audit.Pending != 2 || audit.Lag != 6*time.Second || audit.Active || audit.Expired || !audit.Acknowledged.Equal(acknowledged) {
			t.Errorf("audit: %+v; want 2 pending for 6 s, not active, acknowledged at %v", audit, acknowledged)
		}
		if bill.Name != "billing" || bill.Pending != 3 || bill.Lag != 16*time.Second || !bill.Active || bill.Holder != "pay" || !bill.Acknowledged.IsZero() {
			t.Errorf("billing: %+v; want 3 pending for 16 s, active, never acknowledged", bill)
		}
		if err := r.acknowledge("billing", "pay", heads); err != nil {
			t.Fatal(err)
		}
		if states, err = r.List(t.Context()); err != nil || states[1].Pending != 0 || states[1].Lag != 0 {
			t.Errorf("billing after all of it: %+v, %v", states[1], err)
		}
		begin.Close()
	})
}

// A clock that is behind that of the writers makes no negative age.
func TestLagIsNeverNegative(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.config.Clock = func() time.Time { return time.Now().Add(-time.Hour) }
		r.open(billing).Close()
		r.store.append(0)
		if states, err := r.List(t.Context()); err != nil || states[0].Lag != 0 || states[0].Pending != 1 {
			t.Errorf("List = %+v, %v; want 1 pending and no lag", states, err)
		}
	})
}

// Run observes every 12 to 18 s, observes nothing while the store is unavailable, and logs once that a consumer is late, and once that it is expired.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var seen []time.Time
		var last []State
		s := newFakeStore()
		c := New(Config{
			Store: s, Logger: slog.New(slog.NewTextHandler(&log, nil)), MaxAge: time.Hour,
			Observe: func(states []State) { seen, last = append(seen, time.Now()), states },
		})
		stream, err := c.Open(t.Context(), billing)
		if err != nil {
			t.Fatal(err)
		}
		stream.Close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Run(ctx)
		}()
		wait := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		wait(0)
		if len(seen) != 1 || len(last) != 1 || last[0].Pending != 0 {
			t.Fatalf("at the start: %d looks, %+v", len(seen), last)
		}
		s.append(0)
		wait(20 * time.Minute)
		for i := 1; i < len(seen); i++ {
			if pause := seen[i].Sub(seen[i-1]); pause < 12*time.Second || pause > 18*time.Second {
				t.Errorf("look %d came after %v", i, pause)
			}
		}
		logged := func(text string) int { return strings.Count(log.String(), text) }
		if last[0].Pending != 1 || last[0].Lag < 19*time.Minute || logged("level=WARN") != 0 {
			t.Errorf("after 20 minutes: %+v, log:\n%s", last[0], log.String())
		}
		looks := len(seen)
		s.goAway(store.ErrUnavailable)
		wait(10*time.Minute + time.Minute)
		if len(seen) != looks || logged("cannot be read") != 1 {
			t.Errorf("without the store: %d looks, log:\n%s", len(seen)-looks, log.String())
		}
		s.goAway(nil)
		wait(10 * time.Minute)
		if logged("more than half of FEED_MAX_AGE") != 1 || logged("level=WARN msg=\"a consumer is behind by more than half of FEED_MAX_AGE\" consumer=billing owner=pay") != 1 || logged("consumer=billing") != 2 { // the creation is the other
			t.Errorf("after 41 minutes the log is:\n%s", log.String())
		}
		s.append(0)
		s.trim(0, 1)
		wait(time.Minute)
		if !last[0].Expired || logged("are gone") != 1 {
			t.Errorf("expired: %+v, log:\n%s", last[0], log.String())
		}
		s.goAway(store.ErrUnavailable)
		wait(time.Minute)
		if logged("cannot be read") != 2 {
			t.Errorf("the store away again, log:\n%s", log.String())
		}
		cancel()
		wait(0)
		select {
		case <-done:
		default:
			t.Error("Run has not ended with its context")
		}
	})
}

package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// slowly is a store whose updates take a moment, and that counts those of one session which meet.
type slowly struct {
	store.Store
	took time.Duration

	mu   sync.Mutex
	open map[string]int // updates under way, by session
	met  int
}

func (s *slowly) Update(_ context.Context, id string, _ store.UpdateFunc) (verification.Session, error) {
	s.mu.Lock()
	s.open[id]++
	if s.open[id] > 1 {
		s.met++
	}
	s.mu.Unlock()
	time.Sleep(s.took)
	s.mu.Lock()
	s.open[id]--
	s.mu.Unlock()
	return verification.Session{}, nil
}

// TestEventsOfASessionFollowOneAnother: in virtual time. Those of one session follow one another while each is quick,
// those of others go side by side; no event waits for long behind a slow one, or after its caller has gone.
func TestEventsOfASessionFollowOneAnother(t *testing.T) {
	const sessions, events = 5, 4
	for name, test := range map[string]struct {
		took, most time.Duration
		meet       bool
	}{
		"quick": {lockTimeout / 10, events * lockTimeout / 10, false},
		"slow":  {10 * lockTimeout, 11 * lockTimeout, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			records := &slowly{took: test.took, open: make(map[string]int)}
			into := New(Config{Store: records, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
			defer into.Close()
			began := time.Now()
			var applying sync.WaitGroup
			for n := range sessions * events {
				applying.Go(func() {
					event := verification.Event{ID: fmt.Sprint("evt_", n), Object: verification.Object{ID: fmt.Sprint("vs_", n%sessions)}}
					if _, err := into.Apply(t.Context(), event); err != nil {
						t.Error(err)
					}
				})
			}
			applying.Wait()
			if took := time.Since(began); took > test.most || (records.met > 0) != test.meet {
				t.Errorf("%s: %d events of %d sessions took %v, %d met; want %v at the most", name, sessions*events, sessions, took, records.met, test.most)
			}
			if left := len(into.sessions.locks); left != 0 {
				t.Errorf("%s: %d locks are left", name, left)
			}
		})
	}
}

// TestAWaitForALockEndsWithItsContext.
func TestAWaitForALockEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mutex := newKeyedMutex()
		unlock := mutex.lock(t.Context(), "vs_a")
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		mutex.lock(gone, "vs_a")()
		if took := time.Since(began); took != 0 {
			t.Errorf("it waited %v", took)
		}
		unlock()
		if len(mutex.locks) != 0 {
			t.Error("a lock is left")
		}
	})
}

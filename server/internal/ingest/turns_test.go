package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// rendezvous is a store in which each update waits for those of all other sessions.
type rendezvous struct {
	store.Store
	sessions int

	mu   sync.Mutex
	open map[string]bool // the sessions that are being updated
	all  chan struct{}   // closed when they are so many
}

func (r *rendezvous) Update(_ context.Context, id string, _ store.UpdateFunc) (verification.Session, error) {
	r.mu.Lock()
	if r.open[id] {
		r.mu.Unlock()
		return verification.Session{}, errors.New("two updates of " + id + " at once")
	}
	r.open[id] = true
	all := r.all
	if len(r.open) == r.sessions {
		close(all)
		r.open, r.all = make(map[string]bool), make(chan struct{})
	}
	r.mu.Unlock()
	<-all
	return verification.Session{}, nil
}

// TestEventsOfASessionTakeTurns: and those of different sessions do not: each update here ends only when
// as many are under way as there are sessions.
func TestEventsOfASessionTakeTurns(t *testing.T) {
	const sessions, events = 4, 20
	into := New(Config{
		Store: &rendezvous{sessions: sessions, open: make(map[string]bool), all: make(chan struct{})},
		Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	defer into.Close()
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
	if left := len(into.turns.busy); left != 0 {
		t.Errorf("%d sessions are remembered", left)
	}
}

// TestWhoGivesUpWaitingForATurnLeavesNoTrace.
func TestWhoGivesUpWaitingForATurnLeavesNoTrace(t *testing.T) {
	turns := newTurns()
	if err := turns.enter(t.Context(), "vs_a"); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := turns.enter(gone, "vs_a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a second one: %v", err)
	}
	turns.leave("vs_a")
	if len(turns.busy) != 0 {
		t.Error("a session is remembered")
	}
}

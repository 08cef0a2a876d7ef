package ingest

import (
	"context"
	"sync"
)

// turns lets the events of one session that come to this process at once follow one another. Side by side
// all but one would conflict in the store, and each conflict is a round trip that does nothing. Other
// processes are kept apart by the commit alone. It is safe for concurrent use.
type turns struct {
	mu   sync.Mutex
	busy map[string]*turnOf
}

// turnOf is the turn of a session that somebody updates.
type turnOf struct {
	turn  chan struct{} // holds a value while somebody has the turn
	users int           // who have it or wait for it
}

func newTurns() *turns { return &turns{busy: make(map[string]*turnOf)} }

// enter waits for the turn. Who got it gives it back with leave.
func (t *turns) enter(ctx context.Context, id string) error {
	t.mu.Lock()
	session := t.busy[id]
	if session == nil {
		session = &turnOf{turn: make(chan struct{}, 1)}
		t.busy[id] = session
	}
	session.users++
	t.mu.Unlock()
	select {
	case session.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		t.forget(id, session)
		return ctx.Err()
	}
}

// leave gives the turn back.
func (t *turns) leave(id string) {
	t.mu.Lock()
	session := t.busy[id]
	t.mu.Unlock()
	<-session.turn
	t.forget(id, session)
}

func (t *turns) forget(id string, session *turnOf) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if session.users--; session.users == 0 {
		delete(t.busy, id)
	}
}

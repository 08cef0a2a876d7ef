package ingest

import (
	"context"
	"sync"
	"time"
)

// turnPatience is how long an event waits for its turn. With a Redis that is slow, or many deliveries of the
// same event, it is worth more to go on side by side.
const turnPatience = 20 * time.Millisecond

// turns lets the events of one session that come to this process at once follow one another. Side by side
// all but one would conflict in the store, and each conflict is a round trip that does nothing. That is all
// that it is for: the commit alone keeps writers apart, here and in other processes. It is safe for
// concurrent use.
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

// enter waits for the turn, for a while. Whoever enters calls leave, with or without a turn.
func (t *turns) enter(ctx context.Context, id string) (leave func()) {
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
	default:
		if !session.await(ctx) {
			return func() { t.forget(id, session) }
		}
	}
	return func() {
		<-session.turn
		t.forget(id, session)
	}
}

func (s *turnOf) await(ctx context.Context) bool {
	late := time.NewTimer(turnPatience)
	defer late.Stop()
	select {
	case s.turn <- struct{}{}:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

func (t *turns) forget(id string, session *turnOf) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if session.users--; session.users == 0 {
		delete(t.busy, id)
	}
}

package e2e

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// rollingWatch is one watch of the Go client, with the revisions that it has seen.
type rollingWatch struct {
	began chan struct{} // closed at the first response

	mu      sync.Mutex
	seen    map[string]int32 // the last revision of each session
	repeats int
	resumed int
	drained int // of resumed: the server said why
}

// rollingWatches are several of them: either the n-th of the n-th session, or each of all sessions.
type rollingWatches struct {
	t       *testing.T
	what    string
	all     bool
	watches []*rollingWatch
	clients []*client.Client
	end     context.CancelFunc
	ends    sync.WaitGroup
}

// watchSessions opens a watch of each session, ten for each client, and waits until they have begun.
func watchSessions(t *testing.T, target string, m *steadyWebhooks) *rollingWatches {
	t.Helper()
	w := &rollingWatches{t: t, what: "watches of a session"}
	w.open(target, len(m.sessions), 10, func(ctx context.Context, c *client.Client, n int, option client.WatchOption) iter.Seq2[client.Update, error] {
		return c.Watch(ctx, client.Session(m.sessions[n].id), option)
	})
	return w
}

// watchEverything opens watches of all sessions, and waits until they have begun.
func watchEverything(t *testing.T, target string, n int) *rollingWatches {
	t.Helper()
	w := &rollingWatches{t: t, what: "watches of all sessions", all: true}
	w.open(target, n, 1, func(ctx context.Context, c *client.Client, _ int, option client.WatchOption) iter.Seq2[client.Update, error] {
		return c.WatchAll(ctx, option, client.Bookmarks())
	})
	return w
}

func (w *rollingWatches) open(target string, n, perClient int, watch func(context.Context, *client.Client, int, client.WatchOption) iter.Seq2[client.Update, error]) {
	w.t.Helper()
	ctx, end := context.WithCancel(w.t.Context())
	w.end = end
	w.t.Cleanup(w.close)
	for i := range n {
		if i%perClient == 0 {
			dialed, err := client.Dial(target, client.WithPlaintext())
			if err != nil {
				w.t.Fatal(err)
			}
			w.clients = append(w.clients, dialed)
		}
		one := &rollingWatch{seen: map[string]int32{}, began: make(chan struct{})}
		w.watches = append(w.watches, one)
		updates := watch(ctx, w.clients[len(w.clients)-1], i, client.OnInterruption(one.interrupted))
		w.ends.Go(func() {
			if err := one.follow(updates, w.all); ctx.Err() == nil {
				w.t.Errorf("one of the %s: %v", w.what, err)
			}
		})
	}
	for _, one := range w.watches {
		select {
		case <-one.began:
		case <-time.After(rig.Soon):
			w.t.Fatalf("not all of %d %s begin", n, w.what)
		}
	}
}

// close ends them.
func (w *rollingWatches) close() {
	w.end()
	w.ends.Wait()
	for _, c := range w.clients {
		_ = c.Close()
	}
}

// finish waits until all watches have seen everything. Each must have lost its replica once.
func (w *rollingWatches) finish(m *steadyWebhooks) {
	w.t.Helper()
	repeats, resumed, drained := 0, 0, 0
	for i, one := range w.watches {
		sessions := m.sessions
		if !w.all {
			sessions = m.sessions[i : i+1]
		}
		rig.Await(w.t, w.what+" see the last revision", func() bool { return one.hasSeen(sessions) })
		if one.resumed == 0 {
			w.t.Errorf("number %d of the %s has not lost its stream: it has shown nothing", i, w.what)
		}
		repeats, resumed, drained = repeats+one.repeats, resumed+one.resumed, drained+one.drained
	}
	w.close()
	w.t.Logf("%d %s: resumed %d times, %d of them because the server stops; %d repeats", len(w.watches), w.what, resumed, drained, repeats)
}

func (one *rollingWatch) hasSeen(sessions []*rollingSession) bool {
	one.mu.Lock()
	defer one.mu.Unlock()
	for _, s := range sessions {
		if one.seen[s.id] != s.kept.Load() {
			return false
		}
	}
	return true
}

func (one *rollingWatch) interrupted(err error, _ time.Duration) {
	one.mu.Lock()
	defer one.mu.Unlock()
	one.resumed++
	var failure *client.Error
	if errors.As(err, &failure) && failure.Reason == verificationv1.ErrorReason_ERROR_REASON_DRAINING {
		one.drained++
	}
}

// follow notes each update, until the watch ends.
func (one *rollingWatch) follow(updates iter.Seq2[client.Update, error], mayRepeat bool) error {
	begun := sync.OnceFunc(func() { close(one.began) })
	for update, err := range updates {
		if err != nil {
			return err
		}
		if update.Reset {
			return errors.New("it starts again: changes are lost")
		}
		if err := one.see(update.Verification, mayRepeat); err != nil {
			return err
		}
		begun()
	}
	return errors.New("it ended without an error")
}

// see says whether a session's revisions come one after the other.
func (one *rollingWatch) see(v *verificationv1.Verification, mayRepeat bool) error {
	if v == nil {
		return nil
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	id, revision, last := v.GetSessionId(), v.GetRevision(), one.seen[v.GetSessionId()]
	switch {
	case revision == last+1:
		one.seen[id] = revision
	case revision <= last && mayRepeat:
		one.repeats++
	default:
		return fmt.Errorf("%s: revision %d after %d", id, revision, last)
	}
	return nil
}

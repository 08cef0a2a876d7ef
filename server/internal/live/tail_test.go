package live

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
)

// Whatever was kept and lost, exactly the sessions of the lost entries are reported, and whether there
// may be more.
func TestG7_ALossIsReported(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(0, 3*keptEntries).Draw(t, "entries")
		kept := rapid.IntRange(0, total).Draw(t, "kept")
		trimmed := rapid.IntRange(0, kept).Draw(t, "trimmed")
		sessions := rapid.IntRange(1, 50).Draw(t, "sessions")
		r := new(tail)
		for seq := 1; seq <= total; seq++ {
			r.add(store.Entry{SessionID: "vs_" + strconv.Itoa(seq%sessions), Position: store.Position{Seq: uint64(seq)}})
		}
		oldest := max(1, total-len(r.entries)+1)
		got, more, err := r.lost(func(p store.Position) error {
			switch {
			case p.Seq <= uint64(trimmed):
				return store.ErrTrimmed
			case p.Seq <= uint64(kept):
				return nil
			default:
				return store.ErrRewound
			}
		})
		want := map[string]bool{}
		for seq := max(kept+1, oldest); seq <= total; seq++ {
			want["vs_"+strconv.Itoa(seq%sessions)] = true
		}
		if err != nil || len(got) != len(want) || slices.ContainsFunc(got, func(id string) bool { return !want[id] }) {
			t.Fatalf("lost %v, %v; want %v", got, err, want)
		}
		if wantMore := kept < oldest || kept == trimmed; more != wantMore {
			t.Fatalf("more = %v, want %v (kept %d, trimmed %d, the entries are kept from %d)", more, wantMore, kept, trimmed, oldest)
		}
		if total >= keptEntries && len(r.entries) < keptEntries {
			t.Fatalf("%d entries are kept of %d", len(r.entries), total)
		}
	})
}

func TestAnOutageOfTheStoreIsNotALoss(t *testing.T) {
	r := &tail{entries: make([]store.Entry, 3)}
	if got, _, err := r.lost(func(store.Position) error { return store.ErrUnavailable }); !errors.Is(err, store.ErrUnavailable) || got != nil {
		t.Fatalf("lost %v, %v", got, err)
	}
}

// The store loses everything while the follower cannot read: it keeps its positions.
func TestG7_ALossDuringAnOutageIsReported(t *testing.T) {
	server := redistest.Start(t)
	s, h := openRedis(t, server), hub.New()
	session := watch(t, h, hub.Session("vs_1"))
	reported := make(chan []string, 16)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		newFollowing(s, h, &fakeCache{}, func(lost []string, _ bool) { reported <- lost }, slog.New(slog.DiscardHandler)).run(ctx)
	}()
	defer func() { cancel(); <-done }()
	session.wokenWithin(10 * time.Second) // it has begun
	commitEvent(t, s, "vs_1", "evt_1", 1)
	session.wokenWithin(10 * time.Second)

	server.Stop()
	server.Start() // empty: nothing was kept

	deadline := time.After(4 * checkEvery)
	for {
		select {
		case lost := <-reported:
			if slices.Contains(lost, "vs_1") {
				return
			}
		case <-deadline:
			t.Fatal("the loss of vs_1 was not reported")
		}
	}
}

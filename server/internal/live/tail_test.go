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

// TestATailHoldsTheNewestEntries: from each position in it, exactly the entries that follow, whatever was added and reset.
func TestATailHoldsTheNewestEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			r        tail
			head     store.Position
			nonces   uint64
			since    []store.Entry // the entries since the last reset
			arrivals = make(map[uint64]uint64)
		)
		position := func(seq uint64) store.Position {
			nonces++
			return store.Position{Epoch: 1, Seq: seq, Nonce: nonces}
		}
		for range rapid.IntRange(1, 4).Draw(t, "resets") {
			for range rapid.IntRange(0, 2*keptEntries+keptEntries/2).Draw(t, "entries") {
				entry := store.Entry{Position: position(head.Seq + uint64(len(since)) + 1)}
				r.add(entry)
				since = append(since, entry)
				arrivals[entry.Position.Nonce] = r.arrivals.Load()
			}
			held := min(len(since), len(r.entries))
			if want := min(len(since), keptEntries); held < want {
				t.Fatalf("%d entries are held, want at least %d", held, want)
			}
			for range 20 {
				n := rapid.IntRange(0, len(since)).Draw(t, "position")
				after, limit := head, rapid.IntRange(1, 100).Draw(t, "limit")
				if n > 0 {
					after = since[n-1].Position
				}
				got, ok := r.after(after, limit)
				if want := n >= len(since)-held; ok != want {
					t.Fatalf("a position %d before the end: ok %v, want %v", len(since)-n, ok, want)
				}
				if want := since[n:min(n+limit, len(since))]; ok && !slices.Equal(got, want) {
					t.Fatalf("got %d entries after %v, want %d", len(got), after, len(want))
				}
				arrival, ok := r.arrival(after)
				if want := n > len(since)-held; ok != want || ok && arrival != arrivals[after.Nonce] {
					t.Fatalf("the entry at %v arrived at %d, %v; want %d, %v", after, arrival, ok, arrivals[after.Nonce], want)
				}
				after.Nonce = 0
				if _, ok := r.after(after, limit); ok && after.Seq > 0 {
					t.Fatalf("a position with another nonce, %v, is in the tail", after)
				}
			}
			head, since = position(uint64(rapid.IntRange(0, 5000).Draw(t, "head"))), nil
			r.reset(head)
		}
		if got := r.arrivals.Load(); got != uint64(len(arrivals)) {
			t.Fatalf("%d entries arrived, want %d: an arrival came again", got, len(arrivals))
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

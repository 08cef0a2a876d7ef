package rpc

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// longFeed has entries in partition 0, each of a session of its own. It notes which reads of them are in the background.
type longFeed struct {
	live.Sessions
	entries    int
	background *[]bool // of the record of each entry
}

func (f longFeed) ReadFeed(_ context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	var entries []store.Entry
	for seq := after.Seq + 1; partition == 0 && seq <= uint64(f.entries) && len(entries) < limit; seq++ {
		entries = append(entries, store.Entry{Position: store.Position{Epoch: 1, Seq: seq, Nonce: seq}, SessionID: fmt.Sprintf("vs_%d", seq), Revision: 1})
	}
	return entries, nil
}

func (f longFeed) SessionAt(ctx context.Context, _ store.Entry) (verification.Session, error) {
	*f.background = append(*f.background, live.IsBackground(ctx))
	return verification.Session{}, store.ErrNotFound
}

// TestG15_AWatchThatCatchesUpReadsInTheBackground: a watch can pass over a long feed, and would take the slots of watches that a
// change has woken. Its last page is what a change brought.
func TestG15_AWatchThatCatchesUpReadsInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		var background []bool
		w.service.watcher.sessions = longFeed{w.service.watcher.sessions, 2*feedPage + 1, &background}
		w.start(allSessions())
		w.stop()
		if len(background) != 2*feedPage+1 {
			t.Fatalf("%d records were read, want %d", len(background), 2*feedPage+1)
		}
		for n, got := range background {
			if want := n < 2*feedPage; got != want {
				t.Fatalf("the record of entry %d was read in the background: %t, want %t", n+1, got, want)
			}
		}
	})
}

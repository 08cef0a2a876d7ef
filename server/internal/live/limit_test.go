package live

import (
	"context"
	"errors"
	"testing"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// TestBackgroundReadsLeaveSlotsToOtherReads.
func TestBackgroundReadsLeaveSlotsToOtherReads(t *testing.T) {
	const slots = 8
	limited := Limit(fakeSessions{}, slots)
	background, cancel := context.WithCancel(Background(t.Context()))
	var releases []func()
	acquire := func(ctx context.Context, n int) {
		t.Helper()
		for range n {
			release, err := limited.acquire(ctx)
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
	}
	acquire(background, slots/4)
	acquire(t.Context(), slots-slots/4)
	cancel()
	if _, err := limited.acquire(background); err != context.Canceled {
		t.Errorf("a background read beyond the quarter: got %v, want %v", err, context.Canceled)
	}
	for _, release := range releases {
		release()
	}
	if got := len(limited.slots); got != 0 {
		t.Errorf("got %d slots taken after all were released, want 0", got)
	}
	if got := len(limited.background); got != 0 {
		t.Errorf("got %d background slots taken after all were released, want 0", got)
	}
}

// TestAWaitForASlotEndsWithItsContext: a caller that has gone must not stay in the queue.
func TestAWaitForASlotEndsWithItsContext(t *testing.T) {
	full := Limit(fakeSessions{}, 0) // no slot is ever released
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, get := full.Get(ctx, "vs_1")
	_, at := full.SessionAt(ctx, store.Entry{SessionID: "vs_2"})
	_, session := full.Session(ctx, "vs_2", 1)
	_, newest := full.Newest(ctx, "person")
	_, head := full.Head(ctx, 0)
	_, feed := full.ReadFeed(ctx, 0, store.Position{}, 1)
	for call, err := range map[string]error{"Get": get, "SessionAt": at, "Session": session, "Newest": newest, "Head": head, "ReadFeed": feed} {
		if err != context.Canceled {
			t.Errorf("%s: got %v, want %v", call, err, context.Canceled)
		}
	}
}

// fakeSessions has vs_1 at revision 3 in its cache. Its store must not be read.
type fakeSessions struct{ store.Store }

func (fakeSessions) Session(context.Context, string, int32) (verification.Session, error) {
	return verification.Session{}, errors.New("the store was read")
}

func (fakeSessions) Peek(id string, minRevision int32) *verification.Session {
	if id != "vs_1" || minRevision > 3 {
		return nil
	}
	return &verification.Session{ID: id, Revision: 3}
}

func (fakeSessions) SessionAt(context.Context, store.Entry) (verification.Session, error) {
	return verification.Session{}, errors.New("the store was read")
}

func (f fakeSessions) PeekAt(entry store.Entry) *verification.Session {
	return f.Peek(entry.SessionID, entry.Revision)
}

func (fakeSessions) Tail(int, store.Position, int) ([]store.Entry, bool) { return nil, false }

// TestACachedSessionNeedsNoSlot: only a read for a newer revision waits for one.
func TestACachedSessionNeedsNoSlot(t *testing.T) {
	full := Limit(fakeSessions{}, 0)
	if session, err := full.Session(t.Context(), "vs_1", 3); err != nil || session.Revision != 3 {
		t.Errorf("got %+v, %v", session, err)
	}
	if session, err := full.SessionAt(t.Context(), store.Entry{SessionID: "vs_1", Revision: 3}); err != nil || session.Revision != 3 {
		t.Errorf("of an entry: got %+v, %v", session, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := full.Session(ctx, "vs_1", 4); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

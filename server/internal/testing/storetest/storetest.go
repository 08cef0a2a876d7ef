package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// FeedMaxLen is the number of entries that each partition of the feed under test must keep, give or take 100. The suite writes
// more of them, so that the oldest are trimmed.
const FeedMaxLen = 200

// FeedMaxAge is the age up to which the feed under test must keep an entry, by the clock that Run passes to open.
const FeedMaxAge = 168 * time.Hour

// timeout bounds each call, so that a store that hangs fails its test.
const timeout = 30 * time.Second

// t0 is the creation time of the suite's sessions, in Unix seconds.
const t0 = 1_790_000_000

// Run runs the suite. It calls open once for each test. open returns an empty store with Policy, whose feed keeps FeedMaxLen
// entries for FeedMaxAge by the clock. It can clean up with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T, clock func() time.Time) store.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"UnknownSession", unknownSession},
		{"CreateAndModify", createAndModify},
		{"NoWrite", noWrite},
		{"FuncErrorPassesThrough", funcErrorPassesThrough},
		{"ForeignIDIsRefused", foreignID},
		{"ConcurrentWriters", concurrentWriters},
		{"ConflictAfterMaxTries", conflictAfterMaxTries},
		{"EndedContext", endedContext},
		{"TombstoneLeavesNoText", tombstoneLeavesNoText},

		{"ReferenceNewest", referenceNewest},
		{"ReferenceTies", referenceTies},
		{"ReferenceChanges", referenceChanges},
		{"ReferenceOfTombstone", referenceOfTombstone},
		{"ReferencePointer", referencePointer},
		{"ReferenceUnindexed", referenceUnindexed},

		{"FeedOnePerRevision", feedOnePerRevision},
		{"FeedGaplessUnderConcurrency", feedGapless},
		{"FeedLimits", feedLimits},
		{"FeedBookmark", feedBookmark},
		{"FeedTrimmed", feedTrimmed},
		{"G6_FeedTrimmedByLength", feedTrimmedByLength},
		{"FeedRewound", feedRewound},
		{"FeedArguments", feedArguments},
		{"FollowWakes", followWakes},
		{"FollowBacklog", followBacklog},
		{"FollowEnds", followEnds},
		{"FollowedSaysUntilWhen", followedSaysUntilWhen},

		{"DueFollowsTheRecord", dueFollowsTheRecord},
		{"DueInOrder", dueInOrder},
		{"AbsentSessionsAreApart", absentSessionsAreApart},
		{"DueUnderConcurrency", dueUnderConcurrency},
		{"AccountsAreKnown", accountsAreKnown},
		{"CursorNeverFalls", cursorNeverFalls},
		{"LeaseHasOneHolder", leaseHasOneHolder},
		{"MarksAreKept", marksAreKept},

		{"ConsumersComeAndGo", consumersComeAndGo},
		{"ConsumersAreBounded", consumersAreBounded},
		{"ConsumersAreShared", consumersAreShared},
		{"ConsumerInUseIsKept", consumerInUseIsKept},
		{"ConsumerLeaseHasOneStream", consumerLeaseHasOneStream},
		{"ConsumerLeaseEnds", consumerLeaseEnds},
		{"ConsumerMovesByCompare", consumerMovesByCompare},
		{"ConsumerMovesUnderConcurrency", consumerMovesUnderConcurrency},
		{"BehindCounts", behindCounts},
		{"BehindTrimmedAndRewound", behindTrimmedAndRewound},

		{"ListsFollowTheRecord", listsFollowTheRecord},
		{"ListsInOrder", listsInOrder},
		{"ListsByReference", listsByReference},
		{"ListsUnderConcurrency", listsUnderConcurrency},
		{"RepairsOfRightLists", repairsOfRightLists},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t, time.Now)) })
	}
	t.Run("G6_FeedAfterASilence", func(t *testing.T) {
		var now atomic.Int64
		now.Store(t0)
		feedAfterASilence(t, open(t, func() time.Time { return time.Unix(now.Load(), 0) }), &now)
	})
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	return ctx
}

// event returns the n-th event of a session. Each event has a second of its own, and odd ones are failures.
func event(id string, n int, change ...func(*verification.Event)) verification.Event {
	e := verification.Event{
		ID: fmt.Sprintf("evt_%s_%d", id, n), Type: verification.EventProcessing, Source: verification.SourceWebhook,
		Second: t0 + int64(n), RecordTime: (t0+int64(n))*1000 + 250,
		Object: verification.Object{ID: id, Type: "document", Status: verification.StatusProcessing, Created: t0},
	}
	if n%2 == 1 {
		e.Type = verification.EventRequiresInput
		e.Object.Status = verification.StatusRequiresInput
		e.Object.Error = verification.Error{Code: "document_expired", Reason: "The document has expired."}
		e.Object.Report = fmt.Sprintf("vr_%s_%d", id, n)
	}
	for _, f := range change {
		f(&e)
	}
	return e
}

func withReference(reference string) func(*verification.Event) {
	return func(e *verification.Event) { e.Object.Reference = reference }
}

func createdAt(second int64) func(*verification.Event) {
	return func(e *verification.Event) { e.Object.Created = second }
}

func redacted(e *verification.Event) {
	e.Type, e.Object.Redaction = verification.EventRedacted, verification.RedactionRedacted
}

// applying returns the update that applies an event.
func applying(e verification.Event) store.UpdateFunc {
	return func(current verification.Session) (verification.Session, bool, error) {
		next, outcome := verification.Transition(current, e)
		return next, outcome.Write, nil
	}
}

// apply applies an event. It tries again if other writers were faster.
func apply(t *testing.T, s store.Store, e verification.Event) verification.Session {
	t.Helper()
	ctx := testContext(t)
	for {
		session, err := s.Update(ctx, e.Object.ID, applying(e))
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			t.Errorf("Update(%s): %v", e.ID, err)
		}
		return session
	}
}

func get(t *testing.T, s store.Store, id string) verification.Session {
	t.Helper()
	session, err := s.Get(testContext(t), id)
	if err != nil {
		t.Fatalf("Get(%s): %v", id, err)
	}
	return session
}

func head(t *testing.T, s store.Store, partition int) store.Position {
	t.Helper()
	position, err := s.Head(testContext(t), partition)
	if err != nil {
		t.Fatalf("Head(%d): %v", partition, err)
	}
	return position
}

func readFeed(t *testing.T, s store.Store, partition int, after store.Position, limit int) []store.Entry {
	t.Helper()
	entries, err := s.ReadFeed(testContext(t), partition, after, limit)
	if err != nil {
		t.Fatalf("ReadFeed(%d, %+v): %v", partition, after, err)
	}
	return entries
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v; want %v", what, got, want)
	}
}

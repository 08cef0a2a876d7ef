package redisstore

import (
	"fmt"
	"slices"
	"testing"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// maxSessionBytes is what a life of five events may take in Redis.
const maxSessionBytes = 700

// lifeOfFive returns the events of a person that fails once and is verified after that. The ids are as long as
// Stripe's.
func lifeOfFive() []verification.Event {
	const second = 1_790_000_000
	object := verification.Object{
		ID: "vs_1MgnjdLkdIwHu7ixRNuiPmx8", Livemode: true, Type: "document", Created: second,
		Status: verification.StatusRequiresInput, Reference: "4f9c1d2e-8a3b-4c5d-9e6f-7a8b9c0d1e2f",
	}
	failed := object
	failed.Error = verification.Error{Code: "document_unverified_other", Reason: "The document could not be verified, please try another one."}
	failed.Report = "vr_1MgnkZLkdIwHu7ixwjKV4tQy"
	processing := object
	processing.Status = verification.StatusProcessing
	verified := object
	verified.Status, verified.Report = verification.StatusVerified, "vr_1MgnmXLkdIwHu7ixq8RZs2Ab"
	event := func(id, kind string, after int64, object verification.Object) verification.Event {
		return verification.Event{
			ID: id, Type: kind, Source: verification.SourceWebhook,
			Second: second + after, RecordTime: (second+after)*1000 + 1312, Object: object,
		}
	}
	return []verification.Event{
		event("evt_1MgnjdLkdIwHu7ixA1b2C3d4", verification.EventCreated, 0, object),
		event("evt_1MgnkALkdIwHu7ixE5f6G7h8", verification.EventProcessing, 95, processing),
		event("evt_1MgnkZLkdIwHu7ixI9j0K1l2", verification.EventRequiresInput, 110, failed),
		event("evt_1MgnlBLkdIwHu7ixM3n4O5p6", verification.EventProcessing, 320, processing),
		event("evt_1MgnmXLkdIwHu7ixQ7r8S9t0", verification.EventVerified, 341, verified),
	}
}

func fiveEvents() verification.Session {
	var session verification.Session
	for _, event := range lifeOfFive() {
		session, _ = verification.Transition(session, event)
	}
	return session
}

// keep commits a copy of a record with another id.
func keep(t testing.TB, s *Store, n int, session verification.Session) {
	t.Helper()
	session.ID = fmt.Sprintf("vs_1MgnjdLkdIwHu7ix%08d", n)
	session.UpdateTime += int64(n)
	_, err := s.Update(testContext(t), session.ID, func(verification.Session) (verification.Session, bool, error) {
		return session, true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestMemoryPerSession counts all memory of a settled session: the record, the index entry of the reference, and its
// share of the lists, which is greatest while they are not full.
func TestMemoryPerSession(t *testing.T) {
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	raw, ctx := rawClient(t, server.Addr), testContext(t)
	for _, event := range lifeOfFive() {
		apply(t, s, event)
	}
	want := fiveEvents()
	record := raw.MemoryUsage(ctx, s.keys.record(want.ID)).Val()
	index := raw.MemoryUsage(ctx, s.keys.reference(want.Reference)).Val()
	body := raw.StrLen(ctx, s.keys.record(want.ID)).Val()
	if record == 0 || index == 0 {
		t.Fatal("nothing was measured")
	}
	sessions := 0
	for _, count := range []int{1000, 2000, 4000} {
		for ; sessions < count; sessions++ {
			session := want
			session.Reference = ""
			keep(t, s, sessions, session)
		}
		var lists, listed int64
		for _, key := range raw.Keys(ctx, "*:l:*").Val() {
			lists += raw.MemoryUsage(ctx, key, 0).Val()
			listed += raw.ZCard(ctx, key).Val()
		}
		each := record + index + (lists+int64(count)-1)/int64(count)
		t.Logf("of %d sessions each takes %d bytes: record %d (value %d), index entry %d, lists %d for %d listed", count, each, record, body, index, lists, listed)
		if each > maxSessionBytes || listed == 0 || listed > partitions*maxSettled {
			t.Errorf("of %d sessions each takes %d bytes and %d are listed; want at most %d and %d", count, each, listed, maxSessionBytes, partitions*maxSettled)
		}
	}
}

// TestListsOfTheSettledKeepTheNewest: this holds if old sessions come late too.
func TestListsOfTheSettledKeepTheNewest(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s, raw, ctx := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr), testContext(t)
		ids := idsIn(s, 3, maxSettled+30)
		for n, id := range ids {
			apply(t, s, event(id, 1000-n, passed))
		}
		key := s.keys.list(3, verification.ListVerified)
		want := slices.Clone(ids[:maxSettled])
		slices.Reverse(want) // the oldest first
		if got := raw.ZRange(ctx, key, 0, -1).Val(); !slices.Equal(got, want) {
			t.Errorf("listed are %v; want %v", got, want)
		}
		if found := repair(t, s); found != (store.ListRepair{Sessions: len(ids)}) {
			t.Errorf("a repair finds %+v; want nothing", found)
		}
		apply(t, s, event(ids[len(ids)-1], 2000, passed))
		if got := raw.ZRange(ctx, key, 0, -1).Val(); len(got) != maxSettled || got[maxSettled-1] != ids[len(ids)-1] || got[0] != ids[maxSettled-2] {
			t.Errorf("after one more, listed are %v", got)
		}
	})
}

// idsIn returns ids of sessions in one partition.
func idsIn(s *Store, partition, n int) (ids []string) {
	for i := 0; len(ids) < n; i++ {
		if id := fmt.Sprintf("vs_%d", i); s.Partition(id) == partition {
			ids = append(ids, id)
		}
	}
	return ids
}

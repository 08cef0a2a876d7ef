package redisstore

import (
	"testing"

	"example.com/verification-status/server/internal/store/redistest"
	"example.com/verification-status/server/internal/verification"
)

// maxSessionBytes is what a life of five events may take in Redis.
const maxSessionBytes = 700

// lifeOfFive are the events of a person who fails once and is verified then, with ids as long as
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

func TestMemoryPerSession(t *testing.T) {
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	for _, event := range lifeOfFive() {
		apply(t, s, event)
	}
	want := fiveEvents()
	raw := rawClient(t, server.Addr)
	ctx := testContext(t)
	record := raw.MemoryUsage(ctx, s.keys.record(want.ID)).Val()
	index := raw.MemoryUsage(ctx, s.keys.reference(want.Reference)).Val()
	body := raw.StrLen(ctx, s.keys.record(want.ID)).Val()
	t.Logf("%d bytes: record %d (value %d), index entry %d", record+index, record, body, index)
	if record == 0 || index == 0 || record+index > maxSessionBytes {
		t.Errorf("a life of five events takes %d + %d bytes; want at most %d", record, index, maxSessionBytes)
	}
}

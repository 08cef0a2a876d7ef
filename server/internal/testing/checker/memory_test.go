package checker

import (
	"fmt"
	"runtime"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// record tells of a life of six revisions for each session, to two watches of all sessions, a watch of
// its own and a getter: 30 answers.
func record(h *history, sessions int) {
	all := []*stream{h.watchAll(), h.watchAll()}
	for n := range sessions {
		id := fmt.Sprintf("vs_%08d", n)
		own := h.watch(&verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_SessionId{SessionId: id}})
		for revision := int32(1); revision <= 6; revision++ {
			v := func() *verificationv1.Verification {
				return at(revision, about(id), failedWith(fmt.Sprintf("vr_%d_%d", n, revision)), counting(revision, 0))
			}
			for _, w := range append(all, own) {
				w.Response(&verificationv1.WatchStatusResponse{Verification: v(), ResumeToken: fmt.Sprint("token ", n, revision)})
			}
			h.getsOf(v())
			h.getsOf(v())
		}
		own.Ended(errCanceled)
	}
}

// TestMemory: 20,000 sessions with 600,000 answers must fit beside everything else that a long run
// needs: 10 KiB a session are 200 MiB.
func TestMemory(t *testing.T) {
	const sessions = 1000
	h := newHistory()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	record(h, sessions)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / sessions
	t.Logf("%d bytes a session of 30 answers", each)
	if each > 10<<10 {
		t.Errorf("a session takes %d bytes", each)
	}
	if report := h.Check(Options{}); len(report) > 0 {
		t.Error(report)
	}
}

// BenchmarkCheck is the check of a long run.
func BenchmarkCheck(b *testing.B) {
	h := newHistory()
	record(h, 20_000)
	for n := range 100 {
		h.loses(Loss{Reason: fmt.Sprint(n)})
	}
	for b.Loop() {
		if report := h.Check(Options{}); len(report) > 0 {
			b.Fatal(report)
		}
	}
}

// BenchmarkResponse is what recording costs a client.
func BenchmarkResponse(b *testing.B) {
	h := newHistory()
	w := h.watchAll()
	response := &verificationv1.WatchStatusResponse{Verification: at(1), ResumeToken: "token"}
	for b.Loop() {
		w.Response(response)
	}
}

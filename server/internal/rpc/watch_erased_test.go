package rpc

import (
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// lifeToRedaction are the states of a session that is verified and then redacted.
func lifeToRedaction() []verification.Object {
	return []verification.Object{
		object("vs_1", "requires_input"), object("vs_1", "processing"), object("vs_1", "verified"),
		object("vs_1", "verified", erased),
	}
}

// TestG7_ATokenOfBeforeAFlushIsExpiredAtATombstone: the same events make the same revisions again, and a
// redaction erases them. A token of before the loss still differs from one of before the redaction.
func TestG7_ATokenOfBeforeAFlushIsExpiredAtATombstone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := newBackend(t)
	b.addr = server.Addr
	r := b.replica(t)
	life := lifeToRedaction()
	var lost []string // by revision
	for n, o := range life {
		r.apply(eventOf(n+1, int64(n+1), o))
		w := r.watch(bySession("vs_1", 0))
		w.wantNext("vs_1", int32(n+1), o.Status)
		w.stop()
		lost = append(lost, w.token)
	}
	flushAll(t, server.Addr)
	eventually(t, "the loss is noticed", func() bool {
		_, err := r.GetStatus(t.Context(), statusByID("vs_1"))
		return err != nil
	})
	var kept []string
	for n, o := range life {
		r.apply(eventOf(n+1, int64(n+1), o))
		w := r.watch(bySession("vs_1", 0))
		w.wantNext("vs_1", int32(n+1), o.Status)
		w.stop()
		kept = append(kept, w.token)
	}
	for n, token := range lost {
		t.Logf("revision %d", n+1)
		wantExpiredToken(t, r.watch(resumed(bySession("vs_1", 0), token)).ended())
	}
	for _, token := range kept[:3] {
		r.watch(resumed(bySession("vs_1", 0), token)).wantNext("vs_1", 4, "verified")
	}
}

// TestG5_ATokenOfAVersionWithoutErasedFingerprintsContinues: a redaction by an older replica keeps none, and
// that must not refuse what was good.
func TestG5_ATokenOfAVersionWithoutErasedFingerprintsContinues(t *testing.T) {
	whole := life("vs_1", 5)
	tombstone := redacted(whole, verification.RedactionRedacted)
	for revision := int32(1); revision <= 5; revision++ {
		c := cursorAt(whole, revision)
		if err := c.check(tombstone); err != nil {
			t.Errorf("revision %d: %v", revision, err)
		}
		older := tombstone
		older.Erased = nil
		if err := c.check(older); err != nil {
			t.Errorf("revision %d, erased by an older version: %v", revision, err)
		}
		c.Fingerprint++
		if err := c.check(tombstone); err == nil {
			t.Errorf("revision %d of another making continues", revision)
		}
	}
}

// TestG7_ATokenAtAnArchivedSession: the last revision before continues, one that misses a change does not, and
// neither does one of another making, or of before another archiving.
func TestG7_ATokenAtAnArchivedSession(t *testing.T) {
	r := newBackend(t).replica(t)
	for n, o := range lifeToRedaction()[:3] {
		o.Reference = "person"
		r.apply(eventOf(n+1, int64(n+1), o))
	}
	was := r.record("vs_1")
	archived := r.archive("vs_1")
	token := func(c cursor) *verificationv1.WatchStatusRequest {
		return resumed(bySession("vs_1", 0), resumetoken.EncodeSession(resumetoken.Session(c)))
	}
	r.watch(token(cursorAt(was, 3))).wantNext("vs_1", 4, "verified")
	wantExpiredToken(t, r.watch(token(cursorAt(was, 2))).ended())
	for revision := int32(3); revision <= 4; revision++ {
		c := cursorAt(archived, revision)
		if c.Fingerprint++; c.check(archived) == nil {
			t.Errorf("revision %d of another making continues", revision)
		}
	}
	if c := (cursor{ID: "vs_1", Revision: 4}); c.check(archived) != nil {
		t.Error("a token that an older replica gave at the archived session is refused")
	}
}

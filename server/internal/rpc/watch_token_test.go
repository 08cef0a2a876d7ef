package rpc

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/testing/redistest"
)

func flushAll(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 16)
	if _, err := conn.Write([]byte("FLUSHALL\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(answer); err != nil || string(answer[:n]) != "+OK\r\n" {
		t.Fatalf("FLUSHALL: %q, %v", answer, err)
	}
}

func wantInvalidToken(t *testing.T, err error) {
	t.Helper()
	if d := wantError(t, err, codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID); d.field() != "resume_token" {
		t.Errorf("blames %q", d.field())
	}
}

func wantExpiredToken(t *testing.T, err error) {
	t.Helper()
	wantError(t, err, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED)
}

func TestG7_AForeignOrGarbledTokenIsRefused(t *testing.T) {
	r := newBackend(t).replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "processing", reference("person"))))
	r.apply(eventOf(1, 1, object("vs_2", "processing", reference("other"))))
	requests := map[string]*verificationv1.WatchStatusRequest{
		"session": bySession("vs_1", 0), "reference": byReference("person"), "all": allSessions(),
	}
	tokens := map[string]string{}
	for kind, request := range requests {
		w := r.watch(request)
		w.next()
		tokens[kind] = w.token
		w.stop()
	}
	for kind, request := range requests {
		for of, token := range tokens {
			w := r.watch(resumed(request, token))
			if of == kind {
				w.stop()
				continue
			}
			wantInvalidToken(t, w.ended())
		}
		good := tokens[kind]
		for n, garbled := range []string{
			"x", "AAAA", good + "A", good[:len(good)-1], good[1:], good + "=", good + "\n", strings.ToLower(good) + "z",
			flip(good, 3), flip(good, len(good)/2), flip(good, len(good)-2), "\x00", strings.Repeat("A", 2048),
		} {
			t.Logf("%s %d", kind, n)
			wantInvalidToken(t, r.watch(resumed(request, garbled)).ended())
		}
	}
	wantInvalidToken(t, r.watch(resumed(bySession("vs_2", 0), tokens["session"])).ended())
	wantInvalidToken(t, r.watch(resumed(byReference("other"), tokens["reference"])).ended())
	// Token first, then existence.
	wantInvalidToken(t, r.watch(resumed(bySession("vs_unknown", 0), "x")).ended())
}

// flip changes one character.
func flip(token string, at int) string {
	other := byte('A')
	if token[at] == other {
		other = 'B'
	}
	return token[:at] + string(other) + token[at+1:]
}

func TestG7_AForgedReferenceTokenShowsNothingOfAnotherSession(t *testing.T) {
	r := newBackend(t).replica(t)
	r.apply(eventOf(1, 1, object("vs_mine", "processing", reference("me"))))
	r.apply(eventOf(1, 1, object("vs_other", "verified", reference("other"))))
	r.apply(eventOf(1, 1, object("vs_bare", "verified")))
	// A forger can know everything but the fingerprint, and even that.
	for _, target := range []string{"vs_other", "vs_bare", "vs_unknown"} {
		for _, revision := range []int32{0, 1} {
			cursor := resumetoken.Session{ID: target, Revision: revision}
			if target != "vs_unknown" {
				cursor.Fingerprint, _ = r.record(target).Fingerprint(revision)
			}
			w := r.watch(resumed(byReference("me"), resumetoken.EncodeReference("me", cursor)))
			wantExpiredToken(t, w.ended()) // the same answer for all three: it does not even tell who exists
		}
	}
}

func TestG7_AfterAFlushEveryTokenIsExpired(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		server := redistest.Start(t)
		b := newBackend(t)
		b.addr = server.Addr
		r := b.replica(t)
		for n := int64(1); n <= 3; n++ {
			r.apply(eventOf(int(n), n, object("vs_1", "requires_input", failure("document_expired", int(n)), reference("person"))))
		}
		requests := []*verificationv1.WatchStatusRequest{bySession("vs_1", 0), byReference("person"), allSessions()}
		var open []*watched
		for _, request := range requests {
			w := r.watch(request)
			w.next()
			open = append(open, w)
		}
		flushAll(t, server.Addr)
		if again { // the same events come again: the same revisions, but not those that were sent
			for n := int64(1); n <= 3; n++ {
				r.apply(eventOf(int(n), n, object("vs_1", "requires_input", failure("document_expired", int(n)), reference("person"))))
			}
		}
		for n, w := range open {
			wantExpiredToken(t, w.ended()) // open streams notice it by themselves
			wantExpiredToken(t, r.watch(resumed(requests[n], w.token)).ended())
		}
	}
}

func TestG7_ATrimmedFeedIsNotSkippedSilently(t *testing.T) {
	b := newBackend(t)
	b.feed = 5
	server := redistest.Start(t)
	b.addr = server.Addr
	r := b.replica(t)
	w := r.watch(allSessions())
	w.next()
	w.stop()
	for n := int64(1); n <= 400; n++ {
		r.apply(eventOf(int(n), n, object("vs_1", "requires_input", failure("document_expired", int(n)))))
	}
	wantExpiredToken(t, r.watch(resumed(allSessions(), w.token)).ended())
	// And of the session: its history is bounded.
	first := resumetoken.Session{ID: "vs_1", Revision: 1, Fingerprint: 1}
	wantExpiredToken(t, r.watch(resumed(bySession("vs_1", 0), resumetoken.EncodeSession(first))).ended())
}

func TestG8_AfterAFlushMinRevisionIsReportedLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := newBackend(t)
	b.addr = server.Addr
	b.stripe = newFakeStripe(object("vs_1", "verified"))
	r := b.replica(t)
	for n := int64(1); n <= 3; n++ {
		r.apply(eventOf(int(n), n, object("vs_1", "requires_input", failure("document_expired", int(n)))))
	}
	flushAll(t, server.Addr)
	request := statusByID("vs_1")
	request.MinRevision = 3
	var err error
	eventually(t, "the loss is reported", func() bool { // a cached session can be shown until the loss is noticed
		_, err = r.GetStatus(t.Context(), request)
		return err != nil
	})
	wantError(t, err, codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST)
	// Without it Stripe's word is there again.
	if v := r.status("vs_1"); v.GetStatus() != verificationv1.Status_STATUS_VERIFIED || v.GetRevision() != 1 {
		t.Errorf("%v", v)
	}
}

func TestG8_ARedisThatHangsIsUnavailableWithinTheDeadline(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	b := newBackend(t)
	b.addr = server.Addr
	r := b.replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "processing")))
	server.Pause()
	defer server.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := r.GetStatus(ctx, statusByID("vs_1"))
	if d := wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE); d.retry == nil {
		t.Error("no RetryInfo")
	}
}

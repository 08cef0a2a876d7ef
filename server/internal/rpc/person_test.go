package rpc

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

func personRequest(ref string) *verificationv1.GetStatusRequest {
	request := statusByReference(ref)
	request.IncludePerson = true
	return request
}

// personOf returns the response to a request for a person. It must succeed.
func (r *replica) personOf(ref string) *verificationv1.GetStatusResponse {
	r.t.Helper()
	response, err := r.GetStatus(r.t.Context(), personRequest(ref))
	if err != nil {
		r.t.Fatalf("person %s: %v", ref, err)
	}
	if response.GetPerson() == nil {
		r.t.Fatalf("no person in %v", response)
	}
	return response
}

// wantPerson fails unless the person is as wanted. verified is the id of the verified session, or "".
func (r *replica) wantPerson(ref, answers, verified string, sessions, failed int32) {
	r.t.Helper()
	got := r.personOf(ref)
	type sum struct {
		Answers, Verified string
		Sessions, Failed  int32
	}
	want := sum{answers, verified, sessions, failed}
	person := got.GetPerson()
	if diff := cmp.Diff(want, sum{
		got.GetVerification().GetSessionId(), person.GetVerified().GetSessionId(), person.GetSessions(), person.GetFailedAttempts(),
	}); diff != "" {
		r.t.Errorf("-want +got:\n%s", diff)
	}
}

func mode(live bool) func(*verification.Object) {
	return func(o *verification.Object) { o.Livemode = live }
}

// TestAPersonThatWasVerifiedOnceIsFound also if the newest session is not verified.
func TestAPersonThatWasVerifiedOnceIsFound(t *testing.T) {
	r := newBackend(t).replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "requires_input", reference("p"), failure("document_expired", 1))))
	r.wantPerson("p", "vs_1", "", 1, 1)
	r.apply(eventOf(2, 9, object("vs_1", "verified", reference("p"))))
	r.wantPerson("p", "vs_1", "vs_1", 1, 1)
	r.apply(eventOf(1, 101, object("vs_2", "verified", reference("p"), created(100))))
	r.apply(eventOf(1, 201, object("vs_3", "requires_input", reference("p"), created(200), failure("document_expired", 1))))
	r.wantPerson("p", "vs_3", "vs_2", 3, 2)
	got := r.personOf("p").GetPerson().GetVerified()
	if diff := cmp.Diff(r.status("vs_2"), got, protocmp.Transform()); diff != "" {
		t.Errorf("verified -want +got:\n%s", diff)
	}
	// A reviewer at Stripe reverses the newest result.
	r.apply(eventOf(2, 301, object("vs_2", "requires_input", reference("p"), created(100), failure("document_unverified_other", 1))))
	r.wantPerson("p", "vs_3", "vs_1", 3, 3)
	// A redacted session has no reference any more.
	redacted := object("vs_1", "verified", func(o *verification.Object) { o.Redaction = verification.RedactionRedacted })
	e := eventOf(3, 401, redacted)
	e.Type = verification.EventRedacted
	r.apply(e)
	r.wantPerson("p", "vs_3", "", 2, 2)
	// Without include_person nothing is summed up.
	if response, err := r.GetStatus(t.Context(), statusByReference("p")); err != nil || response.GetPerson() != nil {
		t.Errorf("%v, %v", response, err)
	}
}

// TestAPersonIsOfOneAccountAndMode: those of the session that answers.
func TestAPersonIsOfOneAccountAndMode(t *testing.T) {
	r := newBackend(t).replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "verified", reference("p"))))
	r.apply(eventOf(1, 11, object("vs_2", "verified", reference("p"), created(10), ofAccount("acct_1"))))
	r.apply(eventOf(1, 21, object("vs_3", "verified", reference("p"), created(20), mode(true))))
	r.wantPerson("p", "vs_3", "vs_3", 1, 0)
	r.apply(eventOf(1, 31, object("vs_4", "requires_input", reference("p"), created(30), ofAccount("acct_1"))))
	r.wantPerson("p", "vs_4", "vs_2", 2, 0)
	r.apply(eventOf(1, 41, object("vs_5", "requires_input", reference("p"), created(40))))
	r.wantPerson("p", "vs_5", "vs_1", 2, 0)
	r.apply(eventOf(1, 51, object("vs_6", "processing", reference("p"), created(50), ofAccount("acct_2"))))
	r.wantPerson("p", "vs_6", "", 1, 0)
}

// TestFailuresOfAPersonAreCountedOnce: what a replacement inherited is not counted again, also if an older version noted no amounts.
func TestFailuresOfAPersonAreCountedOnce(t *testing.T) {
	_, stripe, r := retryBench(t)
	r.failAt(stripe, "vs_1", 1, 1, reference("p"))
	r.failAt(stripe, "vs_1", 2, 5, reference("p"))
	o := object("vs_1", "canceled", reference("p"))
	stripe.set(o)
	r.apply(eventOf(3, 9, o))
	heir := r.retry(replaceRequest("vs_1")).GetVerification()
	r.failAt(stripe, heir.GetSessionId(), 1, 1000, reference("p"), created(100))
	if failed := r.status(heir.GetSessionId()).GetRetry().GetFailedAttempts(); failed != 3 {
		t.Fatalf("the heir has %d failures, want 3", failed)
	}
	r.wantPerson("p", heir.GetSessionId(), "", 2, 3)
	r.failAt(stripe, "vs_1", 4, 7, reference("p")) // late: the heir does not learn of it
	r.wantPerson("p", heir.GetSessionId(), "", 2, 4)
	older := []verification.Session{
		{ID: "vs_b", Predecessor: "vs_a", State: verification.State{FailedAttempts: 3}},
		{ID: "vs_a", State: verification.State{FailedAttempts: 2}},
	}
	if got := failuresOf(older); got != 3 {
		t.Errorf("of an older version: %d, want 3", got)
	}
	if got := failuresOf(older[:1]); got != 3 {
		t.Errorf("without the predecessor: %d, want 3", got)
	}
}

// TestAPersonIsReadThrough if the reference is not known here, and an archived session answers although it has no reference.
func TestAPersonIsReadThrough(t *testing.T) {
	b := newBackend(t)
	stripe, r := b.retries(t)
	stripe.set(object("vs_1", "verified", reference("p")))
	r.wantPerson("p", "vs_1", "vs_1", 1, 0)
	if _, err := r.GetStatus(t.Context(), personRequest("nobody")); err == nil {
		t.Error("a person whom nobody knows")
	} else {
		wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	}
	_, one, _ := archivedPerson(t)
	one.wantPerson("person", "vs_1", "vs_1", 1, 0)
}

// TestAPersonIsForAReferenceAlone, and min_revision holds for the session that answers.
func TestAPersonIsForAReferenceAlone(t *testing.T) {
	r := newBackend(t).replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "verified", reference("p"))))
	byID := statusByID("vs_1")
	byID.IncludePerson = true
	_, err := r.GetStatus(t.Context(), byID)
	d := wantError(t, err, codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST)
	if d.field() != "include_person" || !strings.Contains(d.message, "client_reference_id") {
		t.Errorf("it blames %q: %s", d.field(), d.message)
	}
	request := personRequest("p")
	request.MinRevision, request.IncludeHistory = 1, true
	response, err := r.GetStatus(t.Context(), request)
	if err != nil || response.GetPerson().GetVerified().GetSessionId() != "vs_1" || len(response.GetHistory()) != 1 {
		t.Errorf("%v, %v", response, err)
	}
	request.MinRevision = 2
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if response, err := r.GetStatus(ctx, request); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("at a revision that never comes: %v, %v", response, err)
	}
}

// lateLive changes the store before each list is read.
type lateLive struct {
	Live
	before func()
}

func (l lateLive) List(ctx context.Context, query store.ListQuery) (store.ListPage, error) {
	l.before()
	return l.Live.List(ctx, query)
}

// TestAPersonIsAsOfTheSameTimeAsTheAnswer: the session changes between the two reads.
func TestAPersonIsAsOfTheSameTimeAsTheAnswer(t *testing.T) {
	b := newBackend(t)
	var r *replica
	r = b.replica(t, func(c *Config) {
		c.Live = lateLive{c.Live, func() { r.apply(eventOf(2, 5, object("vs_1", "verified", reference("p")))) }}
	})
	r.apply(eventOf(1, 1, object("vs_1", "processing", reference("p"))))
	request := personRequest("p")
	request.IncludeHistory = true
	response, err := r.GetStatus(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(response.GetPerson().GetVerified(), response.GetVerification(), protocmp.Transform()); diff != "" || len(response.GetHistory()) != 2 {
		t.Errorf("%d entries, the person's session and the answer differ: %s", len(response.GetHistory()), diff)
	}
}

var _ live.Sessions = lateLive{}

// TestThePriceOfAPerson in Redis: one read of the reference and one record for each of the newest 100 sessions. Sessions of another
// mode cost as much, up to the 1,000 that a reference leads to.
func TestThePriceOfAPerson(t *testing.T) {
	server := redistest.Start(t)
	b := newBackendAt(server.Addr, "")
	r := b.replica(t)
	add := func(from, to int, ref string, change ...func(*verification.Object)) {
		for n := from; n < to; n++ {
			status := "canceled"
			if n == 0 {
				status = "verified"
			}
			r.apply(eventOf(1, int64(n), object(fmt.Sprintf("vs_%s_%d", ref, n), status, append(change, reference(ref), created(int64(n)))...)))
		}
	}
	price := func(request *verificationv1.GetStatusRequest) (records, lists int) {
		t.Helper()
		server.MustAsk("config", "resetstat")
		if _, err := r.GetStatus(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		return calls(server, "get"), calls(server, "zrevrangebyscore") + calls(server, "zrange") + calls(server, "zrevrange")
	}
	baseRecords, baseLists := 0, 0
	for _, count := range []int{1, 3, 100, 130} {
		add(map[int]int{1: 0, 3: 1, 100: 3, 130: 100}[count], count, "p")
		if count == 1 {
			baseRecords, baseLists = price(statusByReference("p"))
		}
		records, lists := price(personRequest("p"))
		t.Logf("%d sessions: %d records, %d reads of the index", count, records, lists)
		if want := baseRecords + min(count, 100); records > want || records < min(count, 100) || lists > baseLists+2 {
			t.Errorf("%d sessions: %d records and %d reads of the index, want at most %d and %d", count, records, lists, want, baseLists+2)
		}
	}
	r.wantPerson("p", "vs_p_129", "", 100, 0) // the verified one is older than the newest 100
	add(0, 1, "q")
	add(1, 120, "q", mode(true))
	r.apply(eventOf(1, 200, object("vs_q", "requires_input", reference("q"), created(200))))
	r.wantPerson("q", "vs_q", "vs_q_0", 2, 0)
	add(0, 110, "s")
	add(110, 170, "s", mode(true))
	r.apply(eventOf(1, 200, object("vs_s", "requires_input", reference("s"), created(200))))
	r.wantPerson("s", "vs_s", "", 100, 0) // 40 of the first page, and of the second no more than that makes 100
}

func calls(server *redistest.Server, command string) (count int) {
	for _, line := range strings.Split(server.MustAsk("info", "commandstats"), "\r\n") {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			_, _ = fmt.Sscanf(rest, "%d,", &count)
		}
	}
	return count
}

package rpc

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// lists compares every list, in pages of several sizes.
func (p *pair) lists(when string) {
	p.t.Helper()
	requests := map[string]*listRequest{
		"limit reached": listDenial(verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED), "not retryable": listDenial(verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE),
		"in doubt": listInDoubt(), "person": listReference("person"), "erased": listReference("erased"), "nobody": listReference("nobody"),
		"stuck": listStuck(durationpb.New(0)), "stuck for long": listStuck(durationpb.New(time.Hour)), "stuck for ever": listStuck(durationpb.New(1 << 62)),
	}
	for wanted := range statusLists {
		requests[wanted.String()] = listStatus(wanted)
	}
	for name, request := range requests {
		for _, size := range []int32{1, 3, 200} {
			p.same(fmt.Sprintf("%s: list %s, %d at a time", when, name, size), p.pages(request, size))
		}
	}
}

func TestClienttestListsAsTheServerDoes(t *testing.T) {
	p := newPair(t)
	for n := range 210 {
		p.set(object(fmt.Sprintf("vs_%03d", n*7%210), "processing", reference("person"), created(int64(n%5))))
	}
	for _, request := range []*listRequest{listStatus(verificationv1.Status_STATUS_PROCESSING), listReference("person"), listStuck(durationpb.New(time.Second))} {
		for _, size := range []int32{0, 1, 50, 199, 200, 201, 1 << 30} {
			p.same(fmt.Sprintf("a page of %d of %v", size, request), p.list(changed(request, func(r *listRequest) { r.PageSize = size })))
		}
	}
	unresolved := object("vs_unresolved", "requires_input", failure("document_expired", 1))
	p.set(unresolved)
	p.stripe.change(func() { p.stripe.fail = verification.ErrStripeUnavailable })
	p.second-- // so that the order of this event and the one before is ambiguous
	p.set(object("vs_unresolved", "verified", report("vr_2")))
	p.fake.SetInDoubt("vs_unresolved", true)
	p.same("in doubt", p.pages(listInDoubt(), 1))
	p.set(object("vs_unresolved", "verified", report("vr_3")))
	p.fake.SetInDoubt("vs_unresolved", false)
	p.same("in doubt no longer", p.pages(listInDoubt(), 1))
}

func TestClienttestFindsReferencesAsTheServerDoes(t *testing.T) {
	p := newPair(t)
	p.set(object("vs_1", "requires_input", reference("person")))
	p.set(object("vs_2", "requires_input", reference("person")))
	p.set(object("vs_3", "requires_input", reference("person"), created(-5)))
	for step, o := range []verification.Object{
		object("vs_2", "processing"),                       // an event without a reference
		object("vs_2", "verified", reference("another")),   // it is another person's
		object("vs_1", "processing", reference("another")), // and this one, too
		object("vs_3", "canceled", reference("person")),    // the last of the first person
		object("vs_2", "verified", erasing(verification.RedactionProcessing)),
	} {
		p.set(o)
		for _, subject := range []string{"person", "another"} {
			p.same(fmt.Sprintf("step %d: status of %s", step, subject), p.get(statusByReference(subject)))
			p.same(fmt.Sprintf("step %d: watch %s", step, subject), p.watch(1, byReference(subject)))
			p.same(fmt.Sprintf("step %d: list %s", step, subject), p.pages(listReference(subject), 1))
		}
	}
}

func TestClienttestWatchesAsTheServerDoes(t *testing.T) {
	p := newPair(t)
	first := object("vs_1", "requires_input", reference("person"))
	p.set(first)
	p.set(object("vs_other", "verified", reference("another")))
	session, person, all := p.live(untilSettled(sessionWatch("vs_1"))), p.live(untilSettled(byReference("person"))), p.live(allSessions())
	settledAlready := p.live(untilSettled(sessionWatch("vs_other")))
	settledAlready("settled already", 2)
	session("snapshot", 1)
	person("snapshot by reference", 1)
	all("the bookmark", 1)
	first.Status = "processing"
	p.set(first)
	session("a change", 1)
	person("a change by reference", 1)
	all("a change of any", 1)
	newest := object("vs_2", "requires_input", reference("person"), created(50))
	p.set(newest)
	person("a newer session", 1)
	all("a newer session of any", 1)
	p.set(object("vs_0", "requires_input", reference("person"), created(20))) // older: nothing changes
	first.Status, first.Report = "verified", "vr_1"
	p.set(first)
	session("settled, and the end", 2)
	newest.Status = "canceled"
	p.set(newest)
	person("settled by reference, and the end", 2)
	all("the rest", 3)
	erased := object("vs_other", "verified", erasing(verification.RedactionRedacted))
	p.set(erased)
	all("erased", 1)
	p.same("resume", p.resume(sessionWatch("vs_1"), untilSettled(sessionWatch("vs_1")), 1))
	p.same("resume by reference", p.resume(byReference("person"), untilSettled(byReference("person")), 1))
	p.same("watch the erased by reference", p.watch(1, byReference("another")))
}

// A session that gets another reference is another person's from then on.
func TestClienttestLeavesAMovedSessionAsTheServerDoes(t *testing.T) {
	p := newPair(t)
	p.set(object("vs_0", "processing", reference("wrong"), created(-50)))
	p.set(object("vs_1", "requires_input", reference("wrong")))
	person, settled := p.live(byReference("wrong")), p.live(untilSettled(byReference("wrong")))
	tokens := map[verificationv1.VerificationServiceClient]string{}
	for _, c := range []verificationv1.VerificationServiceClient{p.server, p.wire} {
		response, err := p.open(c, byReference("wrong")).Recv()
		if err != nil {
			t.Fatal(err)
		}
		tokens[c] = response.GetResumeToken()
	}
	byToken := func(c verificationv1.VerificationServiceClient) answer {
		return p.watch(1, resumed(byReference("wrong"), tokens[c]))(c)
	}
	person("snapshot", 1)
	settled("snapshot until settled", 1)
	p.set(object("vs_1", "verified", reference("right")))
	person("the older one that still has the reference", 1)
	settled("the older one, which is not settled", 1)
	p.same("resume behind the session that moved", byToken)
	p.same("watch the reference that it has now", p.watch(1, byReference("right")))
	p.set(object("vs_1", "verified", reference("wrong"), report("vr_1")))
	person("the newer one, which has the reference again", 1)
	settled("the newer one, and the end", 2)
	p.same("resume behind the session that moved and came back", byToken)
	p.set(object("vs_0", "processing", reference("right"), created(-50)))
	p.set(object("vs_1", "verified", reference("right"), report("vr_1")))
	if got := p.same("no session has it any more", p.watch(1, byReference("wrong"))); got.Code != "NotFound" {
		t.Errorf("answered %s", got.Code)
	}
	person("the end", 1)
}

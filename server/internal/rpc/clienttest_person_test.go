package rpc

import (
	"fmt"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// TestClienttestSumsUpAPersonAsTheServerDoes over sessions, accounts and modes, replacements, redactions and late results.
func TestClienttestSumsUpAPersonAsTheServerDoes(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	sum := func(name string) {
		t.Helper()
		p.same(name, p.get(withPerson("person")))
	}
	sum("nobody")
	p.set(object("vs_1", "requires_input", failure("document_expired", 1), reference("person"), created(1)))
	sum("one failure")
	p.set(object("vs_1", "processing", reference("person"), created(1)))
	p.set(object("vs_1", "requires_input", failure("selfie_face_mismatch", 2), reference("person"), created(1)))
	sum("two failures")
	p.set(object("vs_1", "canceled", reference("person"), created(1)))
	sum("canceled")
	p.same("replace", p.retry(replaceRequest("vs_1")))
	p.set(object("vs_2", "verified", reference("person"), created(2)))
	p.set(object("vs_3", "requires_input", failure("document_expired", 1), reference("person"), created(3)))
	sum("verified in an older session")
	p.same("a retry does not change the sum", p.retry(retryRequest("vs_3")))
	sum("after a retry")
	p.set(object("vs_4", "verified", reference("person"), created(4), ofAccount("acct_1")))
	sum("of an account")
	p.set(object("vs_5", "requires_input", reference("person"), created(5), mode(true)))
	sum("live")
	p.set(object("vs_6", "requires_input", reference("person"), created(6)))
	sum("the platform's again")
	p.set(object("vs_2", "requires_input", failure("document_unverified_other", 7), reference("person"), created(2)))
	sum("verified no longer")
	p.set(object("vs_2", "requires_input", erasing(verification.RedactionRedacted), created(2)))
	sum("one is erased")
	p.set(object("vs_6", "requires_input", erasing(verification.RedactionProcessing), created(6)))
	sum("the newest is being erased")
	at := func(revision int32) func(*verificationv1.GetStatusRequest) {
		return func(r *verificationv1.GetStatusRequest) { r.MinRevision = revision }
	}
	for name, request := range map[string]*verificationv1.GetStatusRequest{
		"at a revision":          changed(withPerson("person"), at(1)),
		"at a revision to come":  changed(withPerson("person"), at(99)),
		"at a negative revision": changed(withPerson("person"), at(-1)),
		"nobody at a revision":   changed(withPerson("nobody"), at(1)),
		"without a reference":    withPerson(""),
		"by session":             {Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_1"}, IncludePerson: true},
		"by no session":          {Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "x"}, IncludePerson: true},
		"by a session not known": {Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_none"}, IncludePerson: true},
		"of nobody":              {IncludePerson: true},
		"with an account":        changed(withPerson("person"), func(r *verificationv1.GetStatusRequest) { r.Account = "acct_1" }),
	} {
		p.same(name, p.get(request))
	}
}

// TestClienttestSumsUpTheNewestSessionsAsTheServerDoes: at most a hundred.
func TestClienttestSumsUpTheNewestSessionsAsTheServerDoes(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.set(object("vs_0", "verified", reference("person"), created(1)))
	for n := range 100 {
		p.set(object(fmt.Sprintf("vs_n%d", n), "requires_input", failure("document_expired", n), reference("person"), created(int64(2+n/2))))
		if n == 98 {
			p.same("a hundred", p.get(withPerson("person")))
		}
	}
	p.same("one more", p.get(withPerson("person")))
}

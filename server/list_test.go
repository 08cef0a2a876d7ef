package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/store/redistest"
)

// listed is what a list has, in one page.
func listed(t testing.TB, client verificationv1.VerificationServiceClient, request *verificationv1.ListVerificationsRequest) (ids []string) {
	t.Helper()
	response, err := client.ListVerifications(within(t, soon), request)
	if err != nil {
		t.Fatalf("list %v: %v", request, err)
	}
	for _, v := range response.GetVerifications() {
		ids = append(ids, v.GetSessionId())
	}
	return ids
}

func denied(denial verificationv1.RetryDenial) *verificationv1.ListVerificationsRequest {
	return &verificationv1.ListVerificationsRequest{Filter: &verificationv1.ListVerificationsRequest_Denial{Denial: denial}}
}

// TestReviewQueue: support finds who is blocked and what else there is of a person. A limit that is
// lowered blocks people without an event of theirs: they are found all the same, without an API key
// too; and the reconcile command tells what it put right.
func TestReviewQueue(t *testing.T) {
	stripe, redis := startStripe(t), redistest.Start(t)
	first := serve(t, stripe.settings(redis.Addr))
	stripe.sendTo(first)
	client := dialed(t, first)
	limit, barred := denied(verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED), denied(verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE)
	person := &verificationv1.ListVerificationsRequest{Filter: &verificationv1.ListVerificationsRequest_ClientReferenceId{ClientReferenceId: "person-1"}}

	expired, young, erased := stripe.newSession("person-1"), stripe.newSession(""), stripe.newSession("person-1")
	other := stripe.newSession("person-1")
	stripe.submit(expired, "document_expired")
	stripe.submit(young, "under_supported_age")
	stripe.submit(erased, "under_supported_age")
	want := func(what string, request *verificationv1.ListVerificationsRequest, want ...string) {
		t.Helper()
		if got := listed(t, client, request); !slices.Equal(got, want) {
			t.Errorf("%s: %v; want %v", what, got, want)
		}
	}
	want("barred", barred, erased, young)
	want("at the limit", limit)
	want("person-1", person, other, erased, expired)
	stripe.do(stripe.Redact, erased)
	want("barred, after a redaction", barred, young)
	want("person-1, after a redaction", person, other, expired)
	first.signal(syscall.SIGTERM)
	first.exit(soon)

	strict := serve(t, settings(redis.Addr, "MAX_RETRIES=0"))
	client = dialed(t, strict)
	await(t, "the lists follow MAX_RETRIES", func() bool { return slices.Equal(listed(t, client, limit), []string{expired}) })
	strict.signal(syscall.SIGTERM)
	strict.exit(soon)

	command := launch(t, stripe.settings(redis.Addr), "reconcile")
	if code := command.exit(soon); code != 0 {
		t.Errorf("reconcile ends with %d", code)
	}
	if out := command.stdout.String(); !strings.Contains(out, "lists:    4 sessions checked; 0 entries added, 1 removed\n") {
		t.Errorf("reconcile says:\n%s", out)
	}
	client = dialed(t, serve(t, stripe.settings(redis.Addr)))
	want("at the limit of before", limit)
}

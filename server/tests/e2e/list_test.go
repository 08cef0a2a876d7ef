package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// listed returns the ids of a list, read in one page.
func listed(t testing.TB, client verificationv1.VerificationServiceClient, request *verificationv1.ListVerificationsRequest) (ids []string) {
	t.Helper()
	response, err := client.ListVerifications(rig.Within(t, rig.Soon), request)
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

// TestReviewQueue: support finds blocked sessions, and the other sessions of a person. A lowered limit blocks people
// without an event of theirs: they are found too, also without an API key. The reconcile command prints what it repaired.
func TestReviewQueue(t *testing.T) {
	stripe, redis := rig.StartFakeStripe(t), redistest.Start(t)
	first := rig.Serve(t, stripe.Settings(redis.Addr))
	stripe.SendTo(first)
	client := rig.ClientOf(t, first)
	limit, barred := denied(verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED), denied(verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE)
	person := &verificationv1.ListVerificationsRequest{Filter: &verificationv1.ListVerificationsRequest_ClientReferenceId{ClientReferenceId: "person-1"}}

	expired, young, erased := stripe.NewSession("person-1"), stripe.NewSession(""), stripe.NewSession("person-1")
	other := stripe.NewSession("person-1")
	stripe.SubmitAndFinish(expired, "document_expired")
	stripe.SubmitAndFinish(young, "under_supported_age")
	stripe.SubmitAndFinish(erased, "under_supported_age")
	want := func(what string, request *verificationv1.ListVerificationsRequest, want ...string) {
		t.Helper()
		if got := listed(t, client, request); !slices.Equal(got, want) {
			t.Errorf("%s: %v; want %v", what, got, want)
		}
	}
	want("barred", barred, erased, young)
	want("at the limit", limit)
	want("person-1", person, other, erased, expired)
	stripe.Do(stripe.Redact, erased)
	want("barred, after a redaction", barred, young)
	want("person-1, after a redaction", person, other, expired)
	first.Signal(syscall.SIGTERM)
	first.Exit(rig.Soon)

	strict := rig.Serve(t, rig.Settings(redis.Addr, "MAX_RETRIES=0"))
	client = rig.ClientOf(t, strict)
	rig.Await(t, "the lists follow MAX_RETRIES", func() bool { return slices.Equal(listed(t, client, limit), []string{expired}) })
	strict.Signal(syscall.SIGTERM)
	strict.Exit(rig.Soon)

	command := rig.Launch(t, stripe.Settings(redis.Addr), "reconcile")
	if code := command.Exit(rig.Soon); code != 0 {
		t.Errorf("reconcile ends with %d", code)
	}
	if out := command.Stdout.String(); !strings.Contains(out, "lists:    4 sessions checked; 0 entries added, 1 removed\n") {
		t.Errorf("reconcile says:\n%s", out)
	}
	client = rig.ClientOf(t, rig.Serve(t, stripe.Settings(redis.Addr)))
	want("at the limit of before", limit)
}

package clienttest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestTheLimitOfComparisonsEndsAfterADay, in virtual time.
func TestTheLimitOfComparisonsEndsAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := clienttest.NewVirtual(t)
		c := server.Client()
		server.Set(of("vs_1", verified))
		server.SetOutputs("vs_1", client.Expected{Country: "NL"})
		compare := func() error {
			_, err := c.Compare(t.Context(), "vs_1", client.Expected{Country: "NL"})
			return err
		}
		for n := range 10 {
			if err := compare(); err != nil {
				t.Fatalf("comparison %d: %v", n, err)
			}
			time.Sleep(time.Hour)
		}
		err := compare()
		var e *client.Error
		if !errors.Is(err, client.ErrComparisonLimit) || !errors.As(err, &e) || e.RetryAfter != 14*time.Hour {
			t.Fatalf("comparison 10: %v; want the limit, for 14 h", err)
		}
		time.Sleep(e.RetryAfter)
		if err := compare(); err != nil {
			t.Errorf("after %v: %v", e.RetryAfter, err)
		}
		if err := compare(); !errors.Is(err, client.ErrComparisonLimit) {
			t.Errorf("and once more: %v; want the limit", err)
		}
	})
}

// TestPersonCountsInheritedFailuresOnce: a replacement has the failures of the session that it replaced.
func TestPersonCountsInheritedFailuresOnce(t *testing.T) {
	server, _ := start(t)
	c := server.Client()
	bad := of("vs_1", requiresInput)
	bad.ClientReferenceId, bad.LastError = "user-42", &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED}
	server.Set(bad)
	server.Set(of("vs_1", canceled))
	link, err := c.Retry(t.Context(), "vs_1", client.ReplaceClosed("https://shop.test/"))
	if err != nil || link.Verification.GetRetry().GetFailedAttempts() != 1 {
		t.Fatalf("%v, %v; want a replacement with one failed attempt", link, err)
	}
	test := of("vs_test", verified) // of another mode
	test.ClientReferenceId, test.Livemode = "user-42", true
	server.Set(test)
	replaced := of(link.Verification.GetSessionId(), verified)
	server.Set(replaced)
	v, person, err := c.Person(t.Context(), "user-42")
	if err != nil || v.GetSessionId() != "vs_test" || person.GetSessions() != 1 || person.GetFailedAttempts() != 0 || person.GetVerified().GetSessionId() != "vs_test" {
		t.Errorf("%v, %v, %v; want the session of the other mode alone", v, person, err)
	}
	test.Redaction = verificationv1.Redaction_REDACTION_REDACTED
	server.Set(test)
	v, person, err = c.Person(t.Context(), "user-42")
	if err != nil || v.GetSessionId() != replaced.GetSessionId() || person.GetSessions() != 2 || person.GetFailedAttempts() != 1 || person.GetVerified().GetSessionId() != v.GetSessionId() {
		t.Errorf("without the redacted session: %v, %v, %v; want two sessions with one failed attempt", v, person, err)
	}
}

// TestSetKeepsAResolution until it is taken back. A redaction clears the operator's name.
func TestSetKeepsAResolution(t *testing.T) {
	server, _ := start(t)
	resolved := of("vs_1", processing)
	resolved.Resolution = &verificationv1.Resolution{Kind: verificationv1.ResolutionKind_RESOLUTION_KIND_CLOSED, Principal: "ada"}
	server.Set(resolved)
	v := server.Set(of("vs_1", requiresInput))
	if !v.GetSettled() || v.GetResolution().GetPrincipal() != "ada" || v.GetRetry().GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED {
		t.Errorf("after another state: %v; want it resolved by ada", v)
	}
	back := of("vs_1", requiresInput)
	back.Resolution = &verificationv1.Resolution{}
	if v = server.Set(back); v.GetSettled() || v.GetResolution() != nil || v.GetRevision() != 3 {
		t.Errorf("taken back: %v; want revision 3 without a resolution", v)
	}
	resolved.Redaction = verificationv1.Redaction_REDACTION_REDACTED
	if v = server.Set(resolved); v.GetResolution().GetKind() != verificationv1.ResolutionKind_RESOLUTION_KIND_CLOSED || v.GetResolution().GetPrincipal() != "" {
		t.Errorf("redacted: %v; want the kind without the name", v)
	}
}

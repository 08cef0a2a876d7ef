package rpc

import (
	"strings"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/internal/verification"
)

// The table of error codes in the documentation is Stripe's list, and says of each code what the
// service does with it by default.
func TestTheTableOfErrorCodesIsTrue(t *testing.T) {
	table := document.Section(t, "server/docs/retries.md", "error-codes")
	rows := strings.Split(strings.TrimSpace(table), "\n")[2:]
	if len(rows) != len(stripesCodes) {
		t.Errorf("the table has %d codes, Stripe's list %d", len(rows), len(stripesCodes))
	}
	for i, code := range stripesCodes[:min(len(rows), len(stripesCodes))] {
		want := "| `" + code.stripe + "` | `" + errorOf(verification.Error{Code: code.stripe}).GetCode().String() + "` | `" +
			strings.TrimPrefix(categoryOf(code.stripe).String(), "ERROR_CATEGORY_") + "` | " + defaultRetry(code.stripe) + " | "
		if !strings.HasPrefix(rows[i], want) || strings.Count(rows[i], "|") != 6 || len(rows[i]) < len(want)+10 {
			t.Errorf("row %d is\n%s\nit should begin with\n%s", i+1, rows[i], want)
		}
	}
}

// defaultRetry is what a first submission with this error leads to.
func defaultRetry(code string) string {
	failed, _ := verification.Transition(verification.Session{}, verification.Event{
		ID: "evt_1", Type: verification.EventRequiresInput, Second: t0,
		Object: verification.Object{ID: "vs_1", Status: verification.StatusRequiresInput, Report: "vr_1",
			Error: verification.Error{Code: code, Reason: "Because."}},
	})
	policy := verification.RetryPolicy{MaxRetries: 2, DenyCodes: verification.DefaultDenyCodes()}
	denial := policy.Judge(failed.State, time.Unix(t0, 0)).Denial
	switch {
	case denial == verification.DenialNotRetryable:
		return "no"
	case denial != verification.DenialNone:
		return verificationv1.RetryDenial(denial).String()
	case failed.FailedAttempts == 0:
		return "yes, uncounted"
	}
	return "yes"
}

package redisstore

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/verification-status/server/internal/verification"
)

// operatedLife returns a session of a person that failed. An operator allowed a try, the person used it, another operator resolved
// the session, and a caller compared it.
func operatedLife(t *testing.T) verification.Session {
	t.Helper()
	var session verification.Session
	for _, event := range lifeOfFive()[:3] {
		session, _ = verification.Transition(session, event)
	}
	policy := verification.RetryPolicy{MaxRetries: 0}
	now := time.Unix(1_790_000_200, 0)
	session, _, allowed := verification.AllowRetry(session, policy, now, "token:desk")
	session, _, granted := verification.GrantRetry(session, policy, now.Add(time.Minute), "token:bff")
	session, resolved := verification.ResolveVerification(session, verification.ResolutionVerifiedElsewhere, now.Add(2*time.Minute), "token:night")
	session, _, compared := verification.Compare(session, 10, now.Add(3*time.Minute), "token:bank", 5)
	if !allowed || !granted || !resolved || !compared || session.Overrides != 1 {
		t.Fatalf("the life is %+v", session)
	}
	return session
}

// operatedReplacement returns a closed session whose replacement used an operator's allowance.
func operatedReplacement(t *testing.T) verification.Session {
	t.Helper()
	var session verification.Session
	for _, event := range lifeOfFive()[:3] {
		session, _ = verification.Transition(session, event)
	}
	closed := lifeOfFive()[4]
	closed.Type, closed.Object.Status, closed.Object.Report = verification.EventCanceled, verification.StatusCanceled, ""
	session, _ = verification.Transition(session, closed)
	policy, now := verification.RetryPolicy{MaxRetries: 0}, time.Unix(1_790_000_400, 0)
	session, _, _ = verification.AllowRetry(session, policy, now, "token:desk")
	session, _, _ = verification.GrantReplacement(session, policy, now, "token:bff", "https://example.com/back")
	if !session.Replacement.Used.Given || session.Overrides != 1 {
		t.Fatalf("the replacement is %+v", session.Replacement)
	}
	return session
}

// TestGoldenOperatedRecords has the stored bytes of records with operators' acts, as first written. The files with "by_2" are the
// same records after a write of the version before, which does not know these acts: of a late event, and of the revocation of the
// replacement.
func TestGoldenOperatedRecords(t *testing.T) {
	revoked, changed := verification.RevokeReplacement(operatedReplacement(t), "https://example.com/back", time.Unix(1_790_000_500, 0))
	if !changed || !revoked.OverrideOpen() {
		t.Fatalf("revoked: %+v", revoked)
	}
	// The version before copies the overrides of the entry before into the entry of the revocation.
	revoked.History[len(revoked.History)-1].Result.Overrides = 1
	revoked.History[len(revoked.History)-1].Result.Allowance = verification.Allowance{}
	for file, want := range map[string]verification.Session{
		"format3.bin":              operatedLife(t),
		"format3_replacement.bin":  operatedReplacement(t),
		"format3_written_by_2.bin": afterOneMore(operatedLife(t)),
		"format3_revoked_by_2.bin": revoked,
	} {
		body, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(want.ID, body)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s is read otherwise today (-want +got):\n%s", file, diff)
		}
		if strings.Contains(file, "by_2") {
			continue
		}
		if written, err := appendBody(nil, want, format); err != nil || !bytes.Equal(written, body) {
			t.Errorf("%s is written otherwise today, %v:\n%x\n%x", file, err, written, body)
		}
	}
}

// TestOperatorsActsOutliveTheirEntries: an older version trims entries, and does not move to the session what it does not know.
func TestOperatorsActsOutliveTheirEntries(t *testing.T) {
	for _, want := range []verification.Session{operatedLife(t), operatedReplacement(t)} {
		body, err := appendBody(nil, want, format)
		if err != nil {
			t.Fatal(err)
		}
		trimmed := []byte{format}
		_ = eachField(body[1:], func(f field) {
			if f.num != sessionEntry {
				trimmed = append(trimmed, f.raw...)
			}
		})
		got, err := decode(want.ID, trimmed)
		if err != nil || got.Resolution != want.Resolution || got.Overrides != want.Overrides || got.Allowance != want.Allowance {
			t.Errorf("without entries: %v, %+v, %d overrides; want %+v, %d", err, got.Resolution, got.Overrides, want.Resolution, want.Overrides)
		}
	}
}

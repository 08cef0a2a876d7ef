package remote

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// shown returns what show prints of an answer.
func shown(t *testing.T, answer *verificationv1.GetStatusResponse, subject Subject) string {
	t.Helper()
	var out bytes.Buffer
	office := &fakeOffice{answer: answer}
	if err := Show(t.Context(), office.open(t), subject, func() time.Time { return now }, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestShowTellsTheStory(t *testing.T) {
	const want = `session    vs_1 (test mode)
reference  user-43
status     requires_input: failed: under_supported_age: The person is below the supported age.
since      2026-11-28 11:55:00, 5m0s ago
outcome    of revision 3; the session is at revision 3
tries      1 failed; retries: 0 granted, 2 left
next try   denied: another try cannot fix this failure
person     sessions: 1, failed tries: 1; none of them is verified

TIME                 REVISION  FROM            BY  WHAT
2026-11-28 11:54:58  1         webhook         -   waits for the person
2026-11-28 11:54:59  -         read at Stripe  -   Stripe checks the submission; it came late and changed nothing
2026-11-28 11:54:59  2         webhook         -   Stripe checks the submission
2026-11-28 11:55:00  3         webhook         -   failed: under_supported_age: The person is below the supported age.

one more try:          operator allow vs_1 --outcome 3
dealt with elsewhere:  operator resolve vs_1 --outcome 3 --kind verified-elsewhere (or declined, closed)
`
	if diff := cmp.Diff(want, shown(t, tooYoung(), Subject{Reference: "user-43"})); diff != "" {
		t.Errorf("the story (-want +got):\n%s", diff)
	}
}

// TestShowTellsWhatOperatorsDid: each kind of entry that is not Stripe's, and what is offered then.
func TestShowTellsWhatOperatorsDid(t *testing.T) {
	answer := tooYoung()
	answer.Person, answer.History = nil, nil
	allow(answer)
	for _, entry := range []*verificationv1.HistoryEntry{
		{Revision: 5, Source: verificationv1.Source_SOURCE_RETRY, Principal: "token:bff"},
		{Source: verificationv1.Source_SOURCE_COMPARISON, Principal: "token:kyc", ComparedFields: []string{"first_name", "date_of_birth"}},
		{Revision: 6, Source: verificationv1.Source_SOURCE_REPLACEMENT},
		{Revision: 7, Source: verificationv1.Source_SOURCE_WEBHOOK, EventType: "identity.verification_session.redacted", Status: verificationv1.Status_STATUS_VERIFIED},
		{Revision: 8, Source: verificationv1.Source_SOURCE_IMPORT, Status: verificationv1.Status_STATUS_CANCELED},
		{Revision: 9, Source: 99, Principal: "token:\x1b[2J"},
	} {
		entry.RecordTime = timestamppb.New(now)
		answer.History = append(answer.History, entry)
	}
	answer.Verification.Revision = 9
	resolve(answer)
	answer.Verification.Account, answer.Verification.Livemode = "acct_1", true
	answer.Verification.SupersededBy, answer.Verification.Replaces = "vs_2", "vs_0"
	answer.Verification.Redaction = verificationv1.Redaction_REDACTION_PROCESSING
	const want = `session      vs_1 (live mode, account acct_1)
reference    user-43
status       requires_input: failed: under_supported_age: The person is below the supported age.
erased       the personal data is being erased
since        2026-11-28 11:55:00, 5m0s ago
outcome      of revision 3; the session is at revision 10
tries        1 failed; retries: 0 granted, 2 left
next try     allowed by an operator
resolved     as verified elsewhere by token:anna, 2026-11-28 12:00:00
replaced by  vs_2
replaces     vs_0

TIME                 REVISION  FROM         BY               WHAT
2026-11-28 12:00:00  4         operator     token:anna       allowed one more try
2026-11-28 12:00:00  5         retry        token:bff        got a link for one more try
2026-11-28 12:00:00  -         comparison   token:kyc        compared first_name, date_of_birth
2026-11-28 12:00:00  6         replacement  -                was linked with the session that replaces it, or that it replaces
2026-11-28 12:00:00  7         webhook      -                the personal data is erased, or being erased
2026-11-28 12:00:00  8         import       -                closed
2026-11-28 12:00:00  9         unknown      "token:\x1b[2J"  a status that this version does not know
2026-11-28 12:00:00  10        operator     token:anna       resolved the session

take the resolution back:  operator resolve vs_1 --outcome 3 --take-back
`
	if diff := cmp.Diff(want, shown(t, answer, Subject{Session: "vs_1"})); diff != "" {
		t.Errorf("the story (-want +got):\n%s", diff)
	}
}

// TestShowOffersOnlyWhatHelps: no command for a person who is verified, and no allowance where a retry is allowed.
func TestShowOffersOnlyWhatHelps(t *testing.T) {
	answer := tooYoung()
	answer.History, answer.Person = nil, &verificationv1.Person{Sessions: 2, Verified: &verificationv1.Verification{SessionId: "vs_0"}}
	v := answer.GetVerification()
	v.Status, v.StripeStatus, v.LastError, v.Settled = verificationv1.Status_STATUS_VERIFIED, "verified", nil, true
	v.Retry = &verificationv1.RetryState{Denial: verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED}
	const want = `session    vs_1 (test mode)
reference  user-43
status     verified
since      2026-11-28 11:55:00, 5m0s ago
outcome    of revision 3; the session is at revision 3
tries      0 failed; retries: 0 granted, 0 left
next try   denied: the person is verified
person     sessions: 2, failed tries: 0; verified in vs_0

No history is kept of this session: it is erased or archived.
`
	if diff := cmp.Diff(want, shown(t, answer, Subject{Reference: "user-43"})); diff != "" {
		t.Errorf("the story (-want +got):\n%s", diff)
	}
}

// TestShowAsksTheVersionBefore: a server without summaries of people shows the session alone.
func TestShowAsksTheVersionBefore(t *testing.T) {
	var out bytes.Buffer
	office := &fakeOffice{answer: tooYoung(), before: true}
	office.answer.Person = nil
	if err := Show(t.Context(), office.open(t), Subject{Reference: "user-43"}, func() time.Time { return now }, &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "vs_1") || strings.Contains(got, "person  ") {
		t.Errorf("got:\n%s", got)
	}
}

func TestRetryWords(t *testing.T) {
	for want, retry := range map[string]*verificationv1.RetryState{
		"allowed":                {Allowed: true},
		"allowed by an operator": {Allowed: true, OverrideOpen: true},
		"denied: an operator has resolved the session; an operator has allowed one more try for later":                       {Denial: verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED, OverrideOpen: true},
		"denied: Stripe still checks the last submission; an operator has allowed one more try for later":                    {Denial: verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING, OverrideOpen: true},
		"denied: the session is closed; RetryVerification with replace_closed creates a new one, as an operator has allowed": {Denial: verificationv1.RetryDenial_RETRY_DENIAL_CANCELED, OverrideOpen: true},
		"denied: another session replaced this one":                                                                          {Denial: verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED},
		"denied until 2026-11-28 12:00:00: it is too soon after the last failure":                                            {Denial: verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN, NextRetryTime: timestamppb.New(now)},
		"denied for a reason that this version does not know: 99":                                                            {Denial: 99},
	} {
		if got := retryWords(retry); got != want {
			t.Errorf("%v: got %q, want %q", retry, got, want)
		}
	}
	for number, name := range verificationv1.RetryDenial_name {
		if _, known := denialWords[verificationv1.RetryDenial(number)]; !known && number != 0 {
			t.Errorf("no words for %s", name)
		}
	}
}

// TestShowJSONIsTheAnswer: any program can read it.
func TestShowJSONIsTheAnswer(t *testing.T) {
	var out bytes.Buffer
	office := &fakeOffice{answer: tooYoung()}
	if err := ShowJSON(t.Context(), office.open(t), Subject{Session: "vs_1"}, &out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Verification struct{ SessionID, ClientReferenceID string }
		History      []struct{ Source string }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if got.Verification.SessionID != "vs_1" || got.Verification.ClientReferenceID != "user-43" || len(got.History) != 4 || got.History[0].Source != "SOURCE_WEBHOOK" {
		t.Errorf("got %s", out.String())
	}
}

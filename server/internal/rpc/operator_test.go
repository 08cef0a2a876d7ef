package rpc

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

const (
	declined = verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED
	closed   = verificationv1.ResolutionKind_RESOLUTION_KIND_CLOSED
	takeBack = verificationv1.ResolutionKind_RESOLUTION_KIND_UNSPECIFIED
)

// allow makes an operator allow one more try, which must be accepted.
func (r *replica) allow(id string) *verificationv1.Verification {
	r.t.Helper()
	response, err := r.AllowRetry(r.context(), &verificationv1.AllowRetryRequest{SessionId: id})
	if err != nil {
		r.t.Fatalf("allow %s: %v", id, err)
	}
	return response.GetVerification()
}

// resolve makes an operator resolve a session, which must be accepted.
func (r *replica) resolve(id string, kind verificationv1.ResolutionKind) *verificationv1.Verification {
	r.t.Helper()
	response, err := r.ResolveVerification(r.context(), &verificationv1.ResolveVerificationRequest{SessionId: id, Kind: kind})
	if err != nil {
		r.t.Fatalf("resolve %s: %v", id, err)
	}
	return response.GetVerification()
}

// TestAnOperatorAllowsOneMoreTry whatever the limit and the kind of failure say, and the retry uses it once.
func TestAnOperatorAllowsOneMoreTry(t *testing.T) {
	for name, code := range map[string]string{"at the limit": "document_expired", "not retryable": "under_supported_age"} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t)
			b.policy.MaxRetries = 0
			stripe, r := b.retries(t)
			o := object("vs_1", "requires_input", failure(code, 1))
			stripe.set(o)
			r.apply(eventOf(1, 1, o))
			before := r.status("vs_1")
			if before.GetRetry().GetAllowed() {
				t.Fatal("a retry is allowed without an operator")
			}
			allowed := r.allow("vs_1")
			if !allowed.GetRetry().GetOverrideOpen() || !allowed.GetRetry().GetAllowed() || allowed.GetRetry().GetDenial() != 0 {
				t.Errorf("allowed: %v", allowed.GetRetry())
			}
			if allowed.GetRevision() != 2 || allowed.GetOutcomeRevision() != before.GetOutcomeRevision() || allowed.GetOutcomeId() != before.GetOutcomeId() {
				t.Errorf("an allowance is no outcome: %v", allowed)
			}
			if again := r.allow("vs_1"); !cmp.Equal(again, allowed, protocmp.Transform()) {
				t.Errorf("again: %v, want %v", again, allowed)
			}
			granted := r.retry(retryRequest("vs_1")).GetVerification().GetRetry()
			if granted.GetRetriesGranted() != 1 || granted.GetOverrideOpen() || !granted.GetAllowed() {
				t.Errorf("granted: %v", granted)
			}
			r.retry(retryRequest("vs_1")) // uses nothing more
			stripe.set(object("vs_1", "requires_input", failure(code, 2)))
			r.apply(eventOf(2, 5, object("vs_1", "requires_input", failure(code, 2))))
			if next := r.status("vs_1").GetRetry(); next.GetAllowed() || next.GetOverrideOpen() || next.GetRetriesGranted() != 1 {
				t.Errorf("the next failure: %v", next)
			}
		})
	}
}

// TestAnOperatorResolvesASession and takes it back. Stripe's status stays, retries are refused without a call of Stripe, and the
// session leaves the lists of people who wait.
func TestAnOperatorResolvesASession(t *testing.T) {
	b := newBackend(t)
	b.policy.MaxRetries = 0
	now := time.Unix(t0+1000, 5)
	b.clock = func() time.Time { return now }
	stripe, _ := b.retries(t)
	r := b.replica(t, func(c *Config) { c.Principal = func(context.Context) string { return "token:desk" } })
	r.failAt(stripe, "vs_1", 1, 1)
	before := r.status("vs_1")
	resolved := r.resolve("vs_1", declined)
	want := &verificationv1.Resolution{Kind: declined, Principal: "token:desk", Time: seconds(t0 + 1000)}
	if diff := cmp.Diff(want, resolved.GetResolution(), protocmp.Transform()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !resolved.GetSettled() || resolved.GetStatus() != before.GetStatus() || resolved.GetRevision() != 2 || resolved.GetOutcomeId() != before.GetOutcomeId() {
		t.Errorf("resolved: %v", resolved)
	}
	if again := r.resolve("vs_1", declined); again.GetRevision() != 2 {
		t.Errorf("again: revision %d", again.GetRevision())
	}
	gets, _, _ := stripe.counts()
	r.denied(retryRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED)
	_, err := r.AllowRetry(r.context(), &verificationv1.AllowRetryRequest{SessionId: "vs_1"})
	if d := wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED); d.info.GetMetadata()["denial"] != "RETRY_DENIAL_RESOLVED" {
		t.Errorf("AllowRetry: %v", d.info)
	}
	if after, _, _ := stripe.counts(); after != gets {
		t.Errorf("%d GETs at Stripe", after-gets)
	}
	if listed := r.listed(t, verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED); len(listed) != 0 {
		t.Errorf("listed: %v", listed)
	}
	if other := r.resolve("vs_1", closed); other.GetRevision() != 3 || other.GetResolution().GetKind() != closed {
		t.Errorf("another kind: %v", other)
	}
	if back := r.resolve("vs_1", takeBack); back.GetResolution() != nil || back.GetSettled() || back.GetRevision() != 4 {
		t.Errorf("taken back: %v", back)
	}
	if listed := r.listed(t, verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED); len(listed) != 1 || listed[0].GetSessionId() != "vs_1" {
		t.Errorf("listed: %v", listed)
	}
	r.allow("vs_1")
}

func (r *replica) listed(t *testing.T, denial verificationv1.RetryDenial) []*verificationv1.Verification {
	t.Helper()
	page, err := r.ListVerifications(r.context(), &verificationv1.ListVerificationsRequest{Filter: &verificationv1.ListVerificationsRequest_Denial{Denial: denial}})
	if err != nil {
		t.Fatal(err)
	}
	return page.GetVerifications()
}

// TestAnOperatorActsOnWhatWasSeen: a call that names another outcome than the session has changes nothing.
func TestAnOperatorActsOnWhatWasSeen(t *testing.T) {
	b := newBackend(t)
	b.policy.MaxRetries = 0
	stripe, r := b.retries(t)
	r.failAt(stripe, "vs_1", 1, 1)
	r.failAt(stripe, "vs_1", 2, 5)
	calls := map[string]func(seen int32) error{
		"allow": func(seen int32) error {
			_, err := r.AllowRetry(r.context(), &verificationv1.AllowRetryRequest{SessionId: "vs_1", OutcomeRevision: seen})
			return err
		},
		"resolve": func(seen int32) error {
			_, err := r.ResolveVerification(r.context(), &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: declined, OutcomeRevision: seen})
			return err
		},
	}
	for name, call := range calls {
		for _, seen := range []int32{1, 3} {
			d := wantError(t, call(seen), codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT)
			if d.retry != nil || d.info.GetMetadata()["outcome_revision"] != "2" {
				t.Errorf("%s at %d: RetryInfo %v, metadata %v", name, seen, d.retry, d.info.GetMetadata())
			}
		}
	}
	if revision := r.status("vs_1").GetRevision(); revision != 2 {
		t.Errorf("revision %d", revision)
	}
	for _, name := range []string{"allow", "resolve"} {
		if err := calls[name](2); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A verified session is another outcome, which goes before the denial.
	r.apply(eventOf(3, 9, object("vs_1", "verified")))
	wantError(t, calls["allow"](2), codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT)
}

// TestOperatorsAreToldWhatIsWrong with a request, and that a session is not known here. Stripe is not asked.
func TestOperatorsAreToldWhatIsWrong(t *testing.T) {
	b := newBackend(t)
	stripe, r := b.retries(t)
	stripe.set(object("vs_9", "requires_input"))
	for _, test := range []struct {
		allow   *verificationv1.AllowRetryRequest
		resolve *verificationv1.ResolveVerificationRequest
		code    codes.Code
		field   string
	}{
		{allow: &verificationv1.AllowRetryRequest{}, code: codes.InvalidArgument, field: "session_id"},
		{allow: &verificationv1.AllowRetryRequest{SessionId: "vs_9", OutcomeRevision: -1}, code: codes.InvalidArgument, field: "outcome_revision"},
		{allow: &verificationv1.AllowRetryRequest{SessionId: "vs_9"}, code: codes.NotFound},
		{resolve: &verificationv1.ResolveVerificationRequest{SessionId: "x"}, code: codes.InvalidArgument, field: "session_id"},
		{resolve: &verificationv1.ResolveVerificationRequest{SessionId: "vs_9", OutcomeRevision: -1}, code: codes.InvalidArgument, field: "outcome_revision"},
		{resolve: &verificationv1.ResolveVerificationRequest{SessionId: "vs_9", Kind: 4}, code: codes.InvalidArgument, field: "kind"},
		{resolve: &verificationv1.ResolveVerificationRequest{SessionId: "vs_9", Kind: -1}, code: codes.InvalidArgument, field: "kind"},
		{resolve: &verificationv1.ResolveVerificationRequest{SessionId: "vs_9", Kind: declined}, code: codes.NotFound},
		{resolve: &verificationv1.ResolveVerificationRequest{SessionId: "vs_9"}, code: codes.NotFound},
	} {
		var err error
		if test.allow != nil {
			_, err = r.AllowRetry(r.context(), test.allow)
		} else {
			_, err = r.ResolveVerification(r.context(), test.resolve)
		}
		reason := verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST
		if test.code == codes.NotFound {
			reason = verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND
		}
		if d := wantError(t, err, test.code, reason); d.field() != test.field {
			t.Errorf("%v %v: blames %q, want %q", test.allow, test.resolve, d.field(), test.field)
		}
	}
	if gets, finds, _ := stripe.counts(); gets+finds != 0 {
		t.Errorf("%d GETs and %d searches at Stripe", gets, finds)
	}
}

// TestOperatorsAreOffInAnOlderFormat: an older replica would refuse what the calls write.
func TestOperatorsAreOffInAnOlderFormat(t *testing.T) {
	b := newBackend(t)
	stripe, _ := b.retries(t)
	r := b.replica(t, func(c *Config) { c.Operators = false })
	r.failAt(stripe, "vs_1", 1, 1)
	_, allow := r.AllowRetry(r.context(), &verificationv1.AllowRetryRequest{SessionId: "vs_1"})
	_, resolve := r.ResolveVerification(r.context(), &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: declined})
	for _, err := range []error{allow, resolve} {
		if status.Code(err) != codes.Unimplemented || !strings.Contains(status.Convert(err).Message(), "RECORD_FORMAT") {
			t.Errorf("%v, want UNIMPLEMENTED with the setting", err)
		}
	}
	if revision := r.status("vs_1").GetRevision(); revision != 1 {
		t.Errorf("revision %d", revision)
	}
}

// TestTheHistoryAndTheLogNameTheOperator, and say what the operator did. A call that changes nothing leaves no line.
func TestTheHistoryAndTheLogNameTheOperator(t *testing.T) {
	b := newBackend(t)
	b.policy.MaxRetries = 0
	stripe, _ := b.retries(t)
	var lines syncBuffer
	r := b.replica(t, func(c *Config) {
		c.Principal = func(context.Context) string { return "token:desk" }
		c.Logger = slog.New(slog.NewTextHandler(&lines, nil))
	})
	r.failAt(stripe, "vs_1", 1, 1)
	for range 2 {
		r.allow("vs_1")
		r.resolve("vs_1", declined)
		r.resolve("vs_1", takeBack)
	}
	r.resolve("vs_1", takeBack)
	type entry struct {
		Revision  int32
		Source    verificationv1.Source
		Operation verificationv1.Operation
		Principal string
	}
	want := []entry{
		{1, verificationv1.Source_SOURCE_WEBHOOK, 0, ""},
		{2, verificationv1.Source_SOURCE_OPERATOR, verificationv1.Operation_OPERATION_ALLOW_RETRY, "token:desk"},
		{3, verificationv1.Source_SOURCE_OPERATOR, verificationv1.Operation_OPERATION_RESOLVE, "token:desk"},
		{4, verificationv1.Source_SOURCE_OPERATOR, verificationv1.Operation_OPERATION_TAKE_BACK, "token:desk"},
		{5, verificationv1.Source_SOURCE_OPERATOR, verificationv1.Operation_OPERATION_RESOLVE, "token:desk"},
		{6, verificationv1.Source_SOURCE_OPERATOR, verificationv1.Operation_OPERATION_TAKE_BACK, "token:desk"},
	}
	var got []entry
	for _, e := range r.historyOf("vs_1") {
		got = append(got, entry{e.GetRevision(), e.GetSource(), e.GetOperation(), e.GetPrincipal()})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history -want +got:\n%s", diff)
	}
	for text, count := range map[string]int{
		"an operator allowed one more try": 1, "an operator resolved a session": 2, "an operator took a resolution back": 2,
		"session_id=vs_1 outcome_revision=1 principal=token:desk": 5, "kind=RESOLUTION_KIND_DECLINED": 2,
	} {
		if got := strings.Count(lines.String(), text); got != count {
			t.Errorf("%q is %d times in the log, want %d:\n%s", text, got, count, lines.String())
		}
	}
}

func (r *replica) historyOf(id string) []*verificationv1.HistoryEntry {
	r.t.Helper()
	request := statusByID(id)
	request.IncludeHistory = true
	response, err := r.GetStatus(r.context(), request)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.GetHistory()
}

// TestG15_OperatorsChangeASessionAtMost32TimesAnHour: more would push what happened out of its history. Calls that change nothing are
// answered as before, and another session is not affected.
func TestG15_OperatorsChangeASessionAtMost32TimesAnHour(t *testing.T) {
	b := newBackend(t)
	b.policy.MaxRetries = 0
	start := time.Unix(t0+1000, 0)
	now := start
	b.clock = func() time.Time { return now }
	stripe, _ := b.retries(t)
	r, _, outcomes := b.observed(t, func(*Config) {})
	r.failAt(stripe, "vs_1", 1, 1)
	r.failAt(stripe, "vs_2", 2, 1)
	r.allow("vs_1")
	kinds := []verificationv1.ResolutionKind{declined, takeBack}
	for n := 1; n < verification.MaxOperations; n++ {
		now = start.Add(time.Duration(n) * time.Minute)
		r.resolve("vs_1", kinds[(n+1)%2])
	}
	before := r.record("vs_1")
	r.resolve("vs_1", declined) // as it is
	for range 2 {
		_, err := r.ResolveVerification(t.Context(), &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: takeBack})
		d := wantError(t, err, codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED)
		if wait := d.retry.GetRetryDelay().AsDuration(); wait != start.Add(time.Hour).Sub(now) {
			t.Errorf("RetryInfo %v, want %v", wait, start.Add(time.Hour).Sub(now))
		}
	}
	if after := r.record("vs_1"); after.Revision != before.Revision || operators(after) != verification.MaxOperations {
		t.Errorf("revision %d after %d, %d entries of operators", after.Revision, before.Revision, operators(after))
	}
	if last := (*outcomes)[len(*outcomes)-3:]; !slices.Equal(last, []OperatorOutcome{OperatorUnchanged, OperatorFailed, OperatorFailed}) {
		t.Errorf("outcomes %v", last)
	}
	r.resolve("vs_2", declined)
	now = start.Add(time.Hour)
	r.resolve("vs_1", takeBack)
	_, err := r.ResolveVerification(t.Context(), &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: closed})
	wantError(t, err, codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED)
}

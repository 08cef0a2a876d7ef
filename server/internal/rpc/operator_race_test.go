package rpc

import (
	"context"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// operators counts the entries of operators in a record.
func operators(record verification.Session) (count int) {
	for _, entry := range record.History {
		if entry.Source == verification.SourceOperator {
			count++
		}
	}
	return count
}

// TestOperatorsAndRetriesAtOnceUseOneAllowanceOnce: 32 operators at two servers allow one more try, and 32 callers retry.
func TestOperatorsAndRetriesAtOnceUseOneAllowanceOnce(t *testing.T) {
	b := newBackend(t)
	b.policy.MaxRetries = 0
	stripe, one := b.retries(t)
	two := b.replica(t)
	one.failAt(stripe, "vs_1", 1, 1)
	var calls sync.WaitGroup
	for n := range 64 {
		r := []*replica{one, two}[n/2%2]
		calls.Go(func() {
			var err error
			if n%2 == 0 {
				_, err = r.AllowRetry(t.Context(), &verificationv1.AllowRetryRequest{SessionId: "vs_1"})
			} else {
				_, err = r.RetryVerification(t.Context(), retryRequest("vs_1"))
			}
			denied := n%2 == 1 && denialOf(err) == "RETRY_DENIAL_LIMIT_REACHED" // no operator was faster
			if err != nil && !denied && status.Code(err) != codes.Aborted {
				t.Errorf("call %d: %v", n, err)
			}
		})
	}
	calls.Wait()
	one.retry(retryRequest("vs_1"))
	record := one.record("vs_1")
	if record.RetriesGranted != 1 || record.Overrides != 1 || operators(record) != 1 || record.Revision != 3 {
		t.Errorf("%d granted, %d overrides, %d entries of operators, revision %d; want 1, 1, 1, 3", record.RetriesGranted, record.Overrides, operators(record), record.Revision)
	}
}

// TestTwoOperatorsAtOnceLeaveOneMark, and each is told what the session is then.
func TestTwoOperatorsAtOnceLeaveOneMark(t *testing.T) {
	b := newBackend(t)
	stripe, one := b.retries(t)
	two := b.replica(t)
	one.failAt(stripe, "vs_1", 1, 1)
	var calls sync.WaitGroup
	for n := range 32 {
		r, kind := []*replica{one, two}[n/2%2], []verificationv1.ResolutionKind{declined, closed}[n%2]
		calls.Go(func() {
			response, err := r.ResolveVerification(t.Context(), &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: kind})
			if err == nil && response.GetVerification().GetResolution().GetKind() != kind {
				t.Errorf("the answer to %v is %v", kind, response.GetVerification().GetResolution())
			}
			if err != nil && status.Code(err) != codes.Aborted {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	record := one.record("vs_1")
	if entries := operators(record); entries == 0 || record.Revision != 1+int32(entries) {
		t.Errorf("%d entries of operators and revision %d", entries, record.Revision)
	}
}

// TestAWebhookBeforeAnOperatorsCommitIsAConflict: the guard is checked against the record that the commit is made on.
func TestAWebhookBeforeAnOperatorsCommitIsAConflict(t *testing.T) {
	b := newBackend(t)
	b.policy.MaxRetries = 0
	stripe, r := b.retries(t)
	r.failAt(stripe, "vs_1", 1, 1)
	late := b.replica(t, func(c *Config) { c.Ingest = inheritedLate{c.Ingest, func() { r.failAt(stripe, "vs_1", 2, 5) }} })
	_, err := late.AllowRetry(t.Context(), &verificationv1.AllowRetryRequest{SessionId: "vs_1", OutcomeRevision: 1})
	wantError(t, err, codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT)
	if record := r.record("vs_1"); operators(record) != 0 || record.Revision != 2 {
		t.Errorf("revision %d, %d entries of operators", record.Revision, operators(record))
	}
}

// TestASessionThatIsLostBeforeAnOperatorsCommitIsNotMade by the commit.
func TestASessionThatIsLostBeforeAnOperatorsCommitIsNotMade(t *testing.T) {
	redis := redistest.Imitate(t)
	b := newBackendAt(redis.Addr(), "")
	stripe, r := b.retries(t)
	late := b.replica(t, func(c *Config) { c.Ingest = inheritedLate{c.Ingest, redis.FlushAll} })
	r.failAt(stripe, "vs_1", 1, 1)
	_, err := late.ResolveVerification(t.Context(), &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: declined})
	wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	r.failAt(stripe, "vs_1", 1, 1)
	_, err = late.AllowRetry(t.Context(), &verificationv1.AllowRetryRequest{SessionId: "vs_1"})
	wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
}

// TestAnOperatorDecidesByInheritedCounts also if the session claims to replace another one after it was read: a process stopped
// between that commit and the inheritance.
func TestAnOperatorDecidesByInheritedCounts(t *testing.T) {
	b := newBackend(t)
	b.policy.MaxRetries = 1
	stripe, r := b.retries(t)
	o := object("vs_0", "canceled")
	stripe.set(o)
	r.apply(eventOf(1, 1, o))
	r.failAt(stripe, "vs_1", 1, 200, created(100))
	change := func(id string, fn func(verification.Session) (verification.Session, bool)) {
		if _, err := r.store.Update(t.Context(), id, func(current verification.Session) (verification.Session, bool, error) {
			if !current.Exists() { // not in the cache: the store reads it and calls again
				return current, false, nil
			}
			next, changed := fn(current)
			return next, changed, nil
		}); err != nil {
			t.Error(err)
		}
	}
	change("vs_0", func(current verification.Session) (verification.Session, bool) {
		next, _, changed := verification.GrantReplacement(current, b.policy, b.clock(), "", "")
		return next, changed
	})
	if !r.status("vs_1").GetRetry().GetAllowed() {
		t.Fatal("the session is at its limit without the inherited counts")
	}
	late := b.replica(t, func(c *Config) {
		c.Ingest = inheritedLate{c.Ingest, func() {
			change("vs_1", func(current verification.Session) (verification.Session, bool) {
				return verification.Claim(current, "vs_0")
			})
		}}
	})
	allowed := late.allow("vs_1")
	if !allowed.GetRetry().GetOverrideOpen() || allowed.GetRetry().GetRetriesGranted() != 1 || allowed.GetReplaces() != "vs_0" {
		t.Errorf("allowed: %v", allowed)
	}
}

// inheritedLate calls between after each Inherit: after the read and before the commit of an operator's call.
type inheritedLate struct {
	Ingest
	between func()
}

func (i inheritedLate) Inherit(ctx context.Context, session verification.Session) (verification.Session, error) {
	inherited, err := i.Ingest.Inherit(ctx, session)
	i.between()
	return inherited, err
}

// TestAnOperatorAllowsTheReplacementOfAClosedSession at the limit, once.
func TestAnOperatorAllowsTheReplacementOfAClosedSession(t *testing.T) {
	b := newBackend(t)
	b.policy.MaxRetries = 0
	stripe, r := b.retries(t)
	r.failAt(stripe, "vs_1", 1, 1)
	o := object("vs_1", "canceled")
	stripe.set(o)
	r.apply(eventOf(2, 5, o))
	r.denied(replaceRequest("vs_1"), verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)
	if open := r.allow("vs_1").GetRetry(); !open.GetOverrideOpen() || open.GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_CANCELED {
		t.Errorf("allowed: %v", open)
	}
	heir := r.retry(replaceRequest("vs_1")).GetVerification()
	if heir.GetSessionId() == "vs_1" || heir.GetRetry().GetRetriesGranted() != 1 || heir.GetRetry().GetOverrideOpen() {
		t.Errorf("the heir: %v", heir)
	}
	_, err := r.AllowRetry(t.Context(), &verificationv1.AllowRetryRequest{SessionId: "vs_1"})
	if d := wantError(t, err, codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED); d.info.GetMetadata()["superseded_by"] != heir.GetSessionId() {
		t.Errorf("of the superseded session: %v", d.info)
	}
	r.failAt(stripe, heir.GetSessionId(), 1, 1000, created(100))
	r.denied(retryRequest(heir.GetSessionId()), verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)
}

// TestAResolutionEndsAWatchUntilSettled, by id and by reference, and the names of operators are left out for callers that must not
// see them.
func TestAResolutionEndsAWatchUntilSettled(t *testing.T) {
	b := newBackend(t)
	stripe, _ := b.retries(t)
	desk := b.replica(t, func(c *Config) { c.Principal = func(context.Context) string { return "token:desk" } })
	r := b.replica(t, func(c *Config) { c.MayNameOperators = func(context.Context) bool { return false } })
	desk.failAt(stripe, "vs_1", 1, 1, reference("p"))
	byID, byRef := bySession("vs_1", 0), byReference("p")
	byID.UntilSettled, byRef.UntilSettled = true, true
	watches := []*watched{r.watch(byID), r.watch(byRef)}
	for _, w := range watches {
		w.wantNext("vs_1", 1, "requires_input")
	}
	if named := desk.resolve("vs_1", closed).GetResolution().GetPrincipal(); named != "token:desk" {
		t.Errorf("the operator sees the name %q", named)
	}
	for _, w := range watches {
		if got := w.wantNext("vs_1", 2, "requires_input"); got.GetResolution().GetKind() != closed || got.GetResolution().GetPrincipal() != "" || !got.GetSettled() {
			t.Errorf("sent %v", got)
		}
		if err := w.ended(); err != nil {
			t.Errorf("ended with %v, want OK", err)
		}
	}
	for _, entry := range r.historyOf("vs_1") {
		if entry.GetPrincipal() != "" {
			t.Errorf("the history names %q", entry.GetPrincipal())
		}
	}
	// RESOLVED has no list; the error says what to ask instead.
	_, err := r.ListVerifications(t.Context(), &verificationv1.ListVerificationsRequest{Filter: &verificationv1.ListVerificationsRequest_Denial{
		Denial: verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED,
	}})
	if d := wantError(t, err, codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST); !strings.Contains(d.message, "resolution") {
		t.Errorf("message %q", d.message)
	}
}

package rpc

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// answerlessStore commits. If lost says so, the answer to the commit is lost.
type answerlessStore struct {
	store.Store
	lost func() bool
}

func (s answerlessStore) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	session, err := s.Store.Update(ctx, id, fn)
	if err == nil && s.lost() {
		return verification.Session{}, fmt.Errorf("%w: the answer is lost", store.ErrUnavailable)
	}
	return session, err
}

// losing starts a replica for a caller with a name. The replica loses the answers to commits if lost says so.
func (b *backend) losing(t *testing.T, principal string, lost func() bool) *replica {
	t.Helper()
	return b.replica(t, func(c *Config) {
		c.Live = uncached{answerlessStore{c.Live.(store.Store), lost}, c.Live.Hub(), 0}
		c.Principal = func(context.Context) string { return principal }
	})
}

// TestG9_AnOperatorsCallThatIsRepeatedChangesNothingTwice: the answer to each commit is lost once, and the caller calls again.
func TestG9_AnOperatorsCallThatIsRepeatedChangesNothingTwice(t *testing.T) {
	b := newBackend(t)
	b.policy.MaxRetries = 0
	stripe, one := b.retries(t)
	var lose atomic.Bool
	r := b.losing(t, "token:desk", func() bool { return lose.CompareAndSwap(true, false) })
	one.failAt(stripe, "vs_1", 1, 1)
	mark := func(kind verificationv1.ResolutionKind) func() error {
		return func() error {
			_, err := r.ResolveVerification(t.Context(), &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: kind, OutcomeRevision: 1})
			return err
		}
	}
	for n, step := range []struct {
		name string
		call func() error
	}{
		{"allow", func() error {
			_, err := r.AllowRetry(t.Context(), &verificationv1.AllowRetryRequest{SessionId: "vs_1", OutcomeRevision: 1})
			return err
		}},
		{"resolve", mark(declined)},
		{"resolve otherwise", mark(closed)},
		{"take back", mark(takeBack)},
		{"use the allowance", func() error {
			_, err := r.RetryVerification(t.Context(), retryRequest("vs_1"))
			return err
		}},
	} {
		lose.Store(true)
		if err := step.call(); status.Code(err) != codes.Unavailable {
			t.Fatalf("%s without an answer: %v, want UNAVAILABLE", step.name, err)
		}
		if err := step.call(); err != nil {
			t.Fatalf("%s again: %v", step.name, err)
		}
		record := one.record("vs_1")
		if want := int32(n + 2); record.Revision != want || len(record.History) != n+2 {
			t.Errorf("after %s twice: revision %d and %d entries, want %d of both", step.name, record.Revision, len(record.History), want)
		}
	}
	if record := one.record("vs_1"); record.RetriesGranted != 1 || record.Overrides != 1 {
		t.Errorf("%d granted, %d overrides; want 1 and 1", record.RetriesGranted, record.Overrides)
	}
}

package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
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

// resentStore sends each commit twice, as the client of Redis does if the answer is lost: the second one finds the record of the
// first, and then between.
type resentStore struct {
	Live
	between func()
}

func (s resentStore) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	if session, err := s.Live.Update(ctx, id, fn); err != nil {
		return session, err
	}
	s.between()
	return s.Live.Update(ctx, id, fn)
}

// observed starts a replica for a caller with a name. It returns the log and the outcomes of operators' calls.
func (b *backend) observed(t *testing.T, change func(*Config)) (*replica, *syncBuffer, *[]OperatorOutcome) {
	lines, outcomes := &syncBuffer{}, &[]OperatorOutcome{}
	r := b.replica(t, func(c *Config) {
		c.Principal = func(context.Context) string { return "token:anna" }
		c.ObserveOperator = func(_ Operation, o OperatorOutcome) { *outcomes = append(*outcomes, o) }
		c.Logger = slog.New(slog.NewTextHandler(lines, nil))
		change(c)
	})
	return r, lines, outcomes
}

// TestACommitThatIsSentTwiceHasItsLineInTheLog, once, whatever came after the first one. It changes nothing twice.
func TestACommitThatIsSentTwiceHasItsLineInTheLog(t *testing.T) {
	for name, between := range map[string]func(stripe *fakeStripe, r *replica){
		"nothing":                       func(*fakeStripe, *replica) {},
		"another outcome":               func(stripe *fakeStripe, r *replica) { r.failAt(stripe, "vs_1", 2, 5) },
		"another operator's resolution": func(_ *fakeStripe, r *replica) { r.resolve("vs_1", closed) },
		"a redaction": func(_ *fakeStripe, r *replica) {
			r.apply(eventOf(3, 9, object("vs_1", "requires_input", func(o *verification.Object) { o.Redaction = verification.RedactionRedacted })))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBackend(t)
			stripe, other := b.retries(t)
			var after verification.Session
			r, lines, outcomes := b.observed(t, func(c *Config) {
				c.Live = resentStore{c.Live, func() {
					between(stripe, other)
					after = other.record("vs_1")
				}}
			})
			other.failAt(stripe, "vs_1", 1, 1)
			_, err := r.ResolveVerification(t.Context(), &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: declined, OutcomeRevision: 1})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(lines.String(), "an operator resolved a session"); got != 1 || !slices.Equal(*outcomes, []OperatorOutcome{OperatorChanged}) {
				t.Errorf("%d lines, outcomes %v:\n%s", got, *outcomes, lines.String())
			}
			want := after.Revision
			if after.Resolution.Kind != verification.ResolutionDeclined {
				want++ // the caller is answered that its own mark holds
			}
			if record := other.record("vs_1"); record.Revision != want || record.Resolution.Kind != verification.ResolutionDeclined {
				t.Errorf("revision %d after %d, resolved as %+v", record.Revision, after.Revision, record.Resolution)
			}
		})
	}
}

// TestG9_ACommitThatIsSentTwiceAllowsOneTry, also if the person has used it and failed again before the second one.
func TestG9_ACommitThatIsSentTwiceAllowsOneTry(t *testing.T) {
	b := newBackend(t)
	b.policy.MaxRetries = 0
	stripe, other := b.retries(t)
	r, lines, outcomes := b.observed(t, func(c *Config) {
		c.Live = resentStore{c.Live, func() {
			other.retry(retryRequest("vs_1"))
			other.failAt(stripe, "vs_1", 2, 5)
		}}
	})
	other.failAt(stripe, "vs_1", 1, 1)
	if shown := r.allow("vs_1"); shown.GetRetry().GetOverrideOpen() || shown.GetRetry().GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED {
		t.Errorf("allowed: %v", shown.GetRetry())
	}
	if entries := operators(other.record("vs_1")); entries != 1 || strings.Count(lines.String(), "an operator allowed one more try") != 1 {
		t.Errorf("%d entries, outcomes %v:\n%s", entries, *outcomes, lines.String())
	}
}

// TestAnotherOperatorsChangeIsNotTheCallers: the call that lost the race changed nothing, and has no line.
func TestAnotherOperatorsChangeIsNotTheCallers(t *testing.T) {
	b := newBackend(t)
	stripe, other := b.retries(t)
	r, lines, outcomes := b.observed(t, func(c *Config) {
		c.Live = overtakenStore{c.Live, func() { other.resolve("vs_1", declined) }}
	})
	other.failAt(stripe, "vs_1", 1, 1)
	r.resolve("vs_1", declined)
	if !slices.Equal(*outcomes, []OperatorOutcome{OperatorUnchanged}) || strings.Contains(lines.String(), "an operator") || operators(other.record("vs_1")) != 1 {
		t.Errorf("outcomes %v, %d entries:\n%s", *outcomes, operators(other.record("vs_1")), lines.String())
	}
}

// overtakenStore calls between before each commit, which it then makes on the newer record.
type overtakenStore struct {
	Live
	between func()
}

func (s overtakenStore) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	current, err := s.Get(ctx, id)
	if err != nil {
		return current, err
	}
	if _, _, err := fn(current); err != nil {
		return current, err
	}
	s.between()
	return s.Live.Update(ctx, id, fn)
}

// TestAnUnansweredCommitOfAnOperatorIsLogged: the caller and the log are told that the change can be there. A call that
// surely changed nothing has no such line.
func TestAnUnansweredCommitOfAnOperatorIsLogged(t *testing.T) {
	b := newBackend(t)
	stripe, one := b.retries(t)
	r, lines, outcomes := b.observed(t, func(c *Config) {
		c.Live = uncached{answerlessStore{c.Live.(store.Store), func() bool { return true }}, c.Live.Hub(), 0}
	})
	one.failAt(stripe, "vs_1", 1, 1)
	for n, kind := range []verificationv1.ResolutionKind{takeBack, declined, declined} {
		_, err := r.ResolveVerification(t.Context(), &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: kind})
		if status.Code(err) != codes.Unavailable {
			t.Errorf("call %d: %v, want UNAVAILABLE", n, err)
		}
		const warning = `level=WARN msg="an operator's call failed, and its change can be stored"`
		if got, want := strings.Count(lines.String(), warning), min(n, 1); got != want {
			t.Errorf("after call %d: %d warnings, want %d:\n%s", n, got, want, lines.String())
		}
	}
	if want := "operation=resolve session_id=vs_1 principal=token:anna"; !strings.Contains(lines.String(), want) {
		t.Errorf("the log lacks %s:\n%s", want, lines.String())
	}
	if !slices.Equal(*outcomes, []OperatorOutcome{OperatorFailed, OperatorFailed, OperatorFailed}) {
		t.Errorf("outcomes %v", *outcomes)
	}
}

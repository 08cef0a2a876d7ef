package rpc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// TestG9_OperatorsWebhooksAndRetriesAtOnceOverTheCalls: two operators at two servers that lose answers, callers that retry, and
// webhooks in any order, all for one session.
func TestG9_OperatorsWebhooksAndRetriesAtOnceOverTheCalls(t *testing.T) {
	first := uint64(time.Now().UnixNano())
	for n := range uint64(5) {
		seed := first + n
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { operatorsAtOnce(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

// chance is a source of random numbers for many goroutines.
type chance struct {
	mu     sync.Mutex
	random *rand.Rand
}

func (c *chance) below(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n)
}

// actsOfOperators has the revisions that operators' calls were answered with, by the name of the operator.
type actsOfOperators struct {
	t       *testing.T
	mu      sync.Mutex
	answers []*verificationv1.Verification
}

// decide makes a call with the outcome_revision that the operator saw, until it is answered, and checks the answer: a call that
// succeeds was decided for the outcome that the operator saw, and a conflict names another one.
func (a *actsOfOperators) decide(seen int32, call func(seen int32) (*verificationv1.Verification, error)) {
	for range 20 {
		shown, err := call(seen)
		switch {
		case err == nil:
			if seen != 0 && shown.GetOutcomeRevision() != seen {
				a.t.Errorf("a decision about outcome %d was made for outcome %d", seen, shown.GetOutcomeRevision())
			}
			a.mu.Lock()
			a.answers = append(a.answers, shown)
			a.mu.Unlock()
			return
		case isOutcomeChange(err):
			now, _ := strconv.Atoi(detailsOf(a.t, err).info.GetMetadata()[metadataOutcome])
			if seen == 0 || int32(now) <= seen {
				a.t.Errorf("a conflict of outcome %d with outcome %d", seen, now)
			}
			return
		case denialOf(err) != "":
			return
		case status.Code(err) != codes.Unavailable && status.Code(err) != codes.Aborted:
			a.t.Errorf("an operator's call: %v", err)
			return
		}
	}
	a.t.Error("an operator's call was not answered in 20 tries")
}

func operatorsAtOnce(t *testing.T, random *rand.Rand) {
	const retries, failures = 1, 6
	b, stripe, one := retryBench(t)
	b.policy.MaxRetries, one.service.config.Policy.MaxRetries = retries, retries
	dice := &chance{random: random}
	lost := func() bool { return dice.below(4) == 0 }
	servers := []*replica{b.losing(t, "token:anna", lost), b.losing(t, "token:ben", lost)}
	one.failAt(stripe, "vs_1", 1, 2)
	acts := &actsOfOperators{t: t}
	var failed sync.Mutex
	events := 1

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 6 {
		var calls sync.WaitGroup
		for n := range 8 {
			act, r, guarded := dice.below(6), servers[n%2], dice.below(3) > 0
			var seen int32
			if guarded {
				seen = one.status("vs_1").GetOutcomeRevision()
			}
			calls.Go(func() {
				switch act {
				case 0, 1:
					acts.decide(seen, func(seen int32) (*verificationv1.Verification, error) {
						response, err := r.AllowRetry(ctx, &verificationv1.AllowRetryRequest{SessionId: "vs_1", OutcomeRevision: seen})
						return response.GetVerification(), err
					})
				case 2:
					kind := []verificationv1.ResolutionKind{declined, closed, takeBack, takeBack}[dice.below(4)]
					acts.decide(seen, func(seen int32) (*verificationv1.Verification, error) {
						response, err := r.ResolveVerification(ctx, &verificationv1.ResolveVerificationRequest{SessionId: "vs_1", Kind: kind, OutcomeRevision: seen})
						if err == nil && response.GetVerification().GetResolution().GetKind() != kind {
							t.Errorf("resolved as %v: the answer has %v", kind, response.GetVerification().GetResolution())
						}
						return response.GetVerification(), err
					})
				case 3, 4:
					_, _ = r.RetryVerification(ctx, retryRequest("vs_1"))
				default:
					failed.Lock()
					defer failed.Unlock()
					if events < failures {
						events++
						one.failAt(stripe, "vs_1", events, int64(events)*2)
					}
				}
			})
		}
		calls.Wait()
	}
	if ctx.Err() != nil {
		t.Fatal("the calls took too long")
	}
	checkActs(t, one.record("vs_1"), acts.answers, int32(events), retries)
}

// checkActs holds a record to what happened: each act is one revision, each allowance pays for one grant, and the mark is that of
// the last operator.
func checkActs(t *testing.T, record verification.Session, answers []*verificationv1.Verification, failed, retries int32) {
	t.Helper()
	var granted, allowed int32
	var mark verification.Operation
	at := map[int32]verification.Entry{}
	for _, entry := range record.History {
		if entry.Revision > 0 {
			at[entry.Revision] = entry
		}
		switch {
		case entry.Source == verification.SourceRetry:
			granted++
		case entry.Source != verification.SourceOperator:
		case entry.Revision == 0 || entry.Principal != "token:anna" && entry.Principal != "token:ben":
			t.Errorf("an operator's entry without revision or name: %+v", entry)
		case entry.Operation == verification.OperationAllowRetry:
			allowed++
		default:
			mark = entry.Operation
		}
	}
	if len(at) != int(record.Revision) {
		t.Errorf("%d revisions have entries, the record is at %d", len(at), record.Revision)
	}
	if record.FailedAttempts != failed {
		t.Errorf("%d failures are counted, want %d", record.FailedAttempts, failed)
	}
	if record.RetriesGranted != granted || record.Overrides > allowed || granted-record.Overrides > retries {
		t.Errorf("granted %d and %d overrides, with %d grants and %d allowances in the history and a limit of %d",
			record.RetriesGranted, record.Overrides, granted, allowed, retries)
	}
	if resolved := record.Resolution.Kind != verification.ResolutionNone; resolved != (mark == verification.OperationResolve) {
		t.Errorf("the resolution is %+v, the last operation %v", record.Resolution, mark)
	}
	for _, shown := range answers {
		if entry := at[shown.GetRevision()]; entry.Result.Resolution.Kind != verification.ResolutionKind(shown.GetResolution().GetKind()) {
			t.Errorf("an operator was shown %v at revision %d, the history has %v", shown.GetResolution(), shown.GetRevision(), entry.Result.Resolution)
		}
	}
}

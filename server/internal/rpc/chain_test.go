package rpc

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// chainCase is one way in which a replacement is broken off and continued.
type chainCase struct {
	life      int    // what the first process does before it dies
	continues string // the id by which the caller continues: "old id", "new id" or "reference"
	webhook   string // the successor's first event comes "before" the next call, "after" it, or "never"
	forgotten bool   // Stripe has forgotten the idempotency key
	unnamed   bool   // the successor's metadata has no room for the claim
}

func (c chainCase) String() string {
	return fmt.Sprintf("dies after %d, by %s, webhook %s, key forgotten %v, unnamed %v", c.life, c.continues, c.webhook, c.forgotten, c.unnamed)
}

// TestG9_AReplacementStoppedAtAnyPointIsFinishedByAnyCaller: the process dies before each of its reads and writes, of
// the store and of Stripe. At most MAX_RETRIES are granted, Stripe makes one session, and the counts are exact.
func TestG9_AReplacementStoppedAtAnyPointIsFinishedByAnyCaller(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds; without -short: go test -count=1 ./server/internal/rpc")
	}
	redis := redistest.Any(t)
	cases := 0
	var points int
	for life := 0; ; life++ {
		finished := false
		for _, continues := range []string{"old id", "new id", "reference"} {
			for _, webhook := range []string{"before", "after", "never"} {
				for _, kind := range []chainCase{{}, {forgotten: true}, {unnamed: true}} {
					c := chainCase{life, continues, webhook, kind.forgotten, kind.unnamed}
					t.Run(c.String(), func(t *testing.T) {
						finished = c.run(t, newBackendAt(redis, fmt.Sprintf("case%d:", cases)))
					})
					cases++
				}
			}
		}
		if points = life; finished {
			break
		}
	}
	t.Logf("%d cases, %d points to stop at", cases, points)
	if points < 12 {
		t.Errorf("%d points to stop at; want 12 or more", points)
	}
}

// run plays a case; finished says that the process did not die.
func (c chainCase) run(t *testing.T, b *backend) (finished bool) {
	stripe, r := b.retries(t)
	b.policy.MaxRetries, r.service.config.Policy.MaxRetries = 3, 3
	stripe.unnamed = c.unnamed
	// Two failures, one retry used, canceled; the replacement uses the second, and one is left.
	r.comesTo(stripe, "vs_1", 1, func(o *verification.Object) { o.Reference = "person"; failure("document_expired", 1)(o) })
	r.retry(retryRequest("vs_1"))
	r.comesTo(stripe, "vs_1", 2, func(o *verification.Object) { o.Reference = "person"; failure("document_expired", 2)(o) })
	stripe.set(object("vs_1", "canceled", reference("person")))
	r.webhook(stripe, "vs_1", 3)

	dying, process, closed := r.crashing(stripe, c.life)
	_, _ = dying.RetryVerification(t.Context(), replaceRequest("vs_1"))
	closed()
	finished = !process.died()

	made := len(stripe.successors()) > 0
	if c.webhook == "before" && made {
		r.webhook(stripe, "vs_1r", 0)
		r.webhook(stripe, "vs_1r", 0)
	}
	heir, err := r.store.Get(t.Context(), "vs_1r")
	named := err == nil && heir.UnfinishedPredecessor()+heir.Predecessor != ""
	switch {
	case !made && (c.continues == "new id" || c.webhook != "never" || c.forgotten):
		return finished // there is no such id, event or key
	case made && !named && c.unnamed && c.continues != "old id":
		return finished // nothing but Stripe's key knows whose successor it is
	case made && c.forgotten && r.record("vs_1").SupersededBy == "":
		return finished // nothing was heard of it for a day
	}
	if c.forgotten {
		stripe.dropKeys()
	}
	r.continueAs(stripe, c.continues)
	if c.webhook == "after" {
		r.webhook(stripe, "vs_1r", 0)
	}
	for n := 1; n <= 3; n++ {
		r.comesTo(stripe, "vs_1r", n+3, func(o *verification.Object) {
			o.Reference, o.Created = "person", t0+100
			if !c.unnamed {
				o.Replaces = "vs_1"
			}
			failure("document_expired", n)(o)
		})
		r.continueAs(stripe, c.continues)
	}
	if got := r.grants("vs_1", "vs_1r"); got != 3 {
		t.Errorf("%d retries were granted, want 3", got)
	}
	if made := stripe.successors(); len(made) != 1 {
		t.Errorf("Stripe made %v, want one session", made)
	}
	checkHeir(t, r.record("vs_1"), r.record("vs_1r"))
	if got := r.status("vs_1r").GetRetry(); got.GetFailedAttempts() != 5 || got.GetRetriesGranted() != 3 || got.GetDenial() != verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED {
		t.Errorf("%v; want 5 failed, 3 granted, at the limit", got)
	}
	return finished
}

// continueAs makes the next call, as a caller that knows the session by this.
func (r *replica) continueAs(stripe *fakeStripe, by string) {
	r.t.Helper()
	id := "vs_1"
	switch by {
	case "new id":
		id = "vs_1r"
	case "reference":
		response, err := r.GetStatus(r.t.Context(), &verificationv1.GetStatusRequest{
			Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: "person"},
		})
		if err != nil {
			r.t.Fatal(err)
		}
		id = response.GetVerification().GetSessionId()
	}
	if _, err := r.RetryVerification(r.t.Context(), replaceRequest(id)); err != nil && status.Code(err) != codes.FailedPrecondition {
		r.t.Errorf("by %s: %v", by, err)
	}
}

// TestG9_WhereverTheSuccessorsWebhookStops: it is delivered again, and does what the first delivery did not.
func TestG9_WhereverTheSuccessorsWebhookStops(t *testing.T) {
	for life := 0; ; life++ {
		_, stripe, r := retryBench(t)
		r.closed(stripe, "vs_1")
		if !stoppedAt(r, 5, replaceRequest("vs_1")) { // made, and not read
			t.Fatal("no such step")
		}
		service, process, closed := r.crashing(stripe, life)
		event := stripe.eventNow("vs_1r", 0)
		_, err := service.config.Ingest.(interface {
			Apply(ctx context.Context, event verification.Event) (verification.Outcome, error)
		}).Apply(t.Context(), event)
		closed()
		if process.died() != (err != nil) {
			t.Errorf("died after %d: %v; want an error exactly if something was not done", life, err)
		}
		r.apply(event)
		checkOneReplacement(t, r, stripe, 1)
		checkHeir(t, r.record("vs_1"), r.record("vs_1r"))
		if err == nil {
			if life < 4 {
				t.Errorf("%d points to stop at; want 4 or more", life)
			}
			return
		}
	}
}

// TestG9_ASuccessorIsFoundAfterStripeHasDroppedTheKey, where anything here has learned of it: the old session names it.
func TestG9_ASuccessorIsFoundAfterStripeHasDroppedTheKey(t *testing.T) {
	for name, learn := range map[string]func(r *replica, stripe *fakeStripe) error{
		"webhook": func(r *replica, stripe *fakeStripe) error { r.webhook(stripe, "vs_1r", 0); return nil },
		"lookup": func(r *replica, _ *fakeStripe) error {
			_, err := r.GetStatus(r.t.Context(), statusByID("vs_1r"))
			return err
		},
		"catch-up": func(r *replica, _ *fakeStripe) error {
			_, err := r.ingest.Reread(r.t.Context(), verification.Session{ID: "vs_1r"})
			return err
		},
		"retry": func(r *replica, _ *fakeStripe) error {
			_, err := r.RetryVerification(r.t.Context(), retryRequest("vs_1r"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, stripe, r := retryBench(t)
			r.closed(stripe, "vs_1")
			if !stoppedAt(r, 5, replaceRequest("vs_1")) {
				t.Fatal("no such step")
			}
			if err := learn(r, stripe); err != nil {
				t.Fatal(err)
			}
			stripe.dropKeys()
			if got := r.retry(replaceRequest("vs_1")).GetVerification().GetSessionId(); got != "vs_1r" {
				t.Errorf("continued with %s, want vs_1r", got)
			}
			checkOneReplacement(t, r, stripe, 1)
		})
	}
}

// TestG9_ChainsInheritTheEldestFirst: nothing of a chain of three has inherited yet when the youngest is asked for.
func TestG9_ChainsInheritTheEldestFirst(t *testing.T) {
	_, stripe, r := retryBench(t)
	granted := func(id, replaces string) {
		r.comesTo(stripe, id, 1, func(o *verification.Object) { o.Replaces = replaces; failure("document_expired", 1)(o) })
		stripe.set(object(id, "canceled", func(o *verification.Object) { o.Replaces = replaces }))
		if _, err := r.store.Update(t.Context(), id, func(s verification.Session) (verification.Session, bool, error) {
			s, _ = verification.Transition(s, stripe.eventNow(id, 2))
			s, _, _ = verification.GrantReplacement(s, verification.RetryPolicy{MaxRetries: 9}, r.service.config.Clock(), "", "")
			// As if nothing had been inherited: the commits are those of processes that died.
			s.Predecessor, s.Inherited = "", verification.Inheritance{}
			return s, true, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	granted("vs_1", "")
	if _, err := r.store.Update(t.Context(), "vs_2", func(s verification.Session) (verification.Session, bool, error) {
		s, _ = verification.Transition(s, eventOf(1, 10, object("vs_2", "requires_input", func(o *verification.Object) { o.Replaces = "vs_1"; failure("document_expired", 1)(o) })))
		s, _ = verification.Transition(s, eventOf(2, 20, object("vs_2", "canceled")))
		s, _, _ = verification.GrantReplacement(s, verification.RetryPolicy{MaxRetries: 9}, r.service.config.Clock(), "", "")
		return s, true, nil
	}); err != nil {
		t.Fatal(err)
	}
	r.comesTo(stripe, "vs_3", 5, func(o *verification.Object) { o.Replaces = "vs_2"; failure("document_expired", 1)(o) })
	checkHeir(t, r.record("vs_1"), r.record("vs_2"))
	checkHeir(t, r.record("vs_2"), r.record("vs_3"))
	r.denied(retryRequest("vs_3"), verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)
	if got := r.record("vs_3"); got.FailedAttempts != 3 || got.RetriesGranted != 2 {
		t.Errorf("the youngest: %d failed, %d granted; want 3 and 2", got.FailedAttempts, got.RetriesGranted)
	}
}

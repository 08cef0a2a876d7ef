package ingest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

func TestAnEventIsAppliedAndKeptWithItsTimeOfRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &records{}
		i := newIngest(t, kept, nil)
		time.Sleep(90 * time.Minute)
		if outcome := apply(t, i, event(1, 0, checking)); outcome.Effect != verification.EffectApplied {
			t.Errorf("outcome %+v", outcome)
		}
		session := kept.session(t)
		if session.Status != verification.StatusProcessing || session.Revision != 1 {
			t.Errorf("session %+v", session)
		}
		if got := session.History[0].RecordTime; got != time.Now().UnixMilli() {
			t.Errorf("recorded at %d, the clock says %d", got, time.Now().UnixMilli())
		}
	})
}

func TestARepeatedEventIsADuplicateAndWritesNothing(t *testing.T) {
	kept := &records{}
	i := newIngest(t, kept, says(passed, base))
	apply(t, i, event(1, 0, failed))
	before := kept.session(t)
	if outcome := apply(t, i, event(1, 0, failed)); !outcome.Duplicate || outcome.Write {
		t.Errorf("outcome %+v", outcome)
	}
	if after := kept.session(t); after.Revision != before.Revision || len(after.History) != 1 || after.FailedAttempts != 1 {
		t.Errorf("session %+v", after)
	}
}

// ambiguous is a record that shows a failure, and an event of the same second that says verified: only
// Stripe can tell which came last.
func ambiguous(t *testing.T, asked Stripe) (*records, *Ingest, verification.Event) {
	t.Helper()
	kept := &records{}
	i := newIngest(t, kept, asked)
	apply(t, i, event(1, 5, failed))
	return kept, i, event(2, 5, passed)
}

func TestAnAmbiguousOrderIsResolvedByStripe(t *testing.T) {
	tests := []struct {
		name   string
		truth  verification.Object
		status string
		effect verification.Effect
	}{
		{"the event was the last", passed, verification.StatusVerified, verification.EffectApplied},
		{"the record was the last", failed, verification.StatusRequiresInput, verification.EffectStale},
		{"neither was", failed2nd, verification.StatusRequiresInput, verification.EffectStale},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			asked := says(test.truth, base+7)
			kept, i, second := ambiguous(t, asked)
			outcome := apply(t, i, second)
			session := kept.session(t)
			if outcome.Effect != test.effect || outcome.Ambiguous {
				t.Errorf("outcome %+v, want effect %d", outcome, test.effect)
			}
			if session.Status != test.status || session.Error != test.truth.Error || session.Report != test.truth.Report || session.Unresolved {
				t.Errorf("session %+v, want what Stripe says", session)
			}
			if asked.count() != 1 {
				t.Errorf("%d GETs, want 1", asked.count())
			}
		})
	}
}

func TestAnAmbiguousOrderIsNotResolvedByAReadBegunBeforeTheEventArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := make(chan struct{})
		asked := &stripe{}
		asked.retrieve = func(_ context.Context, n int) (verification.Retrieved, error) {
			if n == 1 {
				<-old // under way, and it saw the world before the event
				return verification.Retrieved{Object: failed, AsOf: base + 4}, nil
			}
			return verification.Retrieved{Object: passed, AsOf: base + 7}, nil
		}
		kept, i, second := ambiguous(t, asked)
		go func() { _, _ = i.Reread(t.Context(), verification.Session{ID: sessionID, Unresolved: true}) }()
		synctest.Wait()
		answered := make(chan verification.Outcome, 1)
		go func() {
			outcome, err := i.Apply(t.Context(), second)
			if err != nil {
				t.Error(err)
			}
			answered <- outcome
		}()
		synctest.Wait()
		if asked.count() != 1 {
			t.Fatalf("%d GETs at the same time for one session", asked.count())
		}
		close(old)
		<-answered
		if asked.count() != 2 {
			t.Errorf("%d GETs: the event shared one that was under way", asked.count())
		}
		if got := kept.session(t); got.Status != verification.StatusVerified || got.Unresolved {
			t.Errorf("the stale answer won: %+v", got)
		}
	})
}

// overtaking lets another event in while each GET is under way: every answer is overtaken.
func overtaking(kept *records, times int) *stripe {
	asked := &stripe{}
	asked.retrieve = func(_ context.Context, n int) (verification.Retrieved, error) {
		if n <= times {
			kept.mu.Lock()
			defer kept.mu.Unlock()
			// The counts of applied inputs are what a read is held against.
			session := kept.held[sessionID]
			session.Applied++
			kept.held[sessionID] = session
		}
		return verification.Retrieved{Object: passed, AsOf: base + 7}, nil
	}
	return asked
}

func TestAnOvertakenReadIsMadeAgainUpToThreeTimesThenTheRuleDecides(t *testing.T) {
	tests := []struct {
		overtaken, gets int
		effect          verification.Effect
		pending         bool
	}{
		{0, 1, verification.EffectApplied, false},
		{1, 2, verification.EffectApplied, false},
		{2, 3, verification.EffectApplied, false},
		{3, 3, verification.EffectPending, true},
		{100, 3, verification.EffectPending, true},
	}
	for _, test := range tests {
		kept := &records{}
		asked := overtaking(kept, test.overtaken)
		i := newIngest(t, kept, asked)
		apply(t, i, event(1, 5, failed))
		outcome := apply(t, i, event(2, 5, passed))
		session := kept.session(t)
		if asked.count() != test.gets || outcome.Effect != test.effect || session.Unresolved != test.pending {
			t.Errorf("%d overtaken: %d GETs, %+v, pending %v; want %d, effect %d, %v",
				test.overtaken, asked.count(), outcome, session.Unresolved, test.gets, test.effect, test.pending)
		}
		if !session.Knows("evt_2") {
			t.Errorf("%d overtaken: the event was not kept", test.overtaken)
		}
	}
}

func TestAnOrderThatIsNoLongerAmbiguousIsNotReadAgain(t *testing.T) {
	kept := &records{}
	asked := &stripe{}
	var i *Ingest
	asked.retrieve = func(ctx context.Context, _ int) (verification.Retrieved, error) {
		// A later second arrives while Stripe is asked: the event is plainly older now.
		if _, err := i.Apply(ctx, event(3, 9, failed2nd)); err != nil {
			t.Error(err)
		}
		return verification.Retrieved{Object: passed, AsOf: base + 7}, nil
	}
	i = newIngest(t, kept, asked)
	apply(t, i, event(1, 5, failed))
	outcome := apply(t, i, event(2, 5, passed))
	if outcome.Effect != verification.EffectStale || asked.count() != 1 {
		t.Errorf("%+v after %d GETs, want stale after 1", outcome, asked.count())
	}
	if got := kept.session(t); got.Error.Code != "selfie_face_mismatch" {
		t.Errorf("session %+v", got)
	}
}

func TestStripesFailureIsNoErrorOfApplyAndTheRuleDecides(t *testing.T) {
	tests := []struct {
		name  string
		asked Stripe
	}{
		{"no key", nil},
		{"away", fails(verification.ErrStripeUnavailable)},
		{"404", fails(verification.ErrStripeUnknown)},
		{"401", fails(verification.ErrStripeUnauthorized)},
		{"budget", fails(verification.ErrStripeBudget)},
		{"refused", fails(&verification.StripeRefusedError{Code: "parameter_invalid"})},
		{"unheard of", fails(errors.New("boom"))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			kept, i, second := ambiguous(t, test.asked)
			outcome := apply(t, i, second)
			if outcome.Effect != verification.EffectPending || !outcome.Write {
				t.Errorf("outcome %+v, want pending", outcome)
			}
			// Of equal rank verified stands.
			if got := kept.session(t); got.Status != verification.StatusVerified || !got.Unresolved || got.FailedAttempts != 1 {
				t.Errorf("session %+v", got)
			}
		})
	}
}

func TestAnAmbiguousOrderTakesAtMostTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &stripe{}
		asked.retrieve = func(ctx context.Context, _ int) (verification.Retrieved, error) {
			<-ctx.Done() // never answers
			return verification.Retrieved{}, ctx.Err()
		}
		kept, i, second := ambiguous(t, asked)
		began := time.Now()
		outcome := apply(t, i, second)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
		if outcome.Effect != verification.EffectPending || kept.session(t).Status != verification.StatusVerified {
			t.Errorf("outcome %+v", outcome)
		}
	})
}

func TestAnAmbiguousOrderBehindASlowReadTakesAtMostTwoSecondsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &stripe{}
		asked.retrieve = func(context.Context, int) (verification.Retrieved, error) {
			time.Sleep(1900 * time.Millisecond)
			return verification.Retrieved{Object: passed, AsOf: base + 7}, nil
		}
		kept, i, second := ambiguous(t, asked)
		go func() { _, _ = i.Reread(t.Context(), verification.Session{ID: sessionID}) }()
		synctest.Wait()
		began := time.Now()
		outcome := apply(t, i, second)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("took %v: it waited for two reads", took)
		}
		if !outcome.Write || !kept.session(t).Knows(second.ID) {
			t.Errorf("outcome %+v: the event was not kept", outcome)
		}
	})
}

func TestTheStoresFailureIsAnErrorOfApply(t *testing.T) {
	for _, fault := range []error{store.ErrUnavailable, store.ErrConflict, store.ErrCorrupt} {
		kept := &records{fail: fault}
		i := newIngest(t, kept, says(passed, base))
		if _, err := i.Apply(t.Context(), event(1, 0, failed)); !errors.Is(err, fault) {
			t.Errorf("error %v, want %v", err, fault)
		}
	}
}

func TestTheStoresFailureDuringTheReadOfAnAmbiguousOrderIsAnErrorOfApply(t *testing.T) {
	kept := &records{}
	asked := &stripe{}
	asked.retrieve = func(context.Context, int) (verification.Retrieved, error) {
		kept.mu.Lock()
		defer kept.mu.Unlock()
		kept.fail = store.ErrUnavailable
		return verification.Retrieved{Object: passed, AsOf: base + 7}, nil
	}
	i := newIngest(t, kept, asked)
	apply(t, i, event(1, 5, failed))
	if _, err := i.Apply(t.Context(), event(2, 5, passed)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v: an event that is not kept was acknowledged", err)
	}
}

func TestACanceledWebhookEndsTheReadOfAnAmbiguousOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &stripe{}
		asked.retrieve = func(ctx context.Context, _ int) (verification.Retrieved, error) {
			<-ctx.Done()
			return verification.Retrieved{}, ctx.Err()
		}
		kept, i, second := ambiguous(t, asked)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second/2, cancel)
		if _, err := i.Apply(ctx, second); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if kept.session(t).Knows(second.ID) {
			t.Error("it wrote after its context had ended")
		}
	})
}

func TestTwoDeliveriesOfOneAmbiguousEventCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &records{}
		asked := &stripe{}
		asked.retrieve = func(context.Context, int) (verification.Retrieved, error) {
			time.Sleep(100 * time.Millisecond)
			return verification.Retrieved{Object: failed, AsOf: base + 7}, nil
		}
		i := newIngest(t, kept, asked)
		apply(t, i, event(1, 5, passed))
		outcomes := make(chan verification.Outcome, 8)
		for range cap(outcomes) {
			go func() {
				outcome, err := i.Apply(t.Context(), event(2, 5, failed))
				if err != nil {
					t.Error(err)
				}
				outcomes <- outcome
			}()
		}
		first := 0
		for range cap(outcomes) {
			if outcome := <-outcomes; !outcome.Duplicate {
				first++
			}
		}
		session := kept.session(t)
		if first != 1 || session.FailedAttempts != 1 || session.Status != verification.StatusRequiresInput || session.Unresolved {
			t.Errorf("%d took effect; session %+v", first, session)
		}
		if asked.count() > 2 {
			t.Errorf("%d GETs: those who wait share one", asked.count())
		}
	})
}

func TestAnUpdateThatIsTriedAgainReportsItsLastTry(t *testing.T) {
	kept := &records{}
	i := newIngest(t, kept, nil)
	apply(t, i, event(1, 5, open))
	kept.raced = func(held map[string]verification.Session) {
		held[sessionID], _ = verification.Transition(held[sessionID], event(2, 6, failed))
	}
	// First met with the open session it would apply; the other writer brought the very same event.
	if outcome := apply(t, i, event(2, 6, failed)); !outcome.Duplicate {
		t.Errorf("outcome %+v, want a duplicate", outcome)
	}
}

package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

func TestAHundredCallersForOneUnknownSessionMakeOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &records{}
		gate := make(chan struct{})
		asked := &stripe{}
		asked.retrieve = func(context.Context, int) (verification.Retrieved, error) {
			<-gate
			return verification.Retrieved{Object: passed, AsOf: base}, nil
		}
		i := newIngest(t, kept, asked)
		errs := make(chan error, 100)
		for range cap(errs) {
			go func() {
				session, err := i.ReadUnknown(t.Context(), "", sessionID)
				if err == nil && session.Status != verification.StatusVerified {
					err = errors.New("it is " + session.Status)
				}
				errs <- err
			}()
		}
		synctest.Wait()
		close(gate)
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if asked.count() != 1 || kept.session(t).Revision != 1 {
			t.Errorf("%d GETs, revision %d; want 1 and 1", asked.count(), kept.session(t).Revision)
		}
		if source := kept.session(t).History[0].Source; source != verification.SourceStripeAPI {
			t.Errorf("source %d", source)
		}
	})
}

func TestACallersCancelDoesNotEndTheOthersRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &stripe{}
		asked.retrieve = func(ctx context.Context, _ int) (verification.Retrieved, error) {
			select {
			case <-time.After(time.Second):
				return verification.Retrieved{Object: passed, AsOf: base}, nil
			case <-ctx.Done():
				return verification.Retrieved{}, ctx.Err()
			}
		}
		i := newIngest(t, &records{}, asked)
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := i.ReadUnknown(ctx, "", sessionID)
			first <- err
		}()
		synctest.Wait()
		second := make(chan error, 1)
		go func() {
			_, err := i.ReadUnknown(t.Context(), "", sessionID)
			second <- err
		}()
		synctest.Wait()
		cancel() // the first caller's, in whose call the read began
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the first got %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("the second got %v", err)
		}
		if asked.count() != 1 {
			t.Errorf("%d GETs", asked.count())
		}
	})
}

func TestAReadThatNobodyWaitsForEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := &stripe{}
		asked.retrieve = func(ctx context.Context, _ int) (verification.Retrieved, error) {
			<-ctx.Done()
			return verification.Retrieved{}, verification.ErrStripeUnavailable
		}
		i := newIngest(t, &records{}, asked)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := i.ReadUnknown(ctx, "", sessionID); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		began := time.Now()
		i.Close()
		if took := time.Since(began); took == 0 || took > readTimeout {
			t.Errorf("Close took %v; it must wait for the read, which is bounded by %v", took, readTimeout)
		}
	})
}

func TestG15_AMissAtStripeIsCachedLongerEachTime(t *testing.T) {
	var now atomic.Int64
	asked := fails(verification.ErrStripeUnknown)
	asked.find = func(context.Context, string) (verification.Retrieved, error) {
		return verification.Retrieved{}, verification.ErrStripeUnknown
	}
	i := New(Config{
		Store: &records{}, Stripe: asked, Logger: slog.New(slog.DiscardHandler),
		Clock: func() time.Time { return time.Unix(base+now.Load(), 0) },
	})
	defer i.Close()
	for _, step := range []struct{ at, gets int64 }{
		{0, 1}, {1, 1}, {29, 1}, {30, 2}, {59, 2}, {149, 2}, {150, 3}, {749, 3}, {750, 4}, {1349, 4}, {1350, 5}, {1949, 5}, {1950, 6},
	} {
		now.Store(step.at)
		if _, err := i.ReadUnknown(t.Context(), "", sessionID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("error %v", err)
		}
		if _, err := i.ReadUnknownReference(t.Context(), sessionID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("error %v", err)
		}
		if int64(asked.count()) != step.gets || int64(asked.finds) != step.gets {
			t.Errorf("after %d s: %d GETs and %d searches, want %d each", step.at, asked.count(), asked.finds, step.gets)
		}
	}
}

func TestAFailureOfStripeIsNotCachedAsAMiss(t *testing.T) {
	for _, fault := range []error{verification.ErrStripeUnavailable, verification.ErrStripeUnauthorized, verification.ErrStripeBudget, &verification.StripeRefusedError{Code: "x"}} {
		asked := fails(fault)
		i := newIngest(t, &records{}, asked)
		for range 2 {
			if _, err := i.ReadUnknown(t.Context(), "", sessionID); !errors.Is(err, fault) {
				t.Errorf("error %v, want %v", err, fault)
			}
		}
		if asked.count() != 2 {
			t.Errorf("%v: %d GETs: the failure was kept as a miss", fault, asked.count())
		}
	}
}

func TestWithoutAKeyUnknownStaysUnknown(t *testing.T) {
	i := newIngest(t, &records{}, nil)
	if _, err := i.ReadUnknown(t.Context(), "", sessionID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("by id: %v", err)
	}
	if _, err := i.ReadUnknownReference(t.Context(), "person"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("by reference: %v", err)
	}
	current := verification.Session{ID: sessionID}
	if got, err := i.Reread(t.Context(), current); !errors.Is(err, verification.ErrStripeNotConfigured) || got.ID != sessionID {
		t.Errorf("again: %+v, %v", got, err)
	}
}

func TestAReadOfAnUnknownSessionNeverOverwritesAWebhookThatWasFaster(t *testing.T) {
	kept := &records{}
	asked := &stripe{}
	var i *Ingest
	asked.retrieve = func(ctx context.Context, _ int) (verification.Retrieved, error) {
		if _, err := i.Apply(ctx, event(1, 9, passed)); err != nil {
			t.Error(err)
		}
		return verification.Retrieved{Object: checking, AsOf: base + 1}, nil
	}
	i = newIngest(t, kept, asked)
	session, err := i.ReadUnknown(t.Context(), "", sessionID)
	if err != nil || session.Status != verification.StatusVerified || session.Revision != 1 {
		t.Errorf("%+v, %v", session, err)
	}
}

func TestAnUnknownReferenceIsReadOnceAndKept(t *testing.T) {
	kept := &records{}
	object := passed
	object.Reference = "person"
	asked := &stripe{find: func(context.Context, string) (verification.Retrieved, error) {
		return verification.Retrieved{Object: object, AsOf: base}, nil
	}}
	i := newIngest(t, kept, asked)
	session, err := i.ReadUnknownReference(t.Context(), "person")
	if err != nil || session.ID != sessionID || session.Reference != "person" {
		t.Errorf("%+v, %v", session, err)
	}
}

// A redacted session has no reference any more, whatever Stripe's list still says; and asking for
// it again and again must not use up the day's reads.
func TestARedactedSessionIsNotFoundByTheReferenceThatStripeStillShows(t *testing.T) {
	object := passed
	object.Reference, object.Redaction = "person", verification.RedactionRedacted
	asked := &stripe{find: func(context.Context, string) (verification.Retrieved, error) {
		return verification.Retrieved{Object: object, AsOf: base}, nil
	}}
	kept := &records{}
	i := newIngest(t, kept, asked)
	for range 3 {
		if session, err := i.ReadUnknownReference(t.Context(), "person"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%+v, %v", session, err)
		}
	}
	if asked.finds != 1 {
		t.Errorf("%d searches at Stripe, want 1", asked.finds)
	}
	if !kept.session(t).Tombstone() {
		t.Error("what Stripe said of the redaction was not kept")
	}
}

func TestRereadKeepsWhatIsNew(t *testing.T) {
	kept := &records{}
	i := newIngest(t, kept, says(passed, base+9))
	apply(t, i, event(1, 5, failed))
	session, err := i.Reread(t.Context(), kept.session(t))
	if err != nil || session.Status != verification.StatusVerified || session.Revision != 2 {
		t.Errorf("%+v, %v", session, err)
	}
	// What shows the same is no input.
	if again, err := i.Reread(t.Context(), session); err != nil || again.Revision != 2 || len(again.History) != 2 {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestTheStoresFailureIsAnErrorOfReadUnknown(t *testing.T) {
	i := newIngest(t, &records{fail: store.ErrUnavailable}, says(passed, base))
	if _, err := i.ReadUnknown(t.Context(), "", sessionID); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

func TestCloseWaitsForTheReadOfAnAmbiguousOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		asked := &stripe{}
		asked.retrieve = func(ctx context.Context, _ int) (verification.Retrieved, error) {
			<-ctx.Done() // nobody waits for the read any more
			time.Sleep(time.Millisecond)
			ended.Store(true)
			return verification.Retrieved{}, ctx.Err()
		}
		i := newIngest(t, &records{}, asked)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := i.read(ctx, verification.PurposeAmbiguous, open); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		i.Close()
		if !ended.Load() {
			t.Error("Close returned while a read was under way")
		}
	})
}

// Callers that ask for the same at the same time make one miss: it is not kept for ten minutes after the first
// asking.
func TestG15_AnswersToCallersAtTheSameTimeAreOneMiss(t *testing.T) {
	m, what, now := newMisses(), question{id: "vs_1"}, time.Now()
	for range 3 {
		m.add(what, now)
	}
	if !m.fresh(what, now.Add(missFor[0]-time.Second)) || m.fresh(what, now.Add(missFor[0])) {
		t.Errorf("three answers at once do not count as one miss for %v", missFor[0])
	}
	m.add(what, now.Add(missFor[0]))
	if !m.fresh(what, now.Add(missFor[0]+missFor[1]-time.Second)) {
		t.Errorf("the second miss is not kept for %v", missFor[1])
	}
}

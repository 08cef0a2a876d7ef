package ingest

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// applyAmbiguous applies two events of one second, whose order only Stripe knows. Stripe says passed.
func applyAmbiguous(t *testing.T, i *Ingest) verification.Outcome {
	t.Helper()
	apply(t, i, event(1, 5, passed))
	return apply(t, i, event(2, 9, failed))
}

// thin makes a Stripe that answers its GETs with these errors, and then that the person has passed.
func thin(faults ...error) *stripe {
	return &stripe{retrieve: func(_ context.Context, n int) (verification.Retrieved, error) {
		if n <= len(faults) {
			return verification.Retrieved{}, faults[n-1]
		}
		return verification.Retrieved{Object: passed, AsOf: base + 100}, nil
	}}
}

func TestG15_AnOrderDecidedByRuleUnderLoadIsReadAgainWithinSeconds(t *testing.T) {
	busy := verification.ErrStripeBusy
	tests := []struct {
		name   string
		faults []error
		within time.Duration
	}{
		{"busy once", []error{busy}, time.Second},
		{"busy three times", []error{busy, busy, busy}, 7 * time.Second},
		{"no answer within the webhook's time", []error{context.DeadlineExceeded}, time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept, asked := &records{}, thin(test.faults...)
				i := newIngest(t, kept, asked)
				if outcome := applyAmbiguous(t, i); outcome.Effect != verification.EffectPending {
					t.Fatalf("effect %v, want pending", outcome.Effect)
				}
				if s := kept.session(t); s.Status != verification.StatusRequiresInput || !s.Unresolved {
					t.Fatalf("by rule the status is %s, pending %v", s.Status, s.Unresolved)
				}
				time.Sleep(test.within)
				synctest.Wait()
				if s := kept.session(t); s.Status != verification.StatusVerified || s.Unresolved {
					t.Errorf("after %v the status is %s, pending %v; Stripe says verified", test.within, s.Status, s.Unresolved)
				}
				time.Sleep(time.Hour)
				if want := len(test.faults) + 1; asked.count() != want {
					t.Errorf("%d GETs, want %d", asked.count(), want)
				}
				if slices.ContainsFunc(asked.purposes, func(p verification.Purpose) bool { return p != verification.PurposeAmbiguous }) {
					t.Errorf("purposes %v, want only those of ambiguous events", asked.purposes)
				}
			})
		})
	}
}

func TestAnAmbiguousOrderDuringStripesOutageIsLeftToTheCatchUp(t *testing.T) {
	for _, fault := range []error{verification.ErrStripeUnavailable, verification.ErrStripeUnauthorized} {
		synctest.Test(t, func(t *testing.T) {
			asked := thin(fault)
			i := newIngest(t, &records{}, asked)
			applyAmbiguous(t, i)
			time.Sleep(time.Hour)
			if asked.count() != 1 {
				t.Errorf("%v: %d GETs, want 1", fault, asked.count())
			}
		})
	}
}

func TestAReadOfAnUnresolvedSessionIsRepeatedOnlyAFewTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := fails(verification.ErrStripeBusy)
		i := newIngest(t, &records{}, asked)
		applyAmbiguous(t, i)
		time.Sleep(time.Hour)
		if want := 1 + recheckTries; asked.count() != want {
			t.Errorf("%d GETs, want %d", asked.count(), want)
		}
	})
}

func TestCloseEndsWhatWaitsToBeReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := fails(verification.ErrStripeBusy)
		i := New(Config{Store: &records{}, Stripe: asked, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
		applyAmbiguous(t, i)
		began := time.Now()
		i.Close()
		if took := time.Since(began); took != 0 || asked.count() != 1 {
			t.Errorf("Close took %v, %d GETs", took, asked.count())
		}
	})
}

func TestRereadsAreForTheirPurpose(t *testing.T) {
	asked := says(passed, base)
	i := newIngest(t, &records{}, asked)
	unresolved := verification.Session{ID: sessionID, Unresolved: true}
	for _, err := range []error{
		second(i.Reread(t.Context(), unresolved)),
		second(i.Reread(t.Context(), verification.Session{ID: sessionID})),
		second(i.Refresh(t.Context(), unresolved)),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if want := []verification.Purpose{verification.PurposeAmbiguous, verification.PurposeCatchUp, verification.PurposeLookup}; !slices.Equal(asked.purposes, want) {
		t.Errorf("purposes %v, want %v", asked.purposes, want)
	}
}

func second(_ verification.Session, err error) error { return err }

func TestG15_AWebhookEndsAMissHoweverOftenItWasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := fails(verification.ErrStripeUnknown)
		kept := &records{}
		i := newIngest(t, kept, asked)
		for range 4 {
			time.Sleep(10 * time.Minute)
			_, _ = i.ReadUnknown(t.Context(), "", sessionID)
		}
		if asked.count() != 4 {
			t.Fatalf("%d GETs, want 4", asked.count())
		}
		apply(t, i, event(1, 1, open))
		clear(kept.held) // as where the store loses its last writes
		if _, _ = i.ReadUnknown(t.Context(), "", sessionID); asked.count() != 5 {
			t.Error("the miss is kept after the session's webhook")
		}
	})
}

package ingest

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// thinOf returns the thin event of an event.
func thinOf(e verification.Event, snapshot string) verification.Event {
	return verification.Event{ID: "thin_" + e.ID, Type: verification.ThinPrefix + e.Type, Source: e.Source, Second: e.Second,
		Object: verification.Object{ID: e.Object.ID}, Thin: true, Snapshot: snapshot}
}

// thinRig is an Ingest with a store, a Stripe and the wishes for a catch-up.
type thinRig struct {
	*Ingest
	kept *records
	mu   sync.Mutex
	// wished holds the ids of the events for which there was a wish, and whether the session was stored by then.
	wished []string
	early  bool
	refuse error // of a wish
}

func newThinRig(t *testing.T, asked Stripe) *thinRig {
	t.Helper()
	rig := &thinRig{kept: &records{}, early: true}
	rig.Ingest = New(Config{Store: rig.kept, Stripe: asked, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
		WishCatchUp: func(_ context.Context, event verification.Event) error {
			rig.mu.Lock()
			defer rig.mu.Unlock()
			if session, err := rig.kept.Get(t.Context(), event.Object.ID); err == nil && session.KnowsThin(event) {
				rig.early = false
			}
			rig.wished = append(rig.wished, event.ID)
			return rig.refuse
		}})
	t.Cleanup(rig.Close)
	return rig
}

func TestG16_AThinEventIsAppliedByItsSnapshotEvent(t *testing.T) {
	asked := says(failed, base) // must not be asked
	asked.events = map[string]verification.Event{"evt_2": {ID: "evt_2", Type: verification.EventVerified, Source: verification.SourceStripeAPI, Second: base + 5, Object: passed}}
	rig := newThinRig(t, asked)
	event := thinOf(event(2, 5, passed), "evt_2")
	if outcome := apply(t, rig.Ingest, event); outcome.Effect != verification.EffectApplied {
		t.Errorf("outcome %+v", outcome)
	}
	session := rig.kept.session(t)
	entry := session.History[0]
	if session.Status != verification.StatusVerified || len(session.History) != 1 || entry.EventID != "evt_2" || entry.EventType != verification.EventVerified ||
		entry.Source != verification.SourceWebhook || entry.RecordTime == 0 {
		t.Errorf("status %s, history %+v; want the snapshot event, brought by a webhook", session.Status, session.History)
	}
	for name, again := range map[string]verification.Event{"thin": event, "snapshot": asked.events["evt_2"]} {
		if outcome := apply(t, rig.Ingest, again); !outcome.Duplicate {
			t.Errorf("%s again: outcome %+v", name, outcome)
		}
	}
	if asked.count() != 0 || len(asked.listed) != 1 || len(rig.wished) != 0 {
		t.Errorf("%d GETs of the session, %d of the event, wishes %v; want 0, 1 and none", asked.count(), len(asked.listed), rig.wished)
	}
}

// The session says the mode of a thin event that does not. Nothing is kept of a session of the other mode.
func TestG16_ASessionOfTheOtherModeIsNotKept(t *testing.T) {
	for _, snapshot := range []string{"", "evt_2"} {
		for _, test := range []struct{ unknown, is, wanted, kept bool }{
			{true, true, true, true}, {true, false, false, true}, {true, true, false, false}, {true, false, true, false}, {false, true, false, true},
		} {
			object := passed
			object.Livemode = test.is
			asked := says(object, base+9)
			asked.events = map[string]verification.Event{"evt_2": {ID: "evt_2", Type: verification.EventVerified, Source: verification.SourceStripeAPI, Second: base + 5, Object: object}}
			rig := newThinRig(t, asked)
			rig.config.Livemode = &test.wanted
			event := thinOf(event(2, 5, passed), snapshot)
			event.ModeUnknown = test.unknown
			_, err := rig.Apply(t.Context(), event)
			session, missing := rig.kept.Get(t.Context(), event.Object.ID)
			if test.kept && (err != nil || missing != nil || session.Livemode != test.is) ||
				!test.kept && (!errors.Is(err, verification.ErrStripeOtherMode) || !errors.Is(missing, store.ErrNotFound) || len(rig.wished) > 0) {
				t.Errorf("%+v, snapshot event %q: error %v, record %v %v, wishes %v", test, snapshot, err, session.Exists(), session.Livemode, rig.wished)
			}
		}
	}
}

func TestG16_AThinEventOfAKnownSnapshotEventReadsNothing(t *testing.T) {
	asked := says(failed, base)
	rig := newThinRig(t, asked)
	apply(t, rig.Ingest, event(2, 5, passed))
	if outcome := apply(t, rig.Ingest, thinOf(event(2, 5, passed), "evt_2")); !outcome.Duplicate {
		t.Errorf("outcome %+v", outcome)
	}
	if asked.count() != 0 || len(asked.listed) != 0 {
		t.Errorf("%d GETs of the session, %d of the event; want none", asked.count(), len(asked.listed))
	}
}

// TestG16_AThinEventIsAppliedByARead: without a snapshot event, or where it cannot be had.
func TestG16_AThinEventIsAppliedByARead(t *testing.T) {
	for name, test := range map[string]struct {
		snapshot string
		eventErr error
	}{
		"it names none":          {"", nil},
		"Stripe has none":        {"evt_2", verification.ErrStripeUnknown},
		"events are forbidden":   {"evt_2", verification.ErrStripeUnauthorized},
		"the request is refused": {"evt_2", &verification.StripeRefusedError{Code: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			asked := says(failed, base+6)
			asked.eventErr = test.eventErr
			rig := newThinRig(t, asked)
			first := thinOf(event(2, 7, failed), test.snapshot)
			if outcome := apply(t, rig.Ingest, first); outcome.Effect != verification.EffectApplied {
				t.Errorf("outcome %+v", outcome)
			}
			session := rig.kept.session(t)
			entry := session.History[0]
			if session.Status != failed.Status || session.FailedAttempts != 1 || session.Second != base+7 || session.AsOf != base+6 ||
				entry.EventID != first.ID || entry.EventType != first.Type || entry.Source != verification.SourceWebhook || len(session.History) != 1 {
				t.Errorf("session %+v", session)
			}
			second := thinOf(event(3, 9, failed), "")
			if outcome := apply(t, rig.Ingest, second); outcome.Effect != verification.EffectStale {
				t.Errorf("nothing new: outcome %+v", outcome)
			}
			if session := rig.kept.session(t); session.Second != base+9 || session.Revision != 1 || len(session.History) != 2 {
				t.Errorf("nothing new: second %d, revision %d, history %+v", session.Second, session.Revision, session.History)
			}
			if outcome := apply(t, rig.Ingest, first); !outcome.Duplicate {
				t.Errorf("again: outcome %+v", outcome)
			}
			if asked.count() != 2 || len(rig.wished) != 2 || !rig.early || asked.purposes[0] != verification.PurposeAmbiguous {
				t.Errorf("%d GETs for %v, wishes %v, each before its commit: %v", asked.count(), asked.purposes, rig.wished, rig.early)
			}
		})
	}
}

// TestG16_WithoutAnAnswerNothingIsKept: Stripe delivers the event again.
func TestG16_WithoutAnAnswerNothingIsKept(t *testing.T) {
	for name, test := range map[string]struct {
		asked    *stripe
		snapshot string
		want     error
		gets     int
	}{
		"Stripe is away":                {fails(verification.ErrStripeUnavailable), "", verification.ErrStripeUnavailable, 1},
		"the rate is reached":           {fails(verification.ErrStripeBusy), "", verification.ErrStripeUnavailable, 1},
		"the key is refused":            {fails(verification.ErrStripeUnauthorized), "", verification.ErrStripeUnauthorized, 1},
		"the session is not there":      {fails(verification.ErrStripeUnknown), "", verification.ErrStripeUnknown, 1},
		"the account is refused":        {fails(verification.ErrStripeAccountRefused), "", verification.ErrStripeAccountRefused, 1},
		"the event, and Stripe is away": {&stripe{eventErr: verification.ErrStripeUnavailable}, "evt_1", verification.ErrStripeUnavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			rig := newThinRig(t, test.asked)
			if _, err := rig.Apply(t.Context(), thinOf(event(1, 5, passed), test.snapshot)); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if _, err := rig.kept.Get(t.Context(), sessionID); !errors.Is(err, store.ErrNotFound) || len(rig.wished) > 0 || test.asked.count() != test.gets {
				t.Errorf("kept: %v, wishes %v, %d GETs; want nothing and %d GETs", err, rig.wished, test.asked.count(), test.gets)
			}
		})
	}
	t.Run("no key", func(t *testing.T) {
		rig := newThinRig(t, nil)
		if _, err := rig.Apply(t.Context(), thinOf(event(1, 5, passed), "evt_1")); !errors.Is(err, verification.ErrStripeNotConfigured) {
			t.Errorf("error %v, want ErrStripeNotConfigured", err)
		}
	})
	t.Run("the wish is not stored", func(t *testing.T) {
		rig := newThinRig(t, says(passed, base))
		rig.refuse = store.ErrUnavailable
		if _, err := rig.Apply(t.Context(), thinOf(event(1, 5, passed), "")); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("error %v, want ErrUnavailable", err)
		}
		if _, err := rig.kept.Get(t.Context(), sessionID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the event is kept without a wish: %v", err)
		}
	})
}

func TestG16_AReadOfAThinEventIsMadeAgainThreeTimes(t *testing.T) {
	for _, test := range []struct {
		overtaken, gets int
		want            error
	}{{0, 1, nil}, {2, 3, nil}, {3, 3, verification.ErrStripeUnavailable}} {
		rig := newThinRig(t, nil)
		rig.kept.held = map[string]verification.Session{}
		apply(t, rig.Ingest, event(1, 5, checking))
		asked := overtaking(rig.kept, test.overtaken)
		rig.config.Stripe = asked
		_, err := rig.Apply(t.Context(), thinOf(event(2, 7, passed), ""))
		if !errors.Is(err, test.want) || asked.count() != test.gets || len(rig.wished) != 1 {
			t.Errorf("%d times overtaken: error %v, %d GETs, wishes %v; want %v, %d GETs, one wish", test.overtaken, err, asked.count(), rig.wished, test.want, test.gets)
		}
		if session := rig.kept.session(t); (session.Status == verification.StatusVerified) != (test.want == nil) {
			t.Errorf("%d times overtaken: status %s", test.overtaken, session.Status)
		}
	}
}

// TestG16_ThinEventsThatShareAReadDoNotOvertakeEachOther: five events wait while a read is under way. One further read is the answer
// for all of them, and begins after the first event's commit.
func TestG16_ThinEventsThatShareAReadDoNotOvertakeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		asked := &stripe{}
		asked.retrieve = func(_ context.Context, n int) (verification.Retrieved, error) {
			if n == 1 {
				<-gate
				return verification.Retrieved{Object: checking, AsOf: base + 4}, nil
			}
			return verification.Retrieved{Object: passed, AsOf: base + 9}, nil
		}
		rig := newThinRig(t, asked)
		var done sync.WaitGroup
		deliver := func(n int) {
			done.Go(func() {
				if _, err := rig.Apply(t.Context(), thinOf(event(n, int64(5+n), passed), "")); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		for n := range 6 {
			deliver(n)
		}
		close(gate)
		done.Wait()
		if asked.count() != 2 {
			t.Errorf("%d GETs, want 2", asked.count())
		}
		session := rig.kept.session(t)
		if session.Status != verification.StatusVerified || len(session.History) != 6 {
			t.Errorf("status %s, %d entries; want verified, 6", session.Status, len(session.History))
		}
	})
}

// TestG16_ASharedReadIsOvertakenByAnotherEvent: what is committed after the shared answer, other than the answer itself, overtakes it.
func TestG16_ASharedReadIsOvertakenByAnotherEvent(t *testing.T) {
	rig := newThinRig(t, says(passed, base+9))
	got, err := rig.read(t.Context(), verification.PurposeAmbiguous, open)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range []bool{false, false, true} {
		if n == 2 {
			other := passed
			other.Report = "vr_9"
			apply(t, rig.Ingest, event(7, 20, other))
		}
		_, outcome, err := rig.commitThin(t.Context(), thinOf(event(n, int64(5+n), passed), ""), got)
		if err != nil || outcome.Dropped != want {
			t.Errorf("commit %d: outcome %+v, error %v; want dropped %v", n, outcome, err, want)
		}
	}
}

func TestG16_AThinEventEndsInTime(t *testing.T) {
	for name, snapshot := range map[string]string{"no answer about the session": "", "no answer about the snapshot event": "evt_1"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := &stripe{silent: true, retrieve: func(ctx context.Context, _ int) (verification.Retrieved, error) {
					<-ctx.Done()
					return verification.Retrieved{}, ctx.Err()
				}}
				rig := newThinRig(t, asked)
				began := time.Now()
				if _, err := rig.Apply(t.Context(), thinOf(event(1, 5, passed), snapshot)); !errors.Is(err, verification.ErrStripeUnavailable) {
					t.Errorf("error %v, want ErrStripeUnavailable", err)
				}
				if took := time.Since(began); took > thinTimeout {
					t.Errorf("took %v, want %v at most", took, thinTimeout)
				}
			})
		})
	}
}

// TestAnEventAheadOfTheClockIsReadBack: also of a session that is not known.
func TestAnEventAheadOfTheClockIsReadBack(t *testing.T) {
	for name, asked := range map[string]*stripe{"answered": says(failed, base+9), "without an answer": fails(verification.ErrStripeUnavailable)} {
		rig := newThinRig(t, asked)
		future := event(1, 0, passed)
		future.Second = time.Now().Unix() + 4000
		before := time.Now().Unix()
		apply(t, rig.Ingest, future)
		session := rig.kept.session(t)
		want := verification.StatusRequiresInput
		if name != "answered" {
			want = verification.StatusVerified
		}
		if asked.count() != 1 || session.Status != want || session.Unresolved != (name != "answered") || session.Second < before || session.Second > time.Now().Unix() {
			t.Errorf("%s: %d GETs, status %s, unresolved %v, second %d", name, asked.count(), session.Status, session.Unresolved, session.Second)
		}
	}
}

// TestALongReferenceIsLoggedOnce: by webhook and by read, without the reference.
func TestALongReferenceIsLoggedOnce(t *testing.T) {
	var logs bytes.Buffer
	long := open
	long.ReferenceTooLong = true
	i := New(Config{Store: &records{}, Stripe: says(long, base), Clock: time.Now, Logger: slog.New(slog.NewTextHandler(&logs, nil))})
	t.Cleanup(i.Close)
	for range 3 {
		apply(t, i, event(1, 5, long))
	}
	if text := logs.String(); strings.Count(text, "over 255 bytes") != 1 || !strings.Contains(text, "event_id=evt_1") || !strings.Contains(text, "session_id=vs_1") {
		t.Errorf("log of an event and its copies:\n%s", text)
	}
	logs.Reset()
	for range 2 {
		if _, err := i.Reread(t.Context(), verification.Session{ID: "vs_2"}); err != nil {
			t.Fatal(err)
		}
	}
	if text := logs.String(); strings.Count(text, "over 255 bytes") != 1 || !strings.Contains(text, "session_id=vs_2") {
		t.Errorf("log of two reads:\n%s", text)
	}
}

// olderRecords has, in its next Update, an older copy of the record than its Get, as a replica can have after another one's commit.
type olderRecords struct {
	*records
	older *verification.Session
}

func (r *olderRecords) Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error) {
	if older := r.older; older != nil {
		r.older = nil
		next, write, err := fn(*older)
		switch {
		case err != nil || !write:
			return *older, err
		case next.ID != id:
			return *older, errors.New("the record was given another id")
		}
	}
	return r.records.Update(ctx, id, fn)
}

// TestG16_AKnownThinEventAndAnOlderRecord: an event that Get knows and Update does not is read, and nothing is written twice.
func TestG16_AKnownThinEventAndAnOlderRecord(t *testing.T) {
	kept := &olderRecords{records: &records{}}
	asked := says(failed, base+6)
	into := New(Config{Store: kept, Stripe: asked, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
		WishCatchUp: func(context.Context, verification.Event) error { return nil }})
	t.Cleanup(into.Close)
	event := thinOf(event(2, 5, failed), "")
	apply(t, into, event)
	kept.older = &verification.Session{}
	if outcome := apply(t, into, event); !outcome.Duplicate {
		t.Errorf("outcome %+v, want a duplicate", outcome)
	}
	if session := kept.session(t); len(session.History) != 1 {
		t.Errorf("history %+v, want one entry", session.History)
	}
}

// TestG16_OnlyCreatedEventsOfNewSessionsAreReadLast: the read of any other event does not wait for theirs.
func TestG16_OnlyCreatedEventsOfNewSessionsAreReadLast(t *testing.T) {
	for name, test := range map[string]struct {
		kind  string
		known bool
		want  verification.Purpose
	}{
		"created":             {verification.EventCreated, false, verification.PurposeCreated},
		"created, known here": {verification.EventCreated, true, verification.PurposeAmbiguous},
		"verified":            {verification.EventVerified, false, verification.PurposeAmbiguous},
	} {
		for _, snapshot := range []string{"", "evt_2"} {
			asked := says(passed, base+9)
			rig := newThinRig(t, asked)
			if test.known {
				apply(t, rig.Ingest, event(1, 5, open))
			}
			e := event(2, 7, passed)
			e.Type = test.kind
			apply(t, rig.Ingest, thinOf(e, snapshot))
			reads := 1
			if snapshot != "" {
				reads = 2 // Stripe has no such snapshot event
			}
			if want := slices.Repeat([]verification.Purpose{test.want}, reads); !slices.Equal(asked.purposes, want) {
				t.Errorf("%s, snapshot event %q: purposes %v, want %v", name, snapshot, asked.purposes, want)
			}
		}
	}
}

package rpc

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/verification"
)

// TestG5_AWatchByReferenceNeverShowsASessionThatGotAnotherReference: it continues with the newest session that
// still has it, on either replica, from the snapshot and from a token.
func TestG5_AWatchByReferenceNeverShowsASessionThatGotAnotherReference(t *testing.T) {
	b := newBackend(t)
	one, two := b.replica(t), b.replica(t)
	one.apply(eventOf(1, 1, object("vs_older", "canceled", reference("wrong"), created(-100))))
	one.apply(eventOf(1, 1, object("vs_1", "requires_input", reference("wrong"))))
	first := two.watch(byReference("wrong"))
	first.wantNext("vs_1", 1, "requires_input")
	first.stop()
	open := []*watched{one.watch(byReference("wrong")), two.watch(resumed(byReference("wrong"), first.token)), two.watch(byReference("wrong"))}
	open[0].wantNext("vs_1", 1, "requires_input")
	open[2].wantNext("vs_1", 1, "requires_input")
	// The resumed one sends nothing yet. If it began after the change, it would be refused.
	eventually(t, "the resumed watch has read its session", func() bool { return two.hub.Listening(hub.KindSession) == 2 })

	one.apply(eventOf(2, 2, object("vs_1", "processing", reference("right"))))
	one.apply(eventOf(3, 3, object("vs_1", "verified", reference("right"))))
	for _, w := range open {
		if v := w.wantNext("vs_older", 1, "canceled"); v.GetClientReferenceId() != "wrong" {
			t.Errorf("a watch of wrong was sent %v", v)
		}
	}
	wantExpiredToken(t, one.watch(resumed(byReference("wrong"), first.token)).ended())
	for name, id := range map[string]string{"wrong": "vs_older", "right": "vs_1"} {
		got, err := two.GetStatus(t.Context(), statusByReference(name))
		if err != nil || got.GetVerification().GetSessionId() != id || got.GetVerification().GetClientReferenceId() != name {
			t.Errorf("%s: %v, %v; want %s", name, got, err, id)
		}
		list, err := two.ListVerifications(t.Context(), &verificationv1.ListVerificationsRequest{
			Filter: &verificationv1.ListVerificationsRequest_ClientReferenceId{ClientReferenceId: name},
		})
		if err != nil || len(list.GetVerifications()) != 1 || list.GetVerifications()[0].GetSessionId() != id {
			t.Errorf("%s: %v, %v; want %s", name, list, err, id)
		}
	}
	// The streams that continued follow the session to which the reference leads now.
	one.apply(eventOf(1, 5, object("vs_2", "processing", reference("wrong"), created(100))))
	for _, w := range open {
		w.wantNext("vs_2", 1, "processing")
	}
}

// TestG5_AWatchEndsWhenNoSessionHasItsReferenceAnyMore, as one that begins now would, also with until_settled.
func TestG5_AWatchEndsWhenNoSessionHasItsReferenceAnyMore(t *testing.T) {
	b := newBackend(t)
	stripe := newFakeStripe(object("vs_1", "verified", reference("right")))
	b.stripe = stripe
	r := b.replica(t)
	r.apply(eventOf(1, 1, object("vs_1", "requires_input", reference("wrong"))))
	plain, settled := r.watch(byReference("wrong")), r.watch(untilSettled(byReference("wrong")))
	plain.wantNext("vs_1", 1, "requires_input")
	settled.wantNext("vs_1", 1, "requires_input")
	r.apply(eventOf(2, 2, object("vs_1", "verified", reference("right"))))
	for _, w := range []*watched{plain, settled} {
		wantError(t, w.ended(), codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
		wantExpiredToken(t, r.watch(resumed(byReference("wrong"), w.token)).ended())
	}
	wantError(t, r.watch(byReference("wrong")).ended(), codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
}

// movedRig is a watch of "wrong" whose looks the test decides: all that a step does is seen in one look.
func movedRig(t *testing.T) (w *watching, change func(n int, o verification.Object)) {
	w = newWatching(t, 0)
	change = func(n int, o verification.Object) {
		t.Helper()
		next, _ := verification.Transition(w.held[o.ID], eventOf(n, int64(n), o))
		w.put(next)
	}
	change(1, object("vs_1", "requires_input", reference("wrong")))
	w.newest["wrong"] = "vs_1"
	w.start(byReference("wrong"))
	if got := w.next().GetVerification(); got.GetRevision() != 1 {
		t.Fatalf("%v", got)
	}
	return w, change
}

// TestG5_WhatHappenedUnderAnotherReferenceIsNeverShown, however much of it one look sees: moved and moved back,
// moved and redacted, moved and archived.
func TestG5_WhatHappenedUnderAnotherReferenceIsNeverShown(t *testing.T) {
	right, wrong := reference("right"), reference("wrong")
	for what, test := range map[string]struct {
		steps []verification.Object
		leads bool // the reference leads to the session again
		want  error
	}{
		"moved":                {[]verification.Object{object("vs_1", "processing", right)}, false, nil},
		"moved back":           {[]verification.Object{object("vs_1", "processing", right), object("vs_1", "verified", wrong)}, true, errTokenExpired},
		"moved, then redacted": {[]verification.Object{object("vs_1", "verified", right), object("vs_1", "verified", erased)}, false, nil},
		"moved back, then redacted": {[]verification.Object{
			object("vs_1", "processing", right), object("vs_1", "verified", wrong), object("vs_1", "verified", erased),
		}, false, nil},
	} {
		for _, wake := range []hub.Topic{hub.Session("vs_1"), hub.Reference("wrong")} {
			t.Run(fmt.Sprint(what, " ", wake.Kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w, change := movedRig(t)
					for n, o := range test.steps {
						change(n+2, o)
					}
					if !test.leads {
						w.set(func() { delete(w.newest, "wrong") })
					}
					w.hub.Wake(wake)
					synctest.Wait()
					for len(w.sink.got) > 0 {
						t.Errorf("sent %v", (<-w.sink.got).GetVerification())
					}
					select {
					case err := <-w.ended:
						if test.want != nil {
							wantExpiredToken(t, err)
						} else {
							wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
						}
					default:
						t.Error("the stream continues")
						w.stop()
					}
				})
			})
		}
	}
}

// TestG5_ARedactionUnderTheOwnReferenceIsSent: what was erased collapses into it.
func TestG5_ARedactionUnderTheOwnReferenceIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, change := movedRig(t)
		change(2, object("vs_1", "processing", reference("wrong")))
		change(3, object("vs_1", "verified", reference("wrong")))
		change(4, object("vs_1", "verified", erased))
		w.set(func() { delete(w.newest, "wrong") })
		w.hub.Wake(hub.Session("vs_1"))
		if got := w.next().GetVerification(); got.GetRevision() != 4 || got.GetClientReferenceId() != "" {
			t.Errorf("%v", got)
		}
		w.stop()
	})
}

// TestG5_AReferenceThatMovesBetweenTwoLooksIsNotShown: the watch looks twice before its snapshot.
func TestG5_AReferenceThatMovesBetweenTwoLooksIsNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		session, _ := verification.Transition(verification.Session{}, eventOf(1, 1, object("vs_1", "requires_input", reference("wrong"))))
		w.put(session)
		w.newest["wrong"] = "vs_1"
		w.service.watcher.sessions = &movingOnce{Sessions: w.service.watcher.sessions, after: func() {
			moved, _ := verification.Transition(session, eventOf(2, 2, object("vs_1", "verified", reference("right"))))
			w.put(moved)
			w.set(func() { delete(w.newest, "wrong") })
		}}
		w.start(byReference("wrong"))
		if len(w.sink.got) > 0 {
			t.Errorf("sent %v", (<-w.sink.got).GetVerification())
		}
		select {
		case err := <-w.ended:
			wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
		default:
			t.Error("the stream continues")
			w.stop()
		}
	})
}

// movingOnce makes something happen after the first session that it returns.
type movingOnce struct {
	live.Sessions
	after func()
	once  sync.Once
}

func (m *movingOnce) Session(ctx context.Context, id string, minRevision int32) (verification.Session, error) {
	session, err := m.Sessions.Session(ctx, id, minRevision)
	m.once.Do(m.after)
	return session, err
}

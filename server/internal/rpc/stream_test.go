package rpc

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

func TestAHeartbeatWithTheTokenComesAfterEachIdleInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		w.put(life("vs_1", 1))
		w.start(bySession("vs_1", 7*time.Second))
		snapshot := w.next()
		last := snapshot
		for range 3 {
			beat := w.next()
			if idle := beat.at.Sub(last.at); idle < 7*time.Second || idle > 8*time.Second {
				t.Errorf("a heartbeat after %v of idleness", idle)
			}
			if beat.Verification != nil || beat.ResumeToken != snapshot.ResumeToken {
				t.Errorf("heartbeat %v", beat.WatchStatusResponse)
			}
			last = beat
		}
		// Idleness begins again with each response.
		time.Sleep(3 * time.Second)
		w.put(life("vs_1", 2))
		w.hub.Wake(hub.Session("vs_1"))
		change := w.next()
		beat := w.next()
		if idle := beat.at.Sub(change.at); idle != 7*time.Second || beat.ResumeToken != change.ResumeToken {
			t.Errorf("after a change: %v, token as the change's %v", idle, beat.ResumeToken == change.ResumeToken)
		}
		w.stop()
	})
}

// TestG18_NoHeartbeatWithoutTheStore: it is not known then whether anything has changed.
func TestG18_NoHeartbeatWithoutTheStore(t *testing.T) {
	for name, request := range map[string]*verificationv1.WatchStatusRequest{
		"session": bySession("vs_1", 5*time.Second), "reference": byReference("person"), "all": allSessions(),
	} {
		synctest.Test(t, func(t *testing.T) {
			request.Heartbeat = durationpb.New(5 * time.Second)
			w := newWatching(t, 0)
			var away atomic.Bool
			w.service.config.InTouch = func() bool { return !away.Load() }
			session := life("vs_1", 1)
			session.Reference = "person"
			w.put(session)
			w.newest["person"] = "vs_1"
			w.start(request)
			w.next()
			w.next() // a heartbeat
			away.Store(true)
			time.Sleep(20 * time.Minute)
			w.none()
			away.Store(false)
			back := time.Now()
			if beat := w.next(); beat.at.Sub(back) > 2*time.Second {
				t.Errorf("%s: a heartbeat %v after the store was back; want it within a second", name, beat.at.Sub(back))
			}
			w.stop()
		})
	}
}

func TestWithoutHeartbeatAnIdleStreamIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		w.put(life("vs_1", 1))
		w.start(bySession("vs_1", 0))
		w.next()
		time.Sleep(24 * time.Hour)
		w.none()
		w.stop()
	})
}

func TestHeartbeatsLeaveWithinASecondOfBeingDueAlsoWithAStoreThatHangs(t *testing.T) {
	for name, request := range map[string]*verificationv1.WatchStatusRequest{
		"session": bySession("vs_1", 5*time.Second), "reference": byReference("person"), "all": allSessions(),
	} {
		for _, hang := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				request.Heartbeat = durationpb.New(5 * time.Second)
				w := newWatching(t, 0)
				session := life("vs_1", 1)
				session.Reference = "person"
				w.put(session)
				w.newest["person"] = "vs_1"
				w.start(request)
				last := w.next()
				w.set(func() { w.hang, w.fail = hang, store.ErrUnavailable })
				w.hub.WakeAll()
				for range 20 {
					beat := w.next()
					if idle := beat.at.Sub(last.at); idle < 5*time.Second || idle > 6*time.Second {
						t.Errorf("%s, hang %v: a heartbeat after %v", name, hang, idle)
					}
					last = beat
					w.hub.WakeAll()
				}
				w.stop()
			})
		}
	}
}

func TestALostWakeUpOnlyDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, request := range []*verificationv1.WatchStatusRequest{bySession("vs_1", 0), byReference("person"), allSessions()} {
			w := newWatching(t, 0)
			session := life("vs_1", 1)
			session.Reference = "person"
			w.put(session)
			w.newest["person"] = "vs_1"
			w.start(request)
			w.next()
			began := time.Now()
			next := ofPerson(life("vs_1", 2))
			w.put(next) // and nobody wakes the hub
			if got := w.next(); got.Verification.GetRevision() != 2 || time.Since(began) > pollAfter*6/5 {
				t.Errorf("%v after %v", got.WatchStatusResponse, time.Since(began))
			}
			w.stop()
		}
	})
}

func TestAStreamOfGreatAgeEndsAndTellsToResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, request := range map[string]*verificationv1.WatchStatusRequest{"idle": bySession("vs_1", 0), "all": allSessions()} {
			w := newWatching(t, time.Hour)
			w.put(life("vs_1", 1))
			began := time.Now()
			w.start(request)
			err := <-w.ended
			d := wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STREAM_EXPIRED)
			if age := time.Since(began); age < 48*time.Minute || age > time.Hour || d.retry == nil {
				t.Errorf("%s: ended after %v with %v", name, age, d.retry)
			}
		}
	})
}

func TestABusyStreamReachesItsGreatestAgeToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, time.Minute)
		w.put(life("vs_0", 1))
		w.sink.slow = time.Second
		began := time.Now()
		w.start(allSessions())
		for k := range 300 { // five minutes of sending without a pause
			w.put(life("vs_busy"+string(rune('a'+k%26))+string(rune('a'+k/26)), 1))
		}
		w.hub.WakeAll()
		wantError(t, <-w.ended, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STREAM_EXPIRED)
		if age := time.Since(began); age > time.Minute+time.Second {
			t.Errorf("ended after %v", age)
		}
	})
}

func TestASlowReaderLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		w.sink.slow = 2 * time.Second // a page takes longer than a look may
		w.start(allSessions())
		began := time.Now()
		for k := range 50 {
			w.put(life("vs_x"+string(rune('a'+k)), 1))
		}
		w.hub.WakeAll()
		w.next()
		for k := range 50 {
			if got := w.next().Verification.GetSessionId(); got != "vs_x"+string(rune('a'+k)) {
				t.Fatalf("%d: %s", k, got)
			}
		}
		if took := time.Since(began); took > 105*time.Second {
			t.Errorf("it took %v: it paused although the store was there", took)
		}
		w.stop()
	})
}

func TestG12_ADrainingServerEndsEveryStreamAndTellsToResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, request := range map[string]*verificationv1.WatchStatusRequest{"session": bySession("vs_1", 0), "reference": byReference("person"), "all": allSessions()} {
			for _, away := range []bool{false, true} {
				w := newWatching(t, 0)
				w.put(ofPerson(life("vs_1", 1)))
				w.newest["person"] = "vs_1"
				w.start(request)
				w.next()
				if away {
					w.set(func() { w.fail = store.ErrUnavailable })
					w.hub.WakeAll()
					synctest.Wait()
				}
				began := time.Now()
				w.service.Drain()
				d := wantError(t, <-w.ended, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_DRAINING)
				if d.retry == nil || time.Since(began) > time.Second {
					t.Errorf("%s: after %v, RetryInfo %v", name, time.Since(began), d.retry)
				}
			}
		}
	})
}

func TestADrainingServerEndsAStreamInTheMiddleOfItsBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		w.put(life("vs_1", 1))
		w.start(bySession("vs_1", 0))
		w.next()
		w.sink.slow = time.Second
		w.put(life("vs_1", 200))
		w.hub.WakeAll()
		time.Sleep(10500 * time.Millisecond)
		began := time.Now()
		w.service.Drain()
		wantError(t, <-w.ended, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_DRAINING)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it sent on for %v", took)
		}
	})
}

func TestAnOutageOfTheStoreKeepsTheStreamAndItContinues(t *testing.T) {
	for name, request := range map[string]*verificationv1.WatchStatusRequest{"session": bySession("vs_1", 0), "reference": byReference("person"), "all": allSessions()} {
		for _, hang := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWatching(t, 0)
				w.put(ofPerson(life("vs_1", 1)))
				w.newest["person"] = "vs_1"
				w.start(request)
				w.next()
				w.set(func() { w.fail, w.hang = store.ErrUnavailable, hang })
				w.hub.WakeAll()
				time.Sleep(10 * time.Minute)
				w.none()
				w.put(ofPerson(life("vs_1", 3)))
				w.set(func() { w.fail, w.hang = nil, false })
				began := time.Now()
				first, second := w.next(), w.next()
				if first.Verification.GetRevision() != 2 || second.Verification.GetRevision() != 3 {
					t.Errorf("%s: %v, %v", name, first.Verification, second.Verification)
				}
				if took := time.Since(began); took > readTimeout+2*pollAfterFailure {
					t.Errorf("%s: it took %v to continue", name, took)
				}
				w.stop()
			})
		}
	}
}

// The pointer moves and the store becomes unavailable before the new session is read: no reason to end.
func TestAnOutageOfTheStoreWhileAReferenceMovesKeepsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		first, second := ofPerson(life("vs_1", 1)), ofPerson(life("vs_2", 1))
		first.Created, second.Created = 1, 2
		w.put(first)
		w.newest["person"] = "vs_1"
		w.start(byReference("person"))
		w.next()
		w.put(second)
		w.set(func() { w.newest["person"] = "vs_2" })
		// readNewest reads the old record, the pointer and the new record: then the next look fails.
		failing := &failAfter{Store: w.fakeStore, looks: 3}
		w.service.watcher.sessions = uncached{failing, w.hub, 0}.Limited()
		w.hub.Wake(hub.Reference("person"))
		synctest.Wait()
		if got := w.next(); got.Verification.GetSessionId() != "vs_2" {
			t.Errorf("%v", got.WatchStatusResponse)
		}
		w.stop()
		if failing.looks >= 0 {
			t.Error("no read failed")
		}
	})
}

// failAfter is a store that is away for one look, after some that succeeded.
type failAfter struct {
	store.Store
	mu    sync.Mutex
	looks int
}

func (f *failAfter) away() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks--
	return f.looks == -1
}

func (f *failAfter) Get(ctx context.Context, id string) (verification.Session, error) {
	if f.away() {
		return verification.Session{}, store.ErrUnavailable
	}
	return f.Store.Get(ctx, id)
}

func (f *failAfter) Newest(ctx context.Context, reference string) (string, error) {
	if f.away() {
		return "", store.ErrUnavailable
	}
	return f.Store.Newest(ctx, reference)
}

func TestAnOutageOfTheStoreAtTheStartEndsTheStreamAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, request := range map[string]*verificationv1.WatchStatusRequest{"session": bySession("vs_1", 0), "reference": byReference("person"), "all": allSessions()} {
			for _, hang := range []bool{false, true} {
				w := newWatching(t, 0)
				w.fail, w.hang = store.ErrUnavailable, hang
				began := time.Now()
				w.start(request)
				d := wantError(t, <-w.ended, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
				if d.retry == nil || time.Since(began) > readTimeout {
					t.Errorf("%s: after %v, RetryInfo %v", name, time.Since(began), d.retry)
				}
			}
		}
	})
}

func TestAnIdleStreamLooksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		w.put(life("vs_1", 1))
		w.start(bySession("vs_1", 0))
		w.next()
		var before, after int
		w.set(func() { before = w.looks })
		time.Sleep(time.Hour)
		w.set(func() { after = w.looks })
		if got := after - before; got < 90 || got > 160 {
			t.Errorf("%d looks in an hour, want about %d", got, time.Hour/pollAfter)
		}
		w.stop()
	})
}

// A store that is away is asked by thousands of watches; those to whom nothing has happened must not ask it
// every second.
func TestAnIdleLookThatFailsIsNotRepeatedSoon(t *testing.T) {
	for name, request := range map[string]*verificationv1.WatchStatusRequest{"session": bySession("vs_1", 0), "reference": byReference("person")} {
		synctest.Test(t, func(t *testing.T) {
			w := newWatching(t, 0)
			w.put(ofPerson(life("vs_1", 1)))
			w.newest["person"] = "vs_1"
			w.start(request)
			w.next()
			var before, after int
			w.set(func() { w.fail = store.ErrUnavailable; before = w.looks })
			time.Sleep(time.Hour)
			w.set(func() { after = w.looks })
			if got := after - before; got < 90 || got > 160 {
				t.Errorf("%s: %d looks in an hour, want about %d", name, got, time.Hour/pollAfter)
			}
			w.hub.WakeAll()
			time.Sleep(time.Minute)
			w.set(func() { before = w.looks - after })
			if before < 40 {
				t.Errorf("%s: only %d looks in the minute after a wake-up", name, before)
			}
			w.stop()
		})
	}
}

// Superseded is settled for the old session, but by reference the person continues in the next one,
// which the index may show a moment later.
func TestUntilSettledByReferenceWaitsForTheSuccessorOfASupersededSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatching(t, 0)
		old := verification.Session{ID: "vs_1", Revision: 1, State: verification.State{Reference: "person", Status: verification.StatusCanceled, Created: 1, SupersededBy: "vs_2"}}
		w.put(old)
		w.newest["person"] = "vs_1"
		w.start(untilSettled(byReference("person")))
		w.next()
		time.Sleep(time.Hour)
		w.none()
		next := verification.Session{ID: "vs_2", Revision: 1, State: verification.State{Reference: "person", Status: verification.StatusVerified, Created: 2}}
		w.put(next)
		w.set(func() { w.newest["person"] = "vs_2" })
		w.hub.Wake(hub.Reference("person"))
		if got := w.next(); got.Verification.GetSessionId() != "vs_2" {
			t.Errorf("%v", got.WatchStatusResponse)
		}
		if err := <-w.ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

// The order is that of the index: of sessions created in the same second the greater id is newer.
func TestNewerIsDecidedByTheIDWithinASecond(t *testing.T) {
	session := func(id string, created int64) verification.Session {
		return verification.Session{ID: id, State: verification.State{Created: created}}
	}
	for _, test := range []struct {
		a, b verification.Session
		want bool
	}{
		{session("vs_a", 2), session("vs_b", 1), true},
		{session("vs_b", 1), session("vs_a", 2), false},
		{session("vs_b", 1), session("vs_a", 1), true},
		{session("vs_a", 1), session("vs_b", 1), false},
		{session("vs_a", 1), session("vs_a", 1), false},
	} {
		if got := newer(test.a, test.b); got != test.want {
			t.Errorf("newer(%s at %d, %s at %d) = %v", test.a.ID, test.a.Created, test.b.ID, test.b.Created, got)
		}
	}
}

package rpc

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/store"
)

// TestG14_AKilledReplicasConsumerIsServedWithin15Seconds by another replica. If the first one was only cut off, its stream ends
// when it learns that.
func TestG14_AKilledReplicasConsumerIsServedWithin15Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newConsumerRig(t)
		first := rig.open(0, byConsumer(mailer))
		first.next()
		time.Sleep(7 * time.Second)
		rig.links[0].cut.Store(true)
		cut := time.Now()
		busy := <-rig.open(1, byConsumer(mailer)).ended
		wantBusy(t, busy)
		time.Sleep(detailsOf(t, busy).retry.GetRetryDelay().AsDuration())
		second := rig.open(1, byConsumer(mailer, mustExist))
		if got := second.next(); got.GetConsumer() != mailer {
			t.Errorf("the first response is %v", got.WatchStatusResponse)
		}
		if took := time.Since(cut); took > 15*time.Second {
			t.Errorf("it took %v, want at most 15s", took)
		}
		if got := first.next(); got.GetVerification() != nil { // a store that is away is no loss
			t.Errorf("%v, want a heartbeat", got.WatchStatusResponse)
		}
		rig.links[0].cut.Store(false)
		healed := time.Now()
		wantBusy(t, <-first.ended)
		if took := time.Since(healed); took > 5*time.Second {
			t.Errorf("the stream without a lease ended after %v, want at most 5s", took)
		}
		rig.change(life("vs_1", 1))
		if got := second.next(); got.GetVerification().GetRevision() != 1 {
			t.Errorf("%v", got.WatchStatusResponse)
		}
		second.stop()
	})
}

func TestG14_TheStreamOfADeletedConsumerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newConsumerRig(t)
		w := rig.open(0, byConsumer(mailer))
		old := w.next()
		time.Sleep(time.Minute)
		deleted := time.Now()
		if _, err := rig.services[1].DeleteConsumer(t.Context(), &verificationv1.DeleteConsumerRequest{Consumer: mailer}); err != nil {
			t.Fatal(err)
		}
		wantError(t, <-w.ended, codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
		if took := time.Since(deleted); took > 5*time.Second {
			t.Errorf("after %v, want at most 5s", took)
		}
		// A new consumer of the name is another one.
		next := rig.open(0, byConsumer(mailer))
		next.next()
		next.stop()
		wantError(t, <-rig.open(0, resumed(byConsumer(mailer), old.ResumeToken)).ended, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
		_, err := rig.services[0].AcknowledgeChanges(t.Context(), &verificationv1.AcknowledgeChangesRequest{Consumer: mailer, ResumeToken: old.ResumeToken})
		wantError(t, err, codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND)
	})
}

// TestG14_WhatTheFilterPassesOverIsAcknowledged once everything that was sent is acknowledged, and the heartbeats' tokens move.
func TestG14_WhatTheFilterPassesOverIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newConsumerRig(t)
		session := life("vs_1", 1)
		rig.put(session)
		w := rig.open(0, byConsumer(mailer, outcomesOnly))
		w.next()
		session = life("vs_1", 2)
		rig.change(session)
		sent := w.next()
		for range 10 {
			session = edited(session)
			rig.change(session)
		}
		beat := w.next()
		if idle := beat.at.Sub(sent.at); beat.Verification != nil || beat.ResumeToken == sent.ResumeToken || idle < time.Minute || idle > 61*time.Second {
			t.Errorf("after %v came %v; want a heartbeat with another token after a minute", idle, beat.WatchStatusResponse)
		}
		time.Sleep(5 * time.Minute)
		if got := rig.pending(mailer); got != 11 {
			t.Errorf("%d changes are pending, want all 11: the caller has not acknowledged the first", got)
		}
		rig.acknowledge(sent.ResumeToken)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := rig.pending(mailer); got != 0 {
			t.Errorf("%d changes are pending, want none", got)
		}
		rig.change(edited(session))
		w.stop()
		if got := rig.pending(mailer); got != 0 {
			t.Errorf("%d changes are pending after the end of the stream, want none", got)
		}
		// The heartbeat's token is good, and shows none of the changes again.
		again := rig.open(1, resumed(byConsumer(mailer, outcomesOnly), beat.ResumeToken))
		again.next()
		again.none()
		again.stop()
	})
}

// TestG14_AHeartbeatsTokenIsAcknowledgedByItsCaller: the service does not know whether a change before the token of a stream is
// handled. When the caller says so, the service acknowledges again what the filter passes over.
func TestG14_AHeartbeatsTokenIsAcknowledgedByItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newConsumerRig(t)
		session := life("vs_1", 1)
		rig.put(session)
		w := rig.open(0, byConsumer(mailer, outcomesOnly))
		w.next()
		session = failedAgain(session)
		rig.change(session)
		sent := w.next()
		session = edited(session)
		rig.change(session)
		beat := w.next()
		w.stop()
		again := rig.open(1, resumed(byConsumer(mailer, outcomesOnly, mustExist), beat.ResumeToken))
		again.next()
		time.Sleep(time.Hour)
		if got := rig.pending(mailer); got != 2 {
			t.Errorf("%d changes are pending, want both: the caller has not acknowledged the first", got)
		}
		rig.acknowledge(sent.ResumeToken)
		rig.acknowledge(beat.ResumeToken)
		rig.change(edited(session))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := rig.pending(mailer); got != 0 {
			t.Errorf("%d changes are pending, want none", got)
		}
		again.stop()
	})
}

// TestG14_AStreamAcknowledgesAtMostOnceAMinute what it passes over: each acknowledgement is a write of the store.
func TestG14_AStreamAcknowledgesAtMostOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newConsumerRig(t)
		session := life("vs_1", 1)
		rig.put(session)
		w := rig.open(0, byConsumer(mailer, outcomesOnly))
		w.next()
		for range 60 {
			session = edited(session)
			rig.change(session)
			time.Sleep(10 * time.Second)
		}
		w.stop()
		if got := rig.pending(mailer); got != 0 || rig.moves < 9 || rig.moves > 11 {
			t.Errorf("%d calls of MoveConsumer in 10 minutes, and %d changes pending; want one a minute, and none", rig.moves, got)
		}
	})
}

// busyFeed is a store in which each read of the feed takes a second, and finds a change that brought no outcome.
type busyFeed struct{ *consumerRig }

func (b busyFeed) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	time.Sleep(time.Second)
	b.put(edited(b.held["vs_1"]))
	b.hub.WakeAll()
	return b.fakeStore.ReadFeed(ctx, partition, after, limit)
}

// TestAWatchThatPassesOverEverythingBeats: it never waits, and sends no change.
func TestAWatchThatPassesOverEverythingBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newConsumerRig(t)
		rig.put(life("vs_1", 1))
		rig.services[0].watcher.sessions = uncached{busyFeed{rig}, rig.hub, 0}.Limited()
		w := rig.open(0, byConsumer(mailer, outcomesOnly))
		last := w.next()
		for range 3 {
			beat := w.next()
			if idle := beat.at.Sub(last.at); beat.Verification != nil || beat.ResumeToken == last.ResumeToken || idle < time.Minute || idle > 62*time.Second {
				t.Errorf("after %v came %v; want a heartbeat with another token after a minute", idle, beat.WatchStatusResponse)
			}
			last = beat
		}
		w.stop()
		if got := rig.pending(mailer); got > 2 {
			t.Errorf("%d changes are pending", got)
		}
	})
}

// TestG15_ManyListsOfConsumersAreFewReads: each read asks the store about up to 64 consumers.
func TestG15_ManyListsOfConsumersAreFewReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newConsumerRig(t)
		rig.open(0, byConsumer(mailer)).stop()
		rig.takes, rig.lists = time.Second, 0 // the creation has counted the consumers
		var calls sync.WaitGroup
		for range 100 {
			calls.Go(func() {
				got, err := rig.services[0].ListConsumers(t.Context(), &verificationv1.ListConsumersRequest{})
				if err != nil || len(got.GetConsumers()) != 1 {
					t.Errorf("got %v, %v; want one consumer", got, err)
				}
			})
		}
		calls.Wait()
		if rig.lists > 2 {
			t.Errorf("%d reads for 100 calls at once, want at most 2", rig.lists)
		}
	})
}

// TestG14_AStalledStreamAcknowledgesNothing: the step whose send hangs still runs when the stream ends, and owns the positions.
func TestG14_AStalledStreamAcknowledgesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rig := newConsumerRig(t)
		session := life("vs_1", 1)
		rig.put(session)
		w := rig.open(0, byConsumer(mailer, outcomesOnly))
		w.next()
		w.sink.slow = time.Hour // of the first heartbeat
		rig.change(edited(session))
		wantError(t, <-w.ended, codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_STREAM_STALLED)
		synctest.Wait()
		if rig.moves != 0 {
			t.Errorf("%d calls of MoveConsumer, want none", rig.moves)
		}
		w.next() // the send that hung has ended
	})
}

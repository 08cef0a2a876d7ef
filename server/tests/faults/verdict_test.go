//go:build faults

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/checker"
	"example.com/verification-status/server/tests/rig"
)

const (
	// settleWithin bounds the time from the last fault until every status is right, with a part for each session: after a
	// FLUSHALL all of Stripe's events are read again, some ten for each session.
	settleWithin, settleEach = 90 * time.Second, 50 * time.Millisecond
	// quietAfter is the time without a change after which all is quiet: longer than the follower of the feed takes to
	// notice a rewind.
	quietAfter = 7 * time.Second
	// afterLoss is the longest time for which responses from before a loss can be in flight.
	afterLoss = 2 * time.Second
	// feedsEndWithin bounds the time for which a stream of all sessions stays open after a loss of everything. Its feed is
	// gone, and the follower of the feed notices that within half a second if it reaches Redis.
	feedsEndWithin = 20 * time.Second
)

// settle lets Stripe finish, and gives the recorder the final state of each session.
func (w *faultRig) settle() {
	for _, session := range w.sim.Sessions() {
		if session.Status == "processing" {
			_ = w.sim.FinishProcessing(session.ID)
		}
		if session.Redaction == "processing" {
			_ = w.sim.FinishRedaction(session.ID)
		}
	}
	ctx, cancel := context.WithTimeout(w.watching, settleWithin)
	defer cancel()
	if err := w.sim.Settle(ctx); err != nil {
		w.t.Fatal(err)
	}
	rig.RecordTruth(w.t, w.sim, w.recorder)
}

// judge asks all replicas a last time, until every status is as at Stripe or the time is over. Then it checks all that was
// ever seen.
func (w *faultRig) judge() {
	all := w.sim.Sessions()
	w.tally.sessions = len(all)
	left := make([]string, len(all))
	for i, session := range all {
		left[i] = session.ID
	}
	limit := settleWithin + time.Duration(len(all))*settleEach
	var missing []string
	for len(left) > 0 {
		missing = w.askFinally(left)
		left = append([]string{}, missing...)
		for _, v := range w.recorder.Check(checker.Options{MaxRetries: maxRetries}) {
			if v.Rule == checker.Converged {
				left = append(left, v.Session)
			}
		}
		if time.Since(w.repaired) > limit {
			break
		}
		slices.Sort(left)
		left = slices.Compact(left)
		if len(left) > 0 {
			w.t.Logf("%v after the last fault %d of %d sessions are not yet as Stripe says", time.Since(w.repaired).Round(time.Second), len(left), len(all))
			_ = pause(w.watching, 2*time.Second)
		}
	}
	if len(left) == 0 {
		w.t.Logf("every status was right %v after the last fault", time.Since(w.repaired).Round(100*time.Millisecond))
	}
	for w.updates.quietFor() < quietAfter && time.Since(w.repaired) < limit+quietAfter {
		_ = pause(w.watching, 100*time.Millisecond)
	}
	w.endWatches()
	w.watches.Wait()

	report := w.recorder.Check(checker.Options{MaxRetries: maxRetries})
	w.tally.violations = len(report) + len(missing) + w.seenOtherwise
	if len(report) > 0 {
		w.t.Errorf("seed %d: %v", w.plan.seed, report)
	}
	if len(missing) > 0 {
		w.t.Errorf("seed %d: %d sessions have lost events that were acknowledged, such as %v", w.plan.seed, len(missing), missing[:min(5, len(missing))])
	}
	w.t.Logf("%v", w.recorder.Seen())
	w.t.Logf("%+v", w.sim.Stats())
}

// askFinally records the final status of sessions. It returns the sessions whose history lacks an acknowledged event. A
// redaction removes histories.
func (w *faultRig) askFinally(ids []string) (missing []string) {
	rng := w.plan.rand(4)
	acknowledged := make(map[string][]delivered)
	for _, event := range w.sim.Events() {
		for _, id := range []string{event.ID, event.ThinID} {
			if w.balancer.hasAcknowledged(id) {
				acknowledged[event.SessionID] = append(acknowledged[event.SessionID], delivered{id, event.ID})
			}
		}
	}
	for _, id := range ids {
		request := &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: id}, IncludeHistory: true}
		response, err := w.get(rng, request, 5*time.Second)
		if err != nil {
			if status.Code(err) != codes.Unavailable {
				w.t.Log(fmt.Errorf("the last GetStatus of %s: %w", id, err))
			}
			continue
		}
		kept, redacted := w.kept(response)
		lost := func(event delivered) bool {
			// Where Redis lost the entry of a thin event, the catch-up brings its snapshot event.
			return !w.balancer.isKept(event.id, kept) && !kept[event.snapshot]
		}
		if !redacted && slices.ContainsFunc(acknowledged[id], lost) {
			missing = append(missing, id)
		}
	}
	return missing
}

// delivered is an event that was acknowledged, and the snapshot event of the same change, which can be itself.
type delivered struct{ id, snapshot string }

// kept are the events in a history. A redaction takes them away.
func (w *faultRig) kept(response *verificationv1.GetStatusResponse) (events map[string]bool, redacted bool) {
	events = make(map[string]bool)
	for _, entry := range response.GetHistory() {
		id := entry.GetEventId()
		if id != "" && events[id] {
			w.violation("%s: event %s is in the history twice", response.GetVerification().GetSessionId(), id)
		}
		events[id] = true
	}
	return events, response.GetVerification().GetRedaction() != verificationv1.Redaction_REDACTION_UNSPECIFIED
}

// wantKept checks, right after an acknowledgement and before any catch-up can help, that the record has the event.
func (w *faultRig) wantKept(event, session string) {
	losses, losing := w.losses()
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	request := &verificationv1.GetStatusRequest{Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: session}, IncludeHistory: true}
	response, err := w.get(rng, request, time.Second)
	for began := time.Now(); err != nil; response, err = w.get(rng, request, time.Second) {
		if time.Since(began) > 10*time.Second || pause(w.watching, 50*time.Millisecond) != nil {
			return // by now a catch-up may have helped
		}
	}
	events, redacted := w.kept(response)
	if after, _ := w.losses(); !redacted && !w.balancer.isKept(event, events) && !losing && after == losses {
		w.violation("%s: event %s was acknowledged and is not in the record", session, event)
	}
}

// violation is one that the checker cannot see.
func (w *faultRig) violation(format string, arguments ...any) {
	w.t.Errorf("seed %d: "+format, append([]any{w.plan.seed}, arguments...)...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seenOtherwise++
}

// losses returns the number of losses that have begun, and whether one is in progress.
func (w *faultRig) losses() (begun int, losing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lossesBegun, w.losing
}

// loses makes a fault that can lose writes that clients saw. When it returns, no earlier response is in flight.
func (w *faultRig) loses(loss checker.Loss, do func()) {
	begins := func(losing bool, more int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.losing, w.lossesBegun = losing, w.lossesBegun+more
	}
	settled := w.recorder.Era(loss)
	begins(true, 1)
	feeds := w.feeds.now()
	do()
	_ = pause(w.watching, afterLoss)
	if loss.Everything && !endedWithin(feeds, feedsEndWithin) {
		w.violation("%v after %s, a stream of all sessions that was open before still is", feedsEndWithin, loss.Reason)
	}
	w.calls.now().Wait() // each has a deadline
	settled()
	begins(false, 0)
}

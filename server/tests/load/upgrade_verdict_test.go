//go:build load

package load

import (
	"maps"
	"slices"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/checker"
	"example.com/verification-status/server/tests/rig"
)

// judge lets Stripe finish, waits until every status is as at Stripe and every watch and the consumer have seen it, and checks what
// was ever seen.
func (u *upgrade) judge() {
	u.t.Helper()
	for _, session := range u.stripe.Sessions() {
		if session.Status == "processing" {
			_ = u.stripe.FinishProcessing(session.ID)
		}
		if session.Redaction == "processing" {
			_ = u.stripe.FinishRedaction(session.ID)
		}
	}
	u.stripe.AwaitDelivered()
	rig.RecordTruth(u.t, u.stripe.Sim, u.recorder)
	final := u.askFinally()
	u.awaitWatches(final)
	u.checkChains(final)
	u.checkLists()
	u.endWatches()
	u.watches.Wait()
	if report := u.recorder.Check(checker.Options{MaxRetries: upgradeRetries}); len(report) > 0 {
		u.wrong("%v", report)
	}
}

// askFinally returns each session as the servers show it, once every one is as Stripe says.
func (u *upgrade) askFinally() map[string]*verificationv1.Verification {
	u.t.Helper()
	final := map[string]*verificationv1.Verification{}
	left := map[string]bool{}
	for _, session := range u.stripe.Sessions() {
		left[session.ID] = true
	}
	began := time.Now()
	for len(left) > 0 {
		for id := range left {
			v, history, err := u.history(id)
			if err != nil {
				u.t.Fatalf("seed %d: the last GetStatus of %s: %v", u.seed, id, err)
			}
			final[id] = v
			for _, event := range u.stripe.Events() {
				if event.SessionID == id && !u.hasEvent(v, history, id, event.ID) {
					u.wrong("%s: event %s, %s, was acknowledged and is not in the record", id, event.ID, event.Type)
				}
			}
		}
		clear(left)
		for _, v := range u.recorder.Check(checker.Options{MaxRetries: upgradeRetries}) {
			if v.Rule == checker.Converged {
				left[v.Session] = true
			}
		}
		if time.Since(began) > rig.Soon {
			u.wrong("%d sessions are not as Stripe says after %v: %v", len(left), rig.Soon, slices.Collect(maps.Keys(left)))
			break
		}
		if len(left) > 0 {
			_ = pauseFor(u.watching, 100*time.Millisecond)
		}
	}
	return final
}

// awaitWatches waits until watches and the consumer have seen the last revision and outcome of each session.
func (u *upgrade) awaitWatches(final map[string]*verificationv1.Verification) {
	u.t.Helper()
	for n, f := range u.everything {
		rig.Await(u.t, "the watches of all sessions show the last revision of each", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			for id, v := range final {
				if f.seen[id].GetRevision() != v.GetRevision() {
					return false
				}
			}
			return true
		})
		u.t.Logf("watch %d of all sessions: %d sessions, %d repeats", n, len(f.seen), f.repeats)
	}
	for _, p := range u.people {
		for _, id := range p.chain {
			rig.Await(u.t, "the watch of "+id+" shows the last revision", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.shown[id].GetRevision() == final[id].GetRevision()
			})
		}
	}
	for id, v := range final {
		if outcome := v.GetOutcomeId(); outcome != "" {
			rig.Await(u.t, "the consumer has handled the outcome of "+id, func() bool { return u.consumer.has(outcome) })
		}
	}
}

// checkChains checks that each accepted retry was granted once, and that each accepted replacement is one session.
func (u *upgrade) checkChains(final map[string]*verificationv1.Verification) {
	u.t.Helper()
	made := map[string]int{} // sessions at Stripe, by reference
	for _, session := range u.stripe.Sessions() {
		made[session.ClientReferenceID]++
	}
	replacements, granted := 0, 0
	for _, p := range u.people {
		if p.isRedacted() {
			continue // the reference is erased; nobody of these asked for a retry
		}
		if made[p.reference] != len(p.chain) {
			u.wrong("%s: %d replacements were accepted, and %d sessions exist", p.reference, len(p.chain)-1, made[p.reference])
		}
		if got := final[p.session()].GetRetry().GetRetriesGranted(); got != p.granted {
			u.wrong("%s: %d retries were accepted, and %d granted", p.session(), p.granted, got)
		}
		for i, id := range p.chain[:len(p.chain)-1] {
			if got := final[id].GetSupersededBy(); got != p.chain[i+1] {
				u.wrong("%s is superseded by %q; want %s", id, got, p.chain[i+1])
			}
		}
		replacements, granted = replacements+len(p.chain)-1, granted+int(p.granted)
	}
	u.t.Logf("%d retries were accepted, %d of them by a replacement", granted, replacements)
}

// checkLists compares the list of each status with Stripe.
func (u *upgrade) checkLists() {
	u.t.Helper()
	names := map[verificationv1.Status]string{
		verificationv1.Status_STATUS_REQUIRES_INPUT: "requires_input", verificationv1.Status_STATUS_PROCESSING: "processing",
		verificationv1.Status_STATUS_VERIFIED: "verified", verificationv1.Status_STATUS_CANCELED: "canceled",
	}
	for of, name := range names {
		var want []string
		for _, session := range u.stripe.Sessions() {
			if session.Status == name && session.Redaction == "" {
				want = append(want, session.ID)
			}
		}
		ids, err := u.list(client.ByStatus(of))
		if err != nil {
			u.wrong("the last list of %s: %v", name, err)
			continue
		}
		for _, id := range want {
			if !slices.Contains(ids, id) {
				u.wrong("the list of %s lacks %s", name, id)
			}
		}
		for _, id := range ids {
			if session, _ := u.stripe.Session(id); session.Status != name {
				u.wrong("the list of %s has %s, which is %s", name, id, session.Status)
			}
		}
	}
}

// report writes what happened, and checks that it was enough to prove something.
func (u *upgrade) report() {
	u.t.Helper()
	u.checkLogs().log(u.t, "warnings")
	u.ingress.counts.log(u.t, "webhooks")
	u.streams.log(u.t, "streams that were lost and resumed")
	u.calls.log(u.t, "calls")
	u.t.Logf("%v", u.recorder.Seen())
	u.t.Logf("%+v", u.stripe.Stats())
	for _, kind := range lifeKinds {
		u.t.Logf("a person that %s: %d", kind.name, u.lived[kind.name])
	}
	c := u.consumer
	c.mu.Lock()
	defer c.mu.Unlock()
	u.t.Logf("the consumer handled %d outcomes, %d of them twice", len(c.handled), c.repeats)
	for what, n := range map[string]int{
		"webhooks that met a closed port": u.ingress.counts.count(webhookRefused), "streams that were resumed": u.streams.count(""),
		"allowances of an operator": u.calls.count("AllowRetry allowed"), "outcomes": len(c.handled),
	} {
		if n == 0 {
			u.wrong("this run had no %s: it has shown nothing", what)
		}
	}
}

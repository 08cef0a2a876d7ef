package e2e

import (
	"flag"
	"strconv"
	"testing"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

var consumerFailovers = flag.Int("consumers.failovers", 1, "how often TestG14_AFailoverThatLosesWritesLeavesNoOutcomeOut loses the newest writes of Redis")

// TestG14_AFailoverThatLosesWritesLeavesNoOutcomeOut: the master of Redis dies with writes that no replica has. One consumer is awake all the
// time, and has acknowledged changes that are lost. Another one is created and acknowledges before, and continues afterwards. A third one
// is created by a write that is lost. Each of them acts on every outcome of every session, or is refused.
func TestG14_AFailoverThatLosesWritesLeavesNoOutcomeOut(t *testing.T) {
	t.Parallel() // it mostly waits for failovers
	set := redistest.StartSentinel(t, 1, 1)
	stripe := rig.StartFakeStripe(t)
	p := rig.Serve(t, stripe.Settings("", sentinelSettings(set)[len(rig.Settings("")):]...))
	stripe.SendTo(p)
	service := rig.ClientOf(t, p)
	awake, asleep := newProgram(t, "awake", p.GRPC), newProgram(t, "asleep", p.GRPC)
	awake.start(false)
	asleep.start(false)
	var sessions []string
	live := func(outcome string) {
		sessions = append(sessions, stripe.NewSession("person"))
		stripe.SubmitAndFinish(sessions[len(sessions)-1], outcome)
	}
	for round := range *consumerFailovers {
		live("verified")
		if awake.wantCompleteOrRefused(service, sessions) || asleep.wantCompleteOrRefused(service, sessions) {
			t.Fatal("a consumer is refused, before anything is lost")
		}
		asleep.halt()

		master := set.Master()
		replica := set.Servers[0]
		if replica == master {
			replica = set.Servers[1]
		}
		replica.AwaitSynced(master)
		replica.Pause()
		master.MustAsk("CLIENT", "KILL", "TYPE", "replica")
		late := newProgram(t, "late", p.GRPC)
		late.start(false)
		live("document_expired")
		if awake.wantCompleteOrRefused(service, sessions) {
			t.Fatal("the consumer is refused, before anything is lost")
		}
		awake.awaitAcknowledged()
		lost, done := outcomesOf(t, service, sessions), catchUps(t, p)
		master.Stop()
		replica.Resume()
		set.AwaitNewMaster(master)
		p.Await("the catch-up after the failover", func() bool { return catchUps(t, p) > done })
		set.Restart(master)

		asleep.start(true)
		live("verified")
		for _, consumer := range []*program{awake, asleep} {
			refused := consumer.wantCompleteOrRefused(service, sessions)
			t.Logf("round %d: %s was refused: %t, repeats %d", round, consumer.name, refused, consumer.again)
			if refused {
				// As the documents say: delete it, create it again, and read the sessions that matter.
				if err := consumer.conn.DeleteConsumer(rig.Within(t, rig.Soon), consumer.name); err != nil {
					t.Fatal(err)
				}
				consumer.start(false)
				consumer.catchUp(service, sessions)
			}
		}
		late.wantRefused(client.ErrConsumerNotFound)
		if found := late.find(); found != nil {
			t.Errorf("the consumer that was lost was created again: %v", found)
		}
		for i, id := range outcomesOf(t, service, sessions[:len(lost)]) {
			if id != lost[i] {
				t.Errorf("outcome_id of %s: got %s, before the loss it was %s", sessions[i], id, lost[i])
			}
		}
	}
}

// catchUps returns how many catch-ups a server has finished.
func catchUps(t *testing.T, p *rig.Process) int {
	t.Helper()
	n, _ := strconv.Atoi(metric(t, p, `verification_catch_ups_total{result="done"}`))
	return n
}

//go:build faults

package faults

import (
	"math/rand/v2"
	"time"

	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/checker"
	"example.com/verification-status/server/internal/testing/redistest"
)

// fault is a kind of fault. inject runs in the test's goroutine, one at a time. It schedules the repair of a fault that
// lasts.
type fault struct {
	name   string
	inject func(*faultRig)
}

// everywhere are the faults of every topology.
var everywhere = []fault{
	{"kill -9 of a replica", killReplica},
	{"SIGTERM of a replica: drained", drainReplica},
	{"FLUSHALL", flushAll},
	{"a replica's clock off by a minute", wrongClock},
	{"Stripe's API: 429", func(w *faultRig) { breakAPI(w, stripesim.APIFaults{RateLimited: 0.9}) }},
	{"Stripe's API: 500, 503 and cut connections", func(w *faultRig) {
		breakAPI(w, stripesim.APIFaults{ServerError: 0.4, Unavailable: 0.2, Closed: 0.3})
	}},
	{"Stripe's API: time-outs", func(w *faultRig) { breakAPI(w, stripesim.APIFaults{Hang: 0.7, HangFor: 12 * time.Second}) }},
	{"Stripe's API: slow answers, old when they come", func(w *faultRig) {
		breakAPI(w, stripesim.APIFaults{Slow: 0.8, DelayBefore: 300 * time.Millisecond, DelayAfter: 900 * time.Millisecond})
	}},
	{"webhooks never sent", dropWebhooks},
}

// injectFaults injects as many as planned, each kind as often as any other, in random order.
func (w *faultRig) injectFaults() {
	rng := w.plan.rand(3)
	kinds := append(append([]fault{}, everywhere...), w.redis.faults...)
	var deck []fault
	began := time.Now()
	for n := range w.plan.faults {
		if len(deck) == 0 {
			deck = append(deck, kinds...)
			rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		next := deck[0]
		deck = deck[1:]
		due := w.plan.spread() * time.Duration(n) / time.Duration(w.plan.faults)
		_ = pause(w.watching, due-time.Since(began))
		w.repairDue(time.Now())
		w.random = rand.New(rand.NewPCG(rng.Uint64(), uint64(n)))
		w.t.Logf("%6.1fs fault %d: %s", time.Since(began).Seconds(), n+1, next.name)
		next.inject(w)
		w.tally.kinds[next.name]++
	}
}

// pick is a random number below n, for faults.
func (w *faultRig) pick(n int) int { return w.random.IntN(n) }

// moment is a random time of up to so many seconds, for faults.
func (w *faultRig) moment(seconds int) time.Duration {
	return time.Duration(w.random.Int64N(int64(seconds) * int64(time.Second)))
}

func killReplica(w *faultRig) {
	r := w.replicas[w.pick(3)]
	r.kill()
	_ = pause(w.watching, w.moment(1))
	r.start()
}

func drainReplica(w *faultRig) {
	r := w.replicas[w.pick(3)]
	r.drain()
	_ = pause(w.watching, w.moment(1))
	r.start()
}

// flushAll takes all that Redis has: everything that was seen is of another era.
func flushAll(w *faultRig) {
	w.loses(checker.Loss{Reason: "FLUSHALL", Everything: true}, func() {
		for _, master := range w.redis.masters() {
			master.MustAsk("FLUSHALL")
		}
	})
}

func wrongClock(w *faultRig) {
	r := w.replicas[w.pick(3)]
	r.setClock([]time.Duration{time.Minute, -time.Minute}[w.pick(2)])
	w.repairLater(5*time.Second+w.moment(10), func() { r.setClock(0) })
}

func breakAPI(w *faultRig, faults stripesim.APIFaults) {
	if err := w.sim.SetAPIFaults(faults); err != nil {
		w.t.Fatal(err)
	}
	w.repairLater(2*time.Second+w.moment(4), func() { _ = w.sim.SetAPIFaults(stripesim.APIFaults{}) })
}

func dropWebhooks(w *faultRig) {
	faults := hostile
	faults.DropProbability = 0.5
	if err := w.sim.SetFaults(faults); err != nil {
		w.t.Fatal(err)
	}
	w.repairLater(time.Second+w.moment(3), func() { _ = w.sim.SetFaults(hostile) })
}

// pauseServer lets a Redis stand still: connections stay open and nothing answers.
func pauseServer(w *faultRig, server *redistest.Server, d time.Duration) {
	server.Pause()
	_ = pause(w.watching, d)
	server.Resume()
}

// cutCommits cuts the connections of a replica's next commits, one to six.
func cutCommits(w *faultRig, c *cutProxy, way cut) {
	before := c.cuts()
	c.arm(way, 1+w.pick(6))
	deadline := time.Now().Add(5 * time.Second)
	for c.cuts() == before && time.Now().Before(deadline) && pause(w.watching, 20*time.Millisecond) == nil {
	}
	if c.cuts() == before {
		c.arm(way, 0)
		w.t.Log("no commit came to be cut")
	}
}

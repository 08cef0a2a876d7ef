package recovery

import (
	"context"
	"maps"
	"sync"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/tests/rig"
)

// consumer is a named consumer that notes the outcomes that it got.
type consumer struct {
	mu       sync.Mutex
	outcomes map[string]string // session by outcome_id
	inRun    map[string]bool   // outcome ids of the present run
	repeated int
}

const consumerName = "ledger"

// newConsumer creates the consumer. It gets every change from now on.
func newConsumer(d *drill) *consumer {
	d.t.Helper()
	c := &consumer{outcomes: map[string]string{}}
	c.consume(d, "the consumer exists", c.exists)
	return c
}

// awaitOutcomes lets a program of the consumer run until it has got the outcomes that sessions have now.
func (c *consumer) awaitOutcomes(d *drill, people ...*person) {
	d.t.Helper()
	wanted := map[string]bool{}
	for _, p := range people {
		wanted[rig.GetStatus(d.t, d.clients[0], p.id).GetVerification().GetOutcomeId()] = true
	}
	got := 0
	c.consume(d, "the consumer has got the outcomes", func(*drill, *client.Client) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		got = 0
		for id := range wanted {
			if c.inRun[id] {
				got++
			}
		}
		return got == len(wanted)
	})
}

// consume lets a program of the consumer run until something is done. At its end the program acknowledges what it has got.
func (c *consumer) consume(d *drill, what string, done func(*drill, *client.Client) bool) {
	d.t.Helper()
	conn, err := client.Dial(d.servers[0].GRPC, client.WithPlaintext())
	if err != nil {
		d.t.Fatal(err)
	}
	c.mu.Lock()
	c.inRun = map[string]bool{}
	c.mu.Unlock()
	ctx, stop := context.WithCancel(d.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := conn.Consume(ctx, consumerName, c.act); ctx.Err() == nil {
			d.t.Errorf("the consumer ended: %v", err)
		}
	}()
	rig.Await(d.t, what, func() bool { return done(d, conn) })
	stop()
	await.One(d.t, ended)
	if err := conn.Close(); err != nil {
		d.t.Error(err)
	}
}

func (c *consumer) act(_ context.Context, update client.Update) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := update.Verification
	if c.outcomes[v.GetOutcomeId()] != "" {
		c.repeated++
	}
	c.outcomes[v.GetOutcomeId()], c.inRun[v.GetOutcomeId()] = v.GetSessionId(), true
	return nil
}

// exists reports whether the service has the consumer.
func (c *consumer) exists(d *drill, conn *client.Client) bool {
	d.t.Helper()
	consumers, err := conn.ListConsumers(rig.Within(d.t, rig.Soon))
	if err != nil {
		d.t.Fatal(err)
	}
	return len(consumers) == 1 && consumers[0].GetName() == consumerName
}

// wantRepeats lets the program run again. Its position is that of the backup: it gets the outcomes since then again, under the names that
// they had.
func (c *consumer) wantRepeats(d *drill) {
	d.t.Helper()
	c.mu.Lock()
	known := maps.Clone(c.outcomes)
	c.mu.Unlock()
	c.awaitOutcomes(d, d.waiting, d.failed, d.processing)
	people := map[string]bool{}
	for _, p := range []*person{d.waiting, d.failed, d.twice, d.verified, d.processing, d.erasing, d.young, d.barred} {
		people[p.id] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, session := range c.outcomes {
		if known[id] == "" && people[session] {
			d.t.Errorf("the outcome of %s has another name after the restore: %s", session, id)
		}
	}
	if c.repeated < 3 {
		d.t.Errorf("%d outcomes came again, want at least those of the three people with one since the backup", c.repeated)
	}
}

//go:build load

package load

import (
	"context"
	"sync"

	"example.com/verification-status/client"
	"example.com/verification-status/server/tests/rig"
)

// upgradeConsumer is a backend that acts on outcomes, as a named consumer of the feed.
type upgradeConsumer struct {
	name string

	mu      sync.Mutex
	handled map[string]string // session by outcome_id
	newest  map[string]int32  // outcome_revision by session
	repeats int
}

// consumeEverything runs the consumer until the test ends, from before the first session.
func (u *upgrade) consumeEverything() {
	u.t.Helper()
	c := &upgradeConsumer{name: "upgrade", handled: map[string]string{}, newest: map[string]int32{}}
	u.consumer = c
	dialed := u.dial()
	u.watches.Go(func() {
		err := dialed.Consume(u.watching, c.name, func(_ context.Context, update client.Update) error {
			c.handle(u, update)
			return nil
		}, client.Workers(4), u.interrupted("the consumer"))
		u.ended("the consumer", err)
	})
	rig.Await(u.t, "the consumer exists", func() bool {
		consumers, err := dialed.ListConsumers(rig.Within(u.t, rig.Soon))
		return err == nil && len(consumers) == 1
	})
}

func (c *upgradeConsumer) handle(u *upgrade, update client.Update) {
	v := update.Verification
	c.mu.Lock()
	defer c.mu.Unlock()
	if v.GetOutcomeId() == "" {
		u.wrong("the consumer got %s at revision %d without an outcome", v.GetSessionId(), v.GetRevision())
		return
	}
	session, known := c.handled[v.GetOutcomeId()]
	switch {
	case known && session != v.GetSessionId():
		u.wrong("%s and %s have one outcome_id", session, v.GetSessionId())
	case known:
		c.repeats++
	case v.GetOutcomeRevision() <= c.newest[v.GetSessionId()]:
		u.wrong("%s: the consumer got the outcome of revision %d after that of %d", v.GetSessionId(), v.GetOutcomeRevision(), c.newest[v.GetSessionId()])
	}
	c.handled[v.GetOutcomeId()] = v.GetSessionId()
	c.newest[v.GetSessionId()] = max(c.newest[v.GetSessionId()], v.GetOutcomeRevision())
}

// has returns whether the consumer has handled an outcome.
func (c *upgradeConsumer) has(outcome string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handled[outcome] != ""
}

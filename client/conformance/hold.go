package main

import (
	"context"
	"fmt"
	"time"
)

// holdFor is how long a handler does not return before the kit looks at the acknowledgements: clients acknowledge up to a second
// after a change. If it is too short on a busy machine, a wrong client passes; a right one never fails.
const holdFor = 1500 * time.Millisecond

// hold looks at the consumer while its handler has not returned from a change that came in the pause. Neither that change nor one
// after it can be acknowledged, whatever else happened in the pause.
func (p *player) hold(ctx context.Context, w *watched) error {
	made := len(p.model.feed) - w.pausedAt
	if made == 0 {
		return nil
	}
	// If the handler has not returned from a change before the pause, it gets no further one.
	more := func() int { return len(p.ledger.traces[w.name]) - p.reported }
	deadline := time.Now().Add(holdFor)
	if err := p.await(ctx, func() bool { return more() > 0 || time.Now().After(deadline) }, func() {}); err != nil {
		return err
	}
	select {
	case <-time.After(holdFor):
	case <-ctx.Done():
		return ctx.Err()
	}
	p.ledger.look(func() bool {
		if n := more(); n > 1 {
			p.ledger.problem("a consumer's handler had not returned, and the client called it %d times more", n-1)
		}
		return true
	})
	return p.consumers(ctx, func(pending int) {
		if pending < made {
			p.ledger.fault("a consumer's handler had not returned from the first of %d changes, and the server's position passed over %d of them", made, made-pending)
		}
	})
}

// consumers calls f with the number of changes that the consumer has not acknowledged, if it exists.
func (p *player) consumers(ctx context.Context, f func(pending int)) error {
	consumers, err := p.control.server.Client(kitToken).ListConsumers(ctx)
	if err != nil {
		return fmt.Errorf("the kit is wrong: %w", err)
	}
	for _, c := range consumers {
		f(int(c.GetPendingChanges()))
	}
	return nil
}

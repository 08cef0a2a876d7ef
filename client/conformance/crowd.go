package main

import (
	"context"
	"fmt"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// crowdSession is what the watches of the step crowd watch.
const crowdSession = "vs_crowd"

// crowd begins many watches at once, waits until each has its first update, and stops them. A connection has too few streams.
func (p *player) crowd(ctx context.Context, st step, _ []*watched) error {
	p.control.server.Set(&verificationv1.Verification{SessionId: crowdSession, Status: verificationv1.Status_STATUS_REQUIRES_INPUT})
	var names []string
	for n := range st.times() {
		name := fmt.Sprintf("%s-%d", ofCrowd, n+1)
		names = append(names, name)
		p.ledger.begin(ofCrowd, name, "")
		p.program.route(p.full(name), func(e event) { p.ledger.report(ofCrowd, name, e) })
		if err := p.ask(ctx, command{"do": "watch", "client": p.run, "watch": p.full(name), "session": crowdSession}); err != nil {
			return err
		}
	}
	err := p.awaitCrowd(ctx, names, func(name string) bool { return len(p.ledger.traces[name]) > 0 })
	for _, name := range names {
		if stopped := p.ask(ctx, command{"do": "stop", "watch": p.full(name)}); err == nil {
			err = stopped
		}
	}
	if err != nil {
		return err
	}
	err = p.awaitCrowd(ctx, names, func(name string) bool { return p.ledger.ended[name] })
	for _, name := range names {
		p.program.route(p.full(name), nil)
	}
	return err
}

// awaitCrowd waits until each watch has what it must. ok is called with the ledger's lock held.
func (p *player) awaitCrowd(ctx context.Context, names []string, ok func(string) bool) error {
	have := 0
	err := p.await(ctx, func() bool {
		have = 0
		for _, name := range names {
			if ok(name) {
				have++
			}
		}
		return have == len(names)
	}, func() {})
	if err != nil {
		return fmt.Errorf("only %d of %d watches have had an update, or have ended: one connection has %d streams: %w", have, len(names), maxStreams, err)
	}
	return nil
}

// Of streams that begin while one address is not ready, so many in a row must be at the other one, within so many tries: the
// client needs a moment to learn of it.
const (
	readyInARow = 5
	readyTries  = 100
)

// unready lets one address say that it is not ready, and breaks streams until the client uses the other one only.
func (p *player) unready(ctx context.Context, st step, before []*watched) error {
	not := p.control.replicas[st.times()-1]
	not.SetReady(false)
	row := 0
	for range readyTries {
		p.control.cutStreams(nil)
		if err := p.settle(ctx); err != nil {
			return err
		}
		row++
		for _, w := range before {
			if p.control.isAt(w.kind, not.Target()) {
				row = 0
			}
		}
		if row == readyInARow {
			return nil
		}
	}
	return fmt.Errorf("the health service of an address said NOT_SERVING, and the client still opened streams there, in %d tries", readyTries)
}

// isAt reports whether an open stream of a kind of watch is at a replica.
func (c *control) isAt(kind, replica string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.taps {
		if t.replica == replica && t.serves(kind) {
			return true
		}
	}
	return false
}

package main

import (
	"context"
	"fmt"
	"time"
)

// early is how much earlier a client's timer can seem to end.
const early = 5 * time.Millisecond

// watchdog is after how many heartbeats without a response a client gives a stream up.
const watchdog = 2.5

// silence lets the open streams, or all connections, fall silent, and then makes a change.
func (p *player) silence(ctx context.Context, st step, before []*watched) error {
	p.control.doom()
	var taps []*tap
	p.control.each(func(t *tap) {
		taps = append(taps, t)
		t.set(func() { t.silent = st.verb == "silence" })
	})
	if st.verb == "hang" {
		for _, f := range p.control.fronts {
			f.hang()
		}
	}
	if err := p.set(ctx, st, before); err != nil {
		return err
	}
	err := p.await(ctx, func() bool {
		for _, t := range taps {
			if !t.isFinished() {
				return false
			}
		}
		return true
	}, func() {})
	if err != nil {
		return fmt.Errorf("a stream fell silent, and the client did not give it up: %w", err)
	}
	if st.verb == "hang" {
		return p.outlive(ctx)
	}
	// A timer of the client can be some milliseconds early by the kit's clock.
	least := time.Duration(watchdog*float64(p.times.heartbeat)) - early
	for _, t := range taps {
		if !t.sentAt.IsZero() && t.silence < least {
			p.ledger.fault("%s: a stream was given up after %v of silence; want %v heartbeats of %v", t.kind, t.silence.Round(time.Millisecond), watchdog, p.times.heartbeat)
		}
	}
	return nil
}

func (t *tap) isFinished() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.finished
}

// outlive lets connections be dead for four heartbeats more. Then a machine in between closes them.
func (p *player) outlive(ctx context.Context) error {
	select {
	case <-time.After(4 * p.times.heartbeat):
	case <-ctx.Done():
	}
	for _, f := range p.control.fronts {
		f.cut()
	}
	return ctx.Err()
}

// quietTries is how often a client must be seen to give up streams that were not silent. Once can be the machine's fault: a
// program that does not run for the time of a silence cannot tell the difference.
const quietTries = 5

// quiet lets heartbeats pass for longer than a watchdog waits. No stream may be given up.
func (p *player) quiet(ctx context.Context, _ step, before []*watched) error {
	more := 0
	for range quietTries {
		had := p.opened(before)
		select {
		case <-time.After(time.Duration((watchdog + 1) * float64(p.times.heartbeat))):
		case <-ctx.Done():
			return ctx.Err()
		}
		if more = p.opened(before) - had; more == 0 {
			return nil
		}
	}
	return fmt.Errorf("nothing but heartbeats came, each %v, and the client opened %d further streams meanwhile", p.times.heartbeat, more)
}

// opened returns how many streams these watches have opened so far.
func (p *player) opened(of []*watched) (n int) {
	p.ledger.look(func() bool {
		for _, w := range of {
			n += p.ledger.streams[w.kind].opened
		}
		return true
	})
	return n
}

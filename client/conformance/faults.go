package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/verification-status/client"
)

// kitToken lets the kit's own client in.
var kitToken = client.WithBearerToken(func(context.Context) (string, error) { return rightToken, nil })

func (t *tap) set(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

// doom says that all open streams end by the next fault.
func (c *control) doom() {
	c.each(func(t *tap) { t.set(func() { t.doomed = !t.sentAt.IsZero() }) })
}

// cutStreams ends the open streams; nil: with the error of a server that stops.
func (c *control) cutStreams(err error) {
	c.doom()
	c.server.CutStreams(err)
}

// cutConnection says that a connection is cut.
func (c *control) cutConnection(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead[name] = true
}

// isCut reports whether a connection is cut.
func (c *control) isCut(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead[name]
}

// serves reports whether a watch has an open stream that has sent a response and that no fault is about to end.
func (c *control) serves(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.taps {
		if t.serves(kind) && !c.dead[t.connection] {
			return true
		}
	}
	return false
}

// isOpen reports whether a stream of a kind of watch is open.
func (c *control) isOpen(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.taps {
		if t.kindOf() == kind {
			return true
		}
	}
	return false
}

func (t *tap) kindOf() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kind
}

func (t *tap) serves(kind string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kind == kind && !t.sentAt.IsZero() && !t.doomed && !t.finished
}

func (c *control) down() {
	for _, f := range c.fronts {
		f.down()
	}
}

func (c *control) up() {
	for _, f := range c.fronts {
		f.up()
	}
}

// cut makes changes, and cuts the connection at the response with one of them.
func (p *player) cut(ctx context.Context, st step, before []*watched) error {
	fired := p.control.cutter.arm(st.word(), max(st.at, 1), p.random.IntN(1000))
	if err := p.set(ctx, st, before); err != nil {
		return err
	}
	select {
	case <-fired:
		return nil
	case <-time.After(p.within()):
		return errors.New("the client had no open stream that could be cut")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *player) end(ctx context.Context, st step, before []*watched) error {
	err := statusOf(st.code, st.reason, st.wait)
	if st.of == 0 {
		p.control.cutStreams(err)
		return nil
	}
	p.control.doom()
	p.control.each(func(t *tap) { t.set(func() { t.left, t.err = st.at, err }) })
	return p.set(ctx, st, before)
}

func (p *player) refuse(_ context.Context, st step, before []*watched) error {
	err := statusOf(st.code, st.reason, st.wait)
	for _, w := range before {
		p.control.refuse(w.kind, err, st.times())
	}
	if len(before) > 0 {
		p.control.cutStreams(nil)
		return nil
	}
	for _, kind := range kinds {
		p.control.refuse(kind, err, st.times())
	}
	return nil
}

// http puts a proxy that answers in HTML before the service, until it has answered often enough. A client without watches leaves
// its connections first, so that its next call is not lost with one of them.
func (p *player) http(_ context.Context, st step, before []*watched) error {
	var err error
	p.liar, err = newLiar(st.code, st.times(), func() {
		for _, f := range p.control.fronts {
			f.lie(nil)
		}
	})
	if err != nil {
		return err
	}
	for _, f := range p.control.fronts {
		f.lie(p.liar)
		if len(before) == 0 {
			f.goAway()
			f.awaitNone(leaveWithin)
		}
		f.cut()
	}
	return nil
}

func (p *player) drain(context.Context, step, []*watched) error {
	for _, f := range p.control.fronts {
		f.goAway()
	}
	p.control.cutStreams(nil)
	return nil
}

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

// quietTries is how often quiet looks, while the machine is too busy for heartbeats in time.
const quietTries = 20

// quiet lets heartbeats pass for longer than a watchdog waits. No stream may be given up.
func (p *player) quiet(ctx context.Context, _ step, before []*watched) error {
	for try := 1; ; try++ {
		had := p.opened(before)
		p.control.latest.Store(0)
		select {
		case <-time.After(time.Duration((watchdog + 1) * float64(p.times.heartbeat))):
		case <-ctx.Done():
			return ctx.Err()
		}
		more := p.opened(before) - had
		late := time.Duration(p.control.latest.Load())
		switch {
		case more == 0:
			return nil
		case late < 2*p.times.heartbeat || try == quietTries:
			return fmt.Errorf("nothing but heartbeats came, each %v, and the client opened %d further streams", p.times.heartbeat, more)
		}
	}
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

// Bounds of what a paused reader may take.
const (
	// maxTaken is above what flow control lets pass: windows of gRPC and of HTTP/2 grow up to 16 MiB in some libraries.
	maxTaken = 24 << 20
	// standstill is how long no more may be taken before the kit counts.
	standstill = 300 * time.Millisecond
)

// flood makes large changes while the readers are paused, until no more is taken.
func (p *player) flood(ctx context.Context, st step, before []*watched) error {
	if err := p.set(ctx, st, before); err != nil {
		return err
	}
	for last := -1; ; {
		taken := 0
		p.control.each(func(t *tap) { t.set(func() { taken = max(taken, t.updates) }) })
		if taken == last {
			break
		}
		last = taken
		select {
		case <-time.After(standstill):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	most := 0
	p.control.each(func(t *tap) { t.set(func() { most = max(most, t.updates*largeBytes) }) })
	if most > maxTaken {
		p.ledger.fault("a reader was paused, and its client took %d MiB; it must stop reading from the connection (at most %d MiB)", most>>20, maxTaken>>20)
	}
	return nil
}

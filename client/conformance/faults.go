package main

import (
	"context"
	"errors"
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
	err := statusOf(st)
	if st.of == 0 {
		p.control.cutStreams(err)
		return nil
	}
	p.control.doom()
	p.control.each(func(t *tap) { t.set(func() { t.left, t.err = st.at, err }) })
	return p.set(ctx, st, before)
}

func (p *player) refuse(_ context.Context, st step, before []*watched) error {
	err := statusOf(st)
	p.waits = time.Duration(st.times()) * p.ledger.maxBackoff
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

package program

import (
	"context"
	"sync"

	"example.com/verification-status/client"
)

// reader reads one watch.
type reader struct {
	ctx  context.Context
	stop context.CancelFunc

	mu     sync.Mutex
	paused chan struct{} // closed: not paused
}

func newReader() *reader {
	r := &reader{paused: make(chan struct{})}
	close(r.paused)
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// change does pause, resume or stop.
func (r *reader) change(how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch how {
	case "stop":
		r.stop()
	case "pause":
		r.paused = make(chan struct{})
	case "resume":
		close(r.paused)
	}
}

// gate waits while the reader is paused, and returns when it is stopped.
func (r *reader) gate() {
	r.mu.Lock()
	paused := r.paused
	r.mu.Unlock()
	select {
	case <-paused:
	case <-r.ctx.Done():
	}
}

// begin begins a watch or a consumer. Its goroutine waits for the answer, so that no update is written before it.
func (p *Program) begin(c command) {
	with, r, begun := p.clients[c.Client], newReader(), make(chan struct{})
	if _, ok := with.(Consumer); c.Do == "consume" && !ok {
		p.answer(c, nil, errUnsupported)
		return
	}
	p.watches[c.Watch] = r
	p.running.Go(func() {
		<-begun
		defer r.stop()
		err := p.read(with, r, c)
		f := failureOf(err)
		p.write(fields{"event": "end", "watch": c.Watch, "code": f.Code, "reason": f.Reason, "retry_after_ms": f.RetryAfter, "message": f.Message})
	})
	p.answer(c, nil, nil)
	close(begun)
}

// read reads a watch to its end.
func (p *Program) read(with Client, r *reader, c command) error {
	each := func(u client.Update) {
		p.report(c.Watch, u)
		r.gate()
	}
	if c.Do == "consume" {
		return with.(Consumer).Consume(r.ctx, c.Consumer, c.MustExist, p.settings.Heartbeat, each)
	}
	watch := Watch{c.Session, c.Reference, c.UntilSettled, c.Bookmarks, c.ResumeFrom, p.settings.Heartbeat}
	for u, err := range with.Watch(r.ctx, watch) {
		if err != nil {
			return err
		}
		each(u)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// act does a step, at the service and with the program. before has the watches that were live before it.
type act func(p *player, ctx context.Context, st step, before []*watched) error

var acts = map[string]act{
	"connect": (*player).connect,
	"watch":   (*player).watch,
	"again":   (*player).watch,
	"change":  (*player).set,
	"newer":   (*player).set,
	"settle":  (*player).set,
	"redact":  (*player).set,
	"repeat":  (*player).repeat,
	"cut":     (*player).cut,
	"end":     (*player).end,
	"forget":  atOnce(func(p *player, _ step) { p.control.server.DeleteConsumer(consumerName) }),
	"refuse":  (*player).refuse,
	"http":    (*player).http,
	"drain":   (*player).drain,
	"silence": (*player).silence,
	"hang":    (*player).silence,
	"quiet":   (*player).quiet,
	"away":    atOnce(func(p *player, _ step) { p.control.down() }),
	"back":    atOnce(func(p *player, _ step) { p.control.up() }),
	"trim":    atOnce(func(p *player, _ step) { p.control.server.ExpireTokens() }),
	"die":     atOnce(func(p *player, st step) { p.control.fronts[st.times()-1].down() }),
	"revive":  atOnce(func(p *player, st step) { p.control.fronts[st.times()-1].up() }),
	"unready": (*player).unready,
	"ready":   atOnce(func(p *player, st step) { p.control.replicas[st.times()-1].SetReady(true) }),
	"crowd":   (*player).crowd,
	"pause":   (*player).pause,
	"resume":  (*player).pause,
	"flood":   (*player).flood,
	"stop":    (*player).stop,
	"fail":    atOnce(func(p *player, st step) { p.control.fail(statusOf(st), st.times()) }),
	"status":  (*player).call,
	"retry":   (*player).call,
	"close":   (*player).leave,
}

// atOnce returns an act that cannot fail.
func atOnce(f func(*player, step)) act {
	return func(p *player, _ context.Context, st step, _ []*watched) error {
		f(p, st)
		return nil
	}
}

const (
	consumerName = "kit"
	reference    = "user-1"
	callWithin   = 10 * time.Second
)

// ask sends a command, and returns an error if its answer has one.
func (p *player) ask(ctx context.Context, c command) error {
	e, err := p.program.ask(ctx, c)
	if err == nil && e.Code != "" {
		err = fmt.Errorf("%v failed: %s %s %s", c["do"], e.Code, e.Reason, oneLine(e.Message))
	}
	return err
}

func (p *player) connect(ctx context.Context, st step, _ []*watched) error {
	var err error
	if p.control, err = newControl(p.ledger, p.model.addresses, p.times.heartbeat); err != nil {
		return err
	}
	p.model.made = p.model.feed // the first session
	_ = p.set(ctx, st, nil)
	if p.model.slow {
		if err := p.slow(ctx); err != nil {
			return err
		}
	}
	token := rightToken
	if p.model.wrong {
		token = "wrong"
	}
	return p.ask(ctx, command{"do": "connect", "client": p.run, "addresses": p.control.addresses(), "token": token})
}

func (p *player) watch(ctx context.Context, st step, _ []*watched) error {
	w := p.model.watches[st.word()]
	c := command{"do": "watch", "client": p.run, "watch": p.full(w.name)}
	switch {
	case w.kind == byConsumer:
		c["do"], c["consumer"] = "consume", consumerName
	case w.kind == ofAll:
		c["do"], c["bookmarks"] = "watch_all", true
	case w.kind == byReference:
		c["reference"] = reference
	case w.unknown:
		c["session"] = "vs_unknown"
	default:
		c["session"] = "vs_1"
	}
	if w.untilSettled {
		c["until_settled"] = true
	}
	token := ""
	switch {
	case w.badToken:
		token = "bad-token"
	case st.verb == "again":
		p.ledger.look(func() bool { token = p.ledger.tokens[p.nameBefore(w)]; return true })
	}
	c["resume_from"] = token
	p.ledger.begin(w.kind, w.name, token)
	p.program.route(p.full(w.name), func(e event) { p.ledger.report(w.kind, w.name, e) })
	err := p.ask(ctx, c)
	if err == nil {
		p.begun = append(p.begun, w.name)
	}
	return err
}

// nameBefore returns the name of the watch of the same kind before this one.
func (p *player) nameBefore(w *watched) string {
	if n := p.model.begun[w.kind] - 1; n > 1 {
		return fmt.Sprintf("%s-%d", w.kind, n)
	}
	return w.kind
}

// large is a text that makes an update large.
var large = strings.Repeat("x", largeBytes)

const largeBytes = 32 << 10

// set makes the changes of the step.
func (p *player) set(_ context.Context, _ step, _ []*watched) error {
	for _, c := range p.model.made {
		v := &verificationv1.Verification{
			SessionId: p.model.sessions[c.session].name, ClientReferenceId: reference,
			Status: verificationv1.Status(verificationv1.Status_value["STATUS_"+c.status]),
		}
		if c.redacts {
			v.Redaction = verificationv1.Redaction_REDACTION_REDACTED
		}
		if c.large {
			v.LastError = &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_ABANDONED, Reason: large}
		}
		if got := int(p.control.server.Set(v).GetRevision()); got != c.revision {
			return fmt.Errorf("the kit is wrong: the change became revision %d, not %d", got, c.revision)
		}
	}
	return nil
}

// repeat makes a change, whose response every stream sends twice.
func (p *player) repeat(ctx context.Context, st step, before []*watched) error {
	p.control.each(func(t *tap) { t.set(func() { t.twice = true }) })
	return p.set(ctx, st, before)
}

// leave closes the client. Then none of its connections may be left.
func (p *player) leave(ctx context.Context, _ step, _ []*watched) error {
	if err := p.ask(ctx, command{"do": "close", "client": p.run}); err != nil {
		return err
	}
	left := 0
	err := p.await(ctx, func() bool {
		left = 0
		for _, f := range p.control.fronts {
			left += f.count()
		}
		return left == 0
	}, func() {})
	if err != nil {
		return fmt.Errorf("the client was closed, and %d of its connections are still open: %w", left, err)
	}
	if p.model.slow {
		_, err = p.program.ask(ctx, settings(backoff, maxBackoff, p.times.heartbeat)) // for the clients of other scripts
	}
	return err
}

func (p *player) pause(ctx context.Context, st step, _ []*watched) error {
	w := p.model.watches[st.word()]
	switch {
	case w.kind != byConsumer:
	case st.verb == "pause":
		p.ledger.look(func() bool { p.reported = len(p.ledger.traces[w.name]); return true })
	case w.live:
		if err := p.hold(ctx, w); err != nil {
			return err
		}
	}
	return p.ask(ctx, command{"do": st.verb, "watch": p.full(w.name)})
}

// stop stops a watch. Its stream must be closed then. A consumer has acknowledged what it handled.
func (p *player) stop(ctx context.Context, st step, _ []*watched) error {
	w := p.model.watches[st.word()]
	if err := p.ask(ctx, command{"do": "stop", "watch": p.full(w.name)}); err != nil {
		return err
	}
	if err := p.await(ctx, func() bool { return p.ledger.ended[w.name] && !p.control.isOpen(w.kind) }, func() {}); err != nil {
		return fmt.Errorf("%s was stopped, and has not ended, or its stream is still open: %w", w.name, err)
	}
	if w.kind != byConsumer || w.unsure {
		return nil
	}
	return p.consumers(ctx, func(pending int) {
		if pending > 0 {
			p.ledger.fault("the consumer was stopped and left %d handled changes unacknowledged", pending)
		}
	})
}

// call makes a unary call and adds its line to the trace.
func (p *player) call(ctx context.Context, st step, _ []*watched) error {
	c := command{"do": st.verb, "client": p.run, "session": p.model.sessions[len(p.model.sessions)-1].name, "timeout_ms": callWithin.Milliseconds()}
	method := map[string]string{"status": "GetStatus", "retry": "RetryVerification"}[st.verb]
	had := p.called(method)
	e, err := p.program.ask(ctx, c)
	if err != nil {
		return err
	}
	switch {
	case e.Code != "":
		p.ledger.answered(failLine(st.verb, e.failure()))
	case st.verb == "status":
		p.ledger.answered(statusLine(e.Session, e.Revision, e.Status, e.OutcomeRevision))
	default:
		p.ledger.answered(retryLine(e.Session))
		if e.ClientSecret == "" || e.URL == "" {
			return errors.New("the answer of retry has no client_secret or no url")
		}
		if strings.Contains(e.Printed, e.ClientSecret) || strings.Contains(e.Printed, e.URL) || !strings.Contains(e.Printed, "[redacted]") {
			p.ledger.fault("retry: a link that is printed must show [redacted] and no secret; it shows %q", e.Printed)
		}
	}
	if made := p.called(method) - had; made > 1 && st.verb == "retry" {
		p.ledger.fault("retry: the client called RetryVerification %d times for one call of its user", made)
	}
	return nil
}

func (p *player) called(method string) (n int) {
	p.ledger.look(func() bool { n = p.ledger.calls[method]; return true })
	return n
}

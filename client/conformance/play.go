package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// player plays one script to the program.
type player struct {
	program  *process
	run      string // prefix of the names of client and watches, so that scripts can run side by side
	times    times
	model    *model
	ledger   *ledger
	control  *control
	random   *rand.Rand    // of the script: where a frame is cut
	liar     *liar         // until it has ended
	begun    []string      // watches that the program has begun
	reported int           // lines of the consumer's trace when it was paused
	waits    time.Duration // how much longer the step can take, because of the client's backoff
}

// failed is a script that failed, and at which step.
type failed struct {
	script script
	step   string // "" before the first one
	err    error
}

// difference is the first line in which a trace is not what it must be.
type difference struct {
	watch     string
	line      int
	want, got string
}

// Error returns the two lines below each other.
func (d *difference) Error() string {
	return fmt.Sprintf("%s, line %d:\n  want: %s\n  got:  %s", d.watch, d.line, d.want, d.got)
}

// times are those of all scripts of a program.
type times struct {
	heartbeat time.Duration // that the client really asks for
	patience  time.Duration // how long a step may take, besides silence
}

// silences is how many heartbeats are added to the patience.
const silences = 5

// play plays a script. It returns nil if the client saw what it must, a *failed, or an error that wraps errUnsupported.
func play(ctx context.Context, program *process, s script, run string, t times) error {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(s.String()))
	p := &player{
		program: program, run: run, times: t, model: newModel(), ledger: newLedger(t.heartbeat),
		random: rand.New(rand.NewPCG(sum.Sum64(), 0)),
	}
	steps := s.steps
	if steps[0].verb != "connect" {
		steps = append([]step{{text: "connect", verb: "connect"}}, steps...)
	}
	defer p.close()
	for _, st := range steps {
		if err := p.step(ctx, st); errors.Is(err, errUnsupported) {
			if left := p.skip(ctx); left != nil && !errors.Is(left, errUnsupported) {
				return left
			}
			return err
		} else if err != nil {
			return &failed{s, st.text, err}
		}
	}
	for {
		st, more := p.model.finish()
		if !more {
			return nil
		}
		if err := p.step(ctx, st); err != nil {
			return &failed{s, st.text, err}
		}
	}
}

// skip closes the client of a script that is skipped, so that it connects to no other script's address.
func (p *player) skip(ctx context.Context) error {
	if err := p.leave(ctx, step{}, nil); err != nil {
		return err
	}
	return p.await(ctx, func() bool {
		for _, name := range p.begun {
			if !p.ledger.ended[name] {
				return false
			}
		}
		return true
	}, func() {})
}

// Error returns the step and what went wrong.
func (f *failed) Error() string { return fmt.Sprintf("at %q: %v", f.step, f.err) }

func (f *failed) Unwrap() error { return f.err }

// close ends the service, and no longer listens to the script's watches.
func (p *player) close() {
	for _, name := range p.model.names() {
		p.program.route(p.full(name), nil)
	}
	if p.control != nil {
		p.control.close()
	}
}

func (p *player) full(name string) string { return p.run + "/" + name }

// step does one step, and waits until the program has reported what it must.
func (p *player) step(ctx context.Context, st step) error {
	before := p.model.live()
	p.waits = 0
	if err := p.model.apply(st); err != nil {
		return fmt.Errorf("the script is wrong: %w", err)
	}
	if err := acts[st.verb](p, ctx, st, before); err != nil {
		return err
	}
	return p.settle(ctx)
}

// settle waits until all watches that are not paused have reported what they must, and compares.
func (p *player) settle(ctx context.Context) error {
	// Heartbeats show at once which streams are open.
	err := p.await(ctx, p.isSettled, func() { p.control.server.Heartbeat() })
	if p.liar != nil && p.model.http.n == 0 && err == nil {
		err = p.awaitLiar(ctx)
	}
	var found error
	p.ledger.look(func() bool { found = p.compare(err != nil); return true })
	var late errLate
	switch {
	case found != nil:
		return found
	case errors.As(err, &late) && p.liar != nil:
		return fmt.Errorf("a proxy would answer %d more calls with HTTP %d, and the client made none in %v", p.liar.leftover(), p.liar.status, time.Duration(late))
	case errors.As(err, &late):
		return fmt.Errorf("a watch has no open stream: the client did not come back from the fault in %v", time.Duration(late))
	}
	return err
}

func (p *player) within() time.Duration {
	return p.times.patience + silences*p.times.heartbeat + p.waits
}

// errLate: the client has not done in time what it must.
type errLate time.Duration

func (e errLate) Error() string { return fmt.Sprintf("nothing came of it in %v", time.Duration(e)) }

// pokeEach is the time between two pokes.
const pokeEach = 5 * time.Millisecond

// mostPatience is how many times the patience a step may take of a program that still reports: a flood takes long on a busy machine.
const mostPatience = 10

// await waits until ok returns true, or a rule is broken, and calls poke every 5 ms. ok is called with the ledger's lock held. The program is
// late if it has reported nothing for the time of a step.
func (p *player) await(ctx context.Context, ok func() bool, poke func()) error {
	late, latest := time.NewTimer(p.within()), time.Now().Add(mostPatience*p.within())
	defer late.Stop()
	pokes := time.NewTicker(pokeEach)
	defer pokes.Stop()
	for reports := 0; ; {
		seen := 0
		done, changed := p.ledger.look(func() bool { seen = p.ledger.reports; return ok() || len(p.ledger.problems) > 0 })
		if done {
			return nil
		}
		if seen != reports && time.Now().Before(latest) {
			reports = seen
			late.Reset(p.within())
		}
		select {
		case <-changed:
		case <-pokes.C:
			poke()
		case <-p.program.done:
			return p.program.failure()
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return errLate(p.within())
		}
	}
}

// awaitLiar waits until the proxy's connections are closed, so that nothing of it is left in the next step.
func (p *player) awaitLiar(ctx context.Context) error {
	select {
	case <-p.liar.done:
		p.liar = nil
		return nil
	case <-time.After(p.within()):
		return errors.New("the client did not close a connection that got GOAWAY")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isSettled reports whether the traces are long enough, or wrong already. The ledger's lock is held.
func (p *player) isSettled() bool {
	if p.compare(false) != nil {
		return true
	}
	for name, want := range p.model.want {
		if !p.isPaused(name) && len(p.ledger.traces[name]) < len(want) {
			return false
		}
	}
	if p.model.away {
		return true
	}
	for _, w := range p.model.live() {
		// A watch that begins with the next change has begun when it has had a response. No fault may find the client on its way.
		if !w.paused && (w.kind == ofAll && p.ledger.tokens[w.name] == "" || !p.control.serves(w.kind)) {
			return false
		}
	}
	return true
}

func (p *player) isPaused(name string) bool {
	for _, w := range p.model.watches {
		if w.name == name {
			return w.paused
		}
	}
	return false
}

// compare returns the first difference, or the first broken rule. With late, a trace that is too short is a difference too. The
// ledger's lock is held.
func (p *player) compare(late bool) error {
	for _, name := range p.model.names() {
		want, got := p.model.want[name], p.ledger.traces[name]
		for i := range max(len(want), len(got)) {
			d := &difference{name, i + 1, "nothing more", "nothing, until the time was up"}
			if i < len(want) {
				d.want = want[i]
			}
			if i < len(got) {
				d.got = got[i]
			}
			missing := i >= len(got)
			if missing && (!late || p.isPaused(name)) {
				break
			}
			if missing || !same(d.want, d.got) {
				return d
			}
		}
	}
	if len(p.ledger.problems) > 0 {
		return errors.New(strings.Join(slices.Compact(slices.Clone(p.ledger.problems)), "\n"))
	}
	return nil
}

// same compares two lines. "*" in the wanted line stands for any word.
func same(want, got string) bool {
	a, b := strings.Fields(want), strings.Fields(got)
	return slices.EqualFunc(a, b, func(x, y string) bool { return x == y || x == "*" })
}

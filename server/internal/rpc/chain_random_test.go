package rpc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// people act on the sessions at Stripe, at random: each act is an event, of a second of its own.
type people struct {
	mu     sync.Mutex
	random *rand.Rand
	stripe *fakeStripe
	acts   int
	events []verification.Event
}

// act lets the person of a session fail, leave, or close the session.
func (p *people) act() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acts++
	n := p.acts
	p.stripe.mu.Lock()
	defer p.stripe.mu.Unlock()
	ids := append([]string{"vs_1"}, p.stripe.made...)
	o := p.stripe.sessions[ids[p.random.IntN(len(ids))]]
	if o.Status != verification.StatusRequiresInput {
		return
	}
	switch p.random.IntN(5) {
	case 0:
		o.Status, o.Error = verification.StatusCanceled, verification.Error{}
	case 1:
		o.Error = verification.Error{Code: verification.CodeAbandoned, Reason: "Left."}
	default:
		failure("document_expired", n)(&o)
	}
	p.stripe.sessions[o.ID] = o
	p.events = append(p.events, eventOf(n, int64(n)*2_000_000, o))
}

// delivery is one event that has happened, by chance an old one or that of a session's birth.
func (p *people) delivery() (verification.Event, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	made := p.stripe.successors()
	if len(made) > 0 && p.random.IntN(3) == 0 {
		return p.stripe.born(made[p.random.IntN(len(made))]), true
	}
	if len(p.events) == 0 {
		return verification.Event{}, false
	}
	return p.events[p.random.IntN(len(p.events))], true
}

// born is the event of a session's creation.
func (f *fakeStripe) born(id string) verification.Event {
	e := f.eventNow(id, 0)
	e.Object.Status, e.Object.Error, e.Object.Report = verification.StatusRequiresInput, verification.Error{}, ""
	return e
}

// TestG9_AnyCallersOfAChainAtOnce: calls by all ids on two replicas and on some that die, while people act and
// webhooks come in any order, more than once and never.
func TestG9_AnyCallersOfAChainAtOnce(t *testing.T) {
	first := uint64(time.Now().UnixNano())
	for n := range uint64(12) {
		seed := first + n
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { callersOfAChain(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func callersOfAChain(t *testing.T, random *rand.Rand) {
	const retries = 3
	b, stripe, one := retryBench(t)
	b.policy.MaxRetries, one.service.config.Policy.MaxRetries = retries, retries
	two := b.replica(t)
	crowd := &people{random: rand.New(rand.NewPCG(random.Uint64(), 0)), stripe: stripe}
	stripe.set(object("vs_1", "requires_input", reference("person")))
	one.apply(stripe.born("vs_1"))

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 8 {
		var calls sync.WaitGroup
		for n := range 8 {
			act, who, life, closes := random.IntN(4), random.IntN(8), random.IntN(16), random.IntN(4) > 0
			calls.Go(func() {
				r := []*replica{one, two}[n%2]
				switch act {
				case 0:
					crowd.act()
				case 1:
					if event, ok := crowd.delivery(); ok {
						_, _ = r.ingest.Apply(ctx, event)
					}
				case 2, 3:
					ids := append([]string{"vs_1"}, stripe.successors()...)
					request := &verificationv1.RetryVerificationRequest{SessionId: ids[who%len(ids)], ReplaceClosed: closes}
					if act == 2 {
						_, _ = r.RetryVerification(ctx, request)
						return
					}
					dying, _, closed := r.crashing(stripe, life)
					_, _ = dying.RetryVerification(ctx, request)
					closed()
				}
			})
		}
		calls.Wait()
	}
	if ctx.Err() != nil {
		t.Fatal("the calls took too long")
	}

	// All events come, and somebody asks once more by the first id.
	for _, id := range stripe.successors() {
		one.apply(stripe.born(id))
	}
	for _, event := range crowd.events {
		two.apply(event)
	}
	_, _ = one.RetryVerification(ctx, replaceRequest("vs_1"))
	chain := append([]string{"vs_1"}, stripe.successors()...)
	if got := one.grants(chain...); got > retries {
		t.Errorf("%d retries were granted in the chain %v, want %d at the most", got, chain, retries)
	}
	for n := range len(chain) - 1 {
		checkHeir(t, one.record(chain[n]), one.record(chain[n+1]))
	}
}

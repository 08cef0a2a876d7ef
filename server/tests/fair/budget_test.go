package fair

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/stripesim"
)

// smallBudget is the one setting that the tests of this file change: the default takes minutes to spend.
const smallBudget = "API_READS_PER_DAY=12"

// spend asks one of the servers for unknown ids as a caller, until it is refused, and reports how often.
func (p *fairRig) spend(ctx context.Context, server int, caller string) (asked int) {
	p.t.Helper()
	a := &attacker{orders: orders{GRPC: p.grpc[server], CA: p.ca.file}}
	connection := a.connect(1)
	defer shut(connection)
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+p.tokens[caller])
	for asked = range 40 {
		_, err := verificationv1.NewVerificationServiceClient(connection[0]).GetStatus(ctx, bySession(fmt.Sprintf("vs_unheard%s%d%d", caller, server, asked)))
		switch status.Code(err) {
		case codes.NotFound:
		case codes.Unavailable, codes.ResourceExhausted:
			return asked
		default:
			p.t.Fatalf("an unknown id: %v", err)
		}
	}
	p.t.Fatalf("%s asked for 40 unknown ids and was not refused", caller)
	return asked
}

// TestG15_WatchOfAnUnknownSessionIsWokenByItsWebhook, on each replica and by reference too, although no read
// for lookups is left. The webhook arrives at the first replica.
func TestG15_WatchOfAnUnknownSessionIsWokenByItsWebhook(t *testing.T) {
	p := newFairRig(t)
	p.serve(smallBudget)
	p.serve(smallBudget)
	t.Cleanup(forwarding.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for server := range p.grpc {
		t.Logf("replica %d: reader was refused after %d reads, web after %d", server+1, p.spend(ctx, server, "reader"), p.spend(ctx, server, "web"))
	}
	release := p.stripe.hold()
	defer release()
	p.stripe.steps.Add(1)
	session, err := p.stripe.Create(stripesim.NewSession{ClientReferenceID: "newcomer"})
	p.must(err)

	type arrival struct {
		at  time.Time
		err error
	}
	var waiting, watches sync.WaitGroup
	arrivals := map[string]chan arrival{}
	for server := range p.grpc {
		web := p.dial(server, "web")
		defer web.Close()
		for how, subject := range map[string]client.Subject{"id": client.Session(session.ID), "reference": client.Reference("newcomer")} {
			arrived, asked := make(chan arrival, 1), make(chan struct{})
			name := fmt.Sprintf("replica %d, by %s", server+1, how)
			arrivals[name] = arrived
			waiting.Go(func() {
				// The watch is open when the server has answered that it does not know the session, or has sent nothing for
				// a second.
				silent := time.NewTimer(time.Second)
				defer silent.Stop()
				select {
				case <-asked:
				case <-silent.C:
				}
			})
			watches.Go(func() {
				once := sync.OnceFunc(func() { close(asked) })
				defer once()
				interrupted := client.OnInterruption(func(err error, wait time.Duration) {
					t.Logf("%s: %v; next try in %v", name, err, wait.Round(time.Millisecond))
					once()
				})
				for update, err := range web.Watch(ctx, subject, interrupted) {
					if err == nil && update.Verification.GetSessionId() != session.ID {
						err = fmt.Errorf("the first status is of %s", update.Verification.GetSessionId())
					}
					arrived <- arrival{time.Now(), err}
					return
				}
			})
		}
	}
	waiting.Wait()
	released := time.Now()
	release()
	const most = 10 * time.Second
	late := time.NewTimer(most)
	defer late.Stop()
	for name, arrived := range arrivals {
		select {
		case a := <-arrived:
			if a.err != nil {
				t.Errorf("%s: the watch ended: %v", name, a.err)
				continue
			}
			t.Logf("%s: the first status came %v after the webhook", name, a.at.Sub(released).Round(time.Millisecond))
		case <-late.C:
			t.Errorf("%s: no status within %v of the webhook", name, most)
			late.Reset(0)
		}
	}
	cancel()
	watches.Wait()
}

// TestG15_OneCallerLeavesReadsToOthers: two callers and a visitor of the BFF take all reads that they can
// get; after that a person can still sign up and try again, and an ambiguous order is settled.
func TestG15_OneCallerLeavesReadsToOthers(t *testing.T) {
	p := newFairRig(t)
	p.serve(smallBudget)
	p.startBFF()
	p.web, p.desk = p.dial(0, "web"), p.dial(0, "desk")
	defer p.web.Close()
	defer p.desk.Close()
	t.Cleanup(forwarding.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	p.spend(ctx, 0, "reader")
	retrier := p.dial(0, "retrier")
	defer retrier.Close()
	for range 8 {
		id, err := p.stripe.attempt(ctx, "document_expired")
		p.must(err)
		_, _ = retrier.Retry(ctx, id) // refused at some time
	}
	for i := range 4 {
		visitor := newPerson(p.bff, attackersAddress)
		if _, err := visitor.do(ctx, http.MethodGet, "/"); err != nil {
			t.Fatalf("visitor %d: %v", i, err)
		}
		brief, done := context.WithTimeout(ctx, 100*time.Millisecond)
		_ = visitor.seesStatus(brief) // there is none
		done()
		visitor.http.CloseIdleConnections()
	}
	newcomer := newPerson(p.bff, "127.0.2.1")
	defer newcomer.http.CloseIdleConnections()
	if err := newcomer.signUp(ctx); err != nil {
		t.Errorf("somebody signs up: %v", err)
	}
	id, err := p.stripe.attempt(ctx, "document_expired")
	p.must(err)
	if _, err := p.desk.Retry(ctx, id); err != nil {
		t.Errorf("somebody tries again: %v", err)
	}
	settled, done := context.WithTimeout(ctx, callDeadline())
	defer done()
	if err := p.ambiguous(settled); err != nil {
		t.Errorf("an ambiguous order: %v", err)
	}
}

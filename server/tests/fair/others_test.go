package fair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"

	"example.com/verification-status/client"
)

// callDeadline bounds each call of others. It is generous, since the machine is shared; in the short form, which
// runs beside other tests and with the race detector, more so.
func callDeadline() time.Duration {
	if *runFor > 0 {
		return 5 * time.Second
	}
	return 10 * time.Second
}

// pause returns the time between two calls of a kind. The long form calls so often that 20 s have over a hundred calls: with fewer, the
// 99th percentile is the slowest call. The exceptions are Retry and press again, because a caller has a share of the reads at Stripe. The
// short form runs beside other tests, and nobody reads its times.
func pause(inShort, inLong time.Duration) time.Duration {
	if *runFor > 0 {
		return inLong
	}
	return inShort
}

// The calls of others.
const (
	probeStatus    = "Status"
	probeReconnect = "connect, Status"
	probeOpen      = "open a watch"
	probeUpdate    = "update"
	probeRetry     = "Retry"
	probeSignUp    = "sign up"
	probePress     = "press again"
	probePage      = "page"
	probeOrder     = "ambiguous order"
	probeWebhook   = "webhook"
)

var probeNames = []string{probeStatus, probeReconnect, probeOpen, probeUpdate, probeRetry, probeSignUp, probePress, probePage, probeOrder, probeWebhook}

// probe lets others call until stop is closed, each of them one call after the other.
func (p *fairRig) probe(stop <-chan struct{}) *measurement {
	m := &measurement{series: map[string]*series{}}
	for _, name := range probeNames {
		m.series[name] = &series{}
	}
	m.series[probeWebhook] = &series{}
	began := time.Now()
	var running sync.WaitGroup
	every := func(period time.Duration, call func(ctx context.Context)) {
		running.Go(func() {
			ticker := time.NewTicker(period)
			defer ticker.Stop()
			for {
				// Not bound to stop: a call that is cut off by the measurement's end is no failure.
				ctx, cancel := context.WithTimeout(context.Background(), 4*callDeadline())
				call(ctx)
				cancel()
				select {
				case <-stop:
					return
				case <-ticker.C:
				}
			}
		})
	}
	timed := func(ctx context.Context, name string, call func(ctx context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, callDeadline())
		defer cancel()
		began := time.Now()
		err := call(ctx)
		m.series[name].add(time.Since(began), err)
	}
	every(20*time.Millisecond, func(ctx context.Context) {
		timed(ctx, probeStatus, func(ctx context.Context) error { return p.askKnown(ctx, p.web) })
	})
	every(pause(300*time.Millisecond, 100*time.Millisecond), func(ctx context.Context) {
		timed(ctx, probeReconnect, func(ctx context.Context) error {
			fresh := p.dial(0, "web")
			defer fresh.Close()
			return p.askKnown(ctx, fresh)
		})
	})
	every(pause(300*time.Millisecond, 100*time.Millisecond), func(ctx context.Context) {
		if err := p.watchOne(ctx, m); err != nil {
			m.series[probeUpdate].add(0, err)
		}
	})
	// A retry costs a read at Stripe. The server makes ten a second, and a caller goes before an attacker if it had fewer than two of the
	// last eight. With two retries a second, those in the first second of an attack wait for up to 0.3 s: the last eight are its own.
	every(750*time.Millisecond, func(ctx context.Context) {
		id, err := p.stripe.attempt(ctx, "document_expired")
		timed(ctx, probeRetry, func(ctx context.Context) error {
			if err != nil {
				return fmt.Errorf("the webhooks of a failed attempt: %w", err)
			}
			link, err := p.desk.Retry(ctx, id)
			if err == nil && link.URL.Reveal() == "" {
				err = errors.New("no link")
			}
			return err
		})
	})
	// A person that has signed up and presses again costs a read too, as Retry does, of the BFF's share.
	pressesAgain := uint32(1)
	if *runFor > 0 {
		pressesAgain = 5 // every fifth
	}
	var people atomic.Uint32
	every(pause(time.Second, 150*time.Millisecond), func(ctx context.Context) {
		n := people.Add(1)
		newcomer := newPerson(p.bff, fmt.Sprintf("127.0.2.%d", n%250+1))
		defer newcomer.http.CloseIdleConnections()
		timed(ctx, probeSignUp, newcomer.signUp)
		if n%pressesAgain > 0 || newcomer.session == "" {
			return
		}
		if err := p.stripe.awaitTaken(ctx, newcomer.session, 1); err != nil {
			m.series[probePress].add(0, fmt.Errorf("the webhook of a new session: %w", err))
			return
		}
		timed(ctx, probePress, newcomer.press)
	})
	every(pause(300*time.Millisecond, 100*time.Millisecond), func(ctx context.Context) {
		timed(ctx, probePage, p.persons[int(people.Load())%len(p.persons)].seesStatus)
	})
	// Each costs a read too. For these the server makes 20 a second, which no other read uses up.
	every(pause(2*time.Second, 150*time.Millisecond), func(ctx context.Context) {
		timed(ctx, probeOrder, p.ambiguous)
	})
	running.Wait()
	m.took = time.Since(began)
	p.stripe.webhooks.mu.Lock()
	m.series[probeWebhook].took = slices.Clone(p.stripe.webhooks.took)
	m.series[probeWebhook].failures = slices.Clone(p.stripe.webhooks.failures)
	m.series[probeWebhook].late = p.stripe.webhooks.late
	p.stripe.webhooks.mu.Unlock()
	return m
}

func (p *fairRig) askKnown(ctx context.Context, c *client.Client) error {
	v, err := c.Status(ctx, client.Session(p.known))
	if err == nil && v.GetStatus() != verificationv1.Status_STATUS_VERIFIED {
		err = fmt.Errorf("answered %v", v.GetStatus())
	}
	return err
}

// watchOne opens a watch of a session that is known, and measures its first status and one update.
func (p *fairRig) watchOne(ctx context.Context, m *measurement) error {
	id, err := p.stripe.create(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = p.stripe.FinishProcessing(id) }() // a session that is left in processing is read again
	ctx, cancel := context.WithTimeout(ctx, 2*callDeadline())
	defer cancel()
	began, opened := time.Now(), false
	interrupted := client.OnInterruption(func(err error, _ time.Duration) { m.series[probeOpen].add(time.Since(began), err) })
	for update, err := range p.web.Watch(ctx, client.Session(id), interrupted) {
		switch {
		case err != nil:
			return err
		case !opened:
			m.series[probeOpen].add(time.Since(began), nil)
			began, opened = time.Now(), true
			p.stripe.steps.Add(1)
			if err := p.stripe.Submit(id, "verified"); err != nil {
				return err
			}
		case update.Verification.GetStatus() != verificationv1.Status_STATUS_PROCESSING:
			return fmt.Errorf("the update says %v", update.Verification.GetStatus())
		default:
			m.series[probeUpdate].add(time.Since(began), nil)
			return nil
		}
	}
	return nil
}

// ambiguous lets a reviewer reverse a person's verified status and restore it, and drops the webhook of the second change.
// Only a read shows that the events that arrived are not all: without it the rules say REQUIRES_INPUT. At Stripe the
// session is verified, and the server must say so.
func (p *fairRig) ambiguous(ctx context.Context) error {
	id, err := p.stripe.attempt(ctx, "verified")
	if err != nil {
		return fmt.Errorf("the webhooks of an attempt: %w", err)
	}
	release := p.stripe.only(id, 4)
	p.stripe.steps.Add(1)
	err = p.stripe.Override(id, "requires_input", "document_expired")
	p.stripe.steps.Add(1)
	err = errors.Join(err, p.stripe.Override(id, "verified", ""))
	release()
	if err != nil {
		return err
	}
	if err := p.stripe.awaitTaken(ctx, id, 4); err != nil {
		return fmt.Errorf("the webhook of the first change: %w", err)
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		v, err := p.web.Status(ctx, client.Session(id))
		if err != nil || v.GetStatus() == verificationv1.Status_STATUS_VERIFIED {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("the status stays %v, Stripe says verified", v.GetStatus())
		}
	}
}

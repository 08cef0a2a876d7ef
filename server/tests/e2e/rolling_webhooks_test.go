package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/tests/rig"
)

// outcomes counts calls of one kind, and keeps the first errors.
type outcomes struct {
	n, failed atomic.Int64
	mu        sync.Mutex
	first     []string // of the failures
}

func (c *outcomes) count(err error) {
	c.n.Add(1)
	if err == nil {
		return
	}
	c.failed.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.first) < 5 {
		c.first = append(c.first, time.Now().Format("05.000 ")+err.Error())
	}
}

// awaitMore waits until there were n more.
func (c *outcomes) awaitMore(t *testing.T, what string, n int64) {
	t.Helper()
	from := c.n.Load()
	rig.Await(t, "more "+what, func() bool { return c.n.Load() >= from+n })
}

// check logs the counts. No call must have failed.
func (c *outcomes) check(t *testing.T, what string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Logf("%s: %d, %d failed", what, c.n.Load(), c.failed.Load())
	if c.failed.Load() > 0 {
		t.Errorf("%d %s failed; the first: %q", c.failed.Load(), what, c.first)
	}
}

// steadyWebhooks is a steady stream of webhooks, several for each session, in the order of their session.
type steadyWebhooks struct {
	outcomes
	client   *http.Client
	target   string
	sessions []*rollingSession
	end      context.CancelFunc
	ends     sync.WaitGroup
}

// rollingSession is a session at Stripe. Each of its events makes one revision.
type rollingSession struct {
	id     string
	events []rig.Event
	kept   atomic.Int32 // of the events, from the first: the revision
}

const (
	senders    = 5                     // of which the number of sessions is a multiple
	sendEvery  = 75 * time.Millisecond // for each of them
	mostOfEach = 400                   // events
)

// newSteadyWebhooks delivers the first event of each session.
func newSteadyWebhooks(t *testing.T, target string, sessions int) *steadyWebhooks {
	t.Helper()
	m := &steadyWebhooks{client: rig.NewHTTPClient(t), target: target}
	for n := range sessions {
		id := fmt.Sprintf("vs_Rolling%d", n)
		m.sessions = append(m.sessions, &rollingSession{id: id, events: rig.Tries(id, mostOfEach)})
		m.deliver(m.sessions[n])
	}
	return m
}

// start lets the rest come.
func (m *steadyWebhooks) start(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	m.end = end
	t.Cleanup(func() {
		end()
		m.ends.Wait()
	})
	for n := range senders {
		m.ends.Go(func() {
			ticker := time.NewTicker(sendEvery)
			defer ticker.Stop()
			for i := n; ; i += senders { // each has sessions of its own
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
					m.deliver(m.sessions[i%len(m.sessions)])
				}
			}
		})
	}
}

// deliver sends the next event of a session. It counts a failure, and sends a failed event again later, as Stripe does.
func (m *steadyWebhooks) deliver(s *rollingSession) {
	n := int(s.kept.Load())
	if n == len(s.events) {
		m.count(fmt.Errorf("there are no more events of %s", s.id))
		return
	}
	e := s.events[n]
	response, text, err := rig.Post(m.client, m.target, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %q", response.Status, text)
	}
	if m.count(err); err == nil {
		s.kept.Add(1)
	}
}

// stop ends it: from here on each session stays as it is.
func (m *steadyWebhooks) stop(t *testing.T) {
	t.Helper()
	m.end()
	m.ends.Wait()
	m.check(t, "webhooks")
}

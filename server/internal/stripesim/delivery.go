package stripesim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer        = 64 << 10
	webhookUserAgent = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
)

// DeliveryConfig has the limits and times of webhooks. The zero value means the defaults.
type DeliveryConfig struct {
	// Concurrency is the limit of webhooks in progress. 0: 16.
	Concurrency int
	// MaxQueue is the limit of waiting webhooks. One over the limit is never sent, and counted. 0: 100,000.
	MaxQueue int
	// Timeout of one attempt. 0: 10 s.
	Timeout time.Duration
	// MaxAttempts is the limit of attempts of one webhook, with the first. 0: 8.
	MaxAttempts int
	// RetryBase is the pause before the second attempt; it doubles up to RetryMax. Each pause is
	// 50 to 100 % of that, at random. 0: 500 ms, 30 s.
	RetryBase, RetryMax time.Duration
}

func (c DeliveryConfig) withDefaults() DeliveryConfig {
	if c.Concurrency <= 0 {
		c.Concurrency = 16
	}
	if c.MaxQueue <= 0 {
		c.MaxQueue = 100_000
	}
	if c.Timeout <= 0 {
		c.Timeout = 10 * time.Second
	}
	if c.MaxAttempts <= 0 {
		c.MaxAttempts = 8
	}
	if c.RetryBase <= 0 {
		c.RetryBase = 500 * time.Millisecond
	}
	if c.RetryMax < c.RetryBase {
		c.RetryMax = max(30*time.Second, c.RetryBase)
	}
	return c
}

// Stats counts webhooks, and faults of the API, since New.
type Stats struct {
	Attempts  int // requests sent
	Delivered int // answered 2xx
	Failed    int // attempts answered otherwise, or not at all
	Exhausted int // given up after MaxAttempts
	Orphaned  int // given up because the endpoint is gone or disabled
	Overflow  int // never sent, because the queue was full
	Dropped   int // never sent, by Faults.DropProbability
	Copies    int // extra copies, by Faults.MaxCopies
	APIFaults int // API requests with a fault of APIFaults
}

// Stats returns the counts so far.
func (s *Sim) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// delivery is one webhook on its way to one endpoint.
type delivery struct {
	eventID  string
	body     []byte
	endpoint string // its id
	lane     string
	attempts int
	copied   bool // an extra copy: its result says nothing about the event's delivery
	thin     bool // a thin event: the same holds, since the list of events has snapshots
}

// enqueue queues a webhook to be sent after the delay. The caller holds s.mu.
func (s *Sim) enqueue(d *delivery, delay time.Duration) {
	run := func(ctx context.Context) { s.attempt(ctx, d) }
	if !s.queue.addDelivery(time.Now().Add(delay), d.lane, run) {
		s.stats.Overflow++
	}
}

// attempt sends a webhook once, and queues the next attempt if this one failed.
func (s *Sim) attempt(ctx context.Context, d *delivery) {
	d.lane = "" // later webhooks do not wait for a retry
	s.mu.Lock()
	i := slices.IndexFunc(s.endpoints, func(e *endpoint) bool { return e.id == d.endpoint && !e.disabled })
	if i < 0 {
		s.stats.Orphaned++
		s.mu.Unlock()
		return
	}
	target, secrets := s.endpoints[i].URL, s.endpoints[i].Secrets
	at := s.cfg.Now() // the true clock, not the frozen one: a signature has the time at which it was made
	s.stats.Attempts++
	s.mu.Unlock()

	err := s.send(ctx, target, d.body, signature(at, d.body, secrets))

	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.stats.Delivered++
		s.delivered(d)
		return
	}
	s.stats.Failed++
	if ctx.Err() != nil {
		// Run was stopped, so the attempt does not count: the next Run sends the webhook again.
		s.enqueue(d, 0)
		return
	}
	d.attempts++
	s.log.Warn("webhook failed", "event_id", d.eventID, "attempt", d.attempts, "error", err)
	if d.attempts >= s.cfg.Delivery.MaxAttempts {
		s.stats.Exhausted++
		return
	}
	s.enqueue(d, s.backoff(d.attempts))
}

// delivered records that an endpoint has accepted an event. The caller holds s.mu.
func (s *Sim) delivered(d *delivery) {
	if d.copied || d.thin {
		return
	}
	if s.undelivered[d.eventID]--; s.undelivered[d.eventID] <= 0 {
		delete(s.undelivered, d.eventID)
	}
}

// backoff returns the pause after a number of failed attempts. The caller holds s.mu.
func (s *Sim) backoff(attempts int) time.Duration {
	c := s.cfg.Delivery
	pause := c.RetryBase
	for range attempts - 1 {
		if pause > c.RetryMax/2 {
			pause = c.RetryMax
			break
		}
		pause *= 2
	}
	return between(s.faultRNG, pause/2, pause)
}

func (s *Sim) send(ctx context.Context, target string, body []byte, signed string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", webhookUserAgent)
	req.Header.Set("Stripe-Signature", signed)
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	// Read a bounded part of the body, so that the connection can be used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the endpoint answered %d", res.StatusCode)
	}
	return nil
}

// signature returns the Stripe-Signature header: a v1 over "t.body" for each secret.
// https://docs.stripe.com/webhooks#verify-manually
func signature(at time.Time, body []byte, secrets []string) string {
	t := strconv.FormatInt(at.Unix(), 10)
	var header strings.Builder
	header.WriteString("t=" + t)
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(t + "."))
		mac.Write(body)
		header.WriteString(",v1=" + hex.EncodeToString(mac.Sum(nil)))
	}
	return header.String()
}

// newWebhookClient returns a client that follows no redirects: for Stripe, a 3xx is a failure.
func newWebhookClient(c DeliveryConfig) *http.Client {
	return &http.Client{
		Timeout:       c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: c.Timeout}).DialContext,
			MaxIdleConnsPerHost: c.Concurrency,
			IdleConnTimeout:     30 * time.Second,
		},
	}
}

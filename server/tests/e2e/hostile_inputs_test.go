package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestNormalCallsContinueDuringAllHostileInput sends every hostile input at once to every port of one server, while normal
// clients ask for statuses and deliver webhooks, on lasting and on new connections. No normal call fails, and the server's
// memory stays within bounds.
func TestNormalCallsContinueDuringAllHostileInput(t *testing.T) {
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr, "GRPC_MAX_CONNECTIONS=400", "WEBHOOK_MAX_CONNECTIONS=600"))
	n := &normalCalls{t: t, p: p, events: rig.Tries("vs_Normal", 1), staying: rig.NewHTTPClient(t), client: rig.ClientOf(t, p)}
	n.leaving = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	rig.Deliver(t, n.staying, p.Webhook, n.events[0])
	n.callFor(500 * time.Millisecond) // warms up
	alone := n.callFor(3 * time.Second)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	h := &attackers{ctx: ctx, webhook: strings.TrimSuffix(strings.TrimPrefix(p.Webhook, "http://"), "/webhook"),
		grpc: p.GRPC, admin: strings.TrimPrefix(p.Admin, "http://"), counts: map[string]*atomic.Int64{}}
	var attack sync.WaitGroup
	kinds := h.kinds()
	for name := range kinds { // before anybody reads it
		h.counts[name] = new(atomic.Int64)
	}
	for name, kind := range kinds {
		for range kind.clients {
			attack.Go(func() { h.repeat(name, kind) })
		}
	}
	beside := n.callFor(8 * time.Second)
	stop()
	attack.Wait()
	for name, count := range h.counts {
		t.Logf("%6d x %s", count.Load(), name)
		if count.Load() == 0 {
			t.Errorf("%s never came to its end", name)
		}
	}
	for kind := range alone.kinds {
		t.Logf("%s: alone %s; beside all that %s", kind, rig.Quantiles(alone.kinds[kind]), rig.Quantiles(beside.kinds[kind]))
	}
	t.Logf("memory at the most: alone %v; beside all that %v", alone.memory, beside.memory)
	if beside.memory.Used > alone.memory.Used+256<<20 {
		t.Errorf("memory grew from %v to %v", alone.memory, beside.memory)
	}
	after := n.callFor(time.Second)
	t.Logf("afterwards: GetStatus %s", rig.Quantiles(after.kinds["GetStatus"]))
	var left rig.MemoryUse
	rig.Await(t, "nothing is left of the attack", func() bool {
		left = p.MemoryLeft(n.staying)
		return left.Used <= alone.memory.Used+32<<20
	})
	t.Logf("memory in the end: %v", left)
}

// normalCalls are the calls of well-behaved clients.
type normalCalls struct {
	t                *testing.T
	p                *rig.Process
	events           []rig.Event
	staying, leaving *http.Client // one keeps its connections, the other does not
	client           verificationv1.VerificationServiceClient
}

// normalResult is how long the calls of one while took.
type normalResult struct {
	kinds  map[string][]time.Duration
	memory rig.MemoryUse // the most
}

// callFor calls and delivers for a time. Any failure fails the test.
func (n *normalCalls) callFor(d time.Duration) normalResult {
	n.t.Helper()
	result := normalResult{kinds: map[string][]time.Duration{}}
	over := time.Now().Add(d)
	var calling sync.WaitGroup
	var mu sync.Mutex // guards result
	repeat := func(kind string, call func() error) {
		calling.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for ; time.Now().Before(over); <-pace.C {
				began := time.Now()
				if err := call(); err != nil {
					n.t.Errorf("a normal %s failed: %v", kind, err)
				}
				mu.Lock()
				result.kinds[kind] = append(result.kinds[kind], time.Since(began))
				mu.Unlock()
			}
		})
	}
	for range 2 {
		repeat("GetStatus", func() error {
			ctx, cancel := context.WithTimeout(n.t.Context(), rig.Soon)
			defer cancel()
			_, err := n.client.GetStatus(ctx, &verificationv1.GetStatusRequest{
				Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_Normal"},
			})
			return err
		})
		repeat("webhook", func() error { return n.deliver(n.staying) })
		repeat("webhook on a new connection", func() error { return n.deliver(n.leaving) })
	}
	result.memory = n.p.MemoryUntil(n.staying, over)
	calling.Wait()
	return result
}

func (n *normalCalls) deliver(client *http.Client) error {
	e := n.events[0]
	response, text, err := rig.Post(client, n.p.Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %q", response.Status, text)
	}
	return err
}

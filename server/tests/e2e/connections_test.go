package e2e

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestManyIdleConnections: WEBHOOK_MAX_CONNECTIONS, GRPC_MAX_CONNECTIONS and the admin port's own limit close idle
// connections beyond the limit. A new client and a client that connected before are served.
func TestManyIdleConnections(t *testing.T) {
	const limit, adminLimit, more = 20, 100, 50
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr, "WEBHOOK_MAX_CONNECTIONS=20", "GRPC_MAX_CONNECTIONS=20"))
	client, before, events := rig.ClientOf(t, p), rig.NewHTTPClient(t), rig.Tries("vs_Idle", 1)
	rig.Deliver(t, before, p.Webhook, events[0])
	rig.GetStatus(t, client, "vs_Idle")
	for _, port := range []struct {
		addr  string
		limit int
	}{
		{strings.TrimSuffix(strings.TrimPrefix(p.Webhook, "http://"), "/webhook"), limit},
		{p.GRPC, limit},
		{strings.TrimPrefix(p.Admin, "http://"), adminLimit},
	} {
		var closed atomic.Int64
		for range port.limit + more {
			c, err := net.Dial("tcp", port.addr)
			if err != nil {
				closed.Add(1) // reset at once
				continue
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for { // gRPC says something first
					if _, err := c.Read(make([]byte, 1000)); err != nil {
						closed.Add(1)
						return
					}
				}
			}()
			t.Cleanup(func() {
				_ = c.Close()
				await.One(t, ended)
			})
		}
		rig.Await(t, "those too many are closed", func() bool { return closed.Load() >= more })
		// Other limits close the remaining connections later. This test looks at the beginning only.
		t.Logf("%s: %d of %d idle connections closed", port.addr, closed.Load(), port.limit+more)
	}
	rig.Deliver(t, before, p.Webhook, events[0])
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, events[0])
	rig.GetStatus(t, client, "vs_Idle")
	newcomer := rig.ClientOf(t, p)
	rig.GetStatus(t, newcomer, "vs_Idle")
	p.AwaitReady(200)
	for _, setting := range []string{"WEBHOOK_MAX_CONNECTIONS", "GRPC_MAX_CONNECTIONS"} {
		if !strings.Contains(p.Stderr.String(), `"setting":"`+setting+`"`) {
			t.Errorf("the log does not name %s", setting)
		}
	}
}

package e2e

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestTinyFramesThroughAProxyEndNoOtherStream: HAProxy sends the calls of all its clients over one connection. A client sends a request in frames of
// one byte until its call ends. Watches of others on that connection are not interrupted, and see the next change.
func TestTinyFramesThroughAProxyEndNoOtherStream(t *testing.T) {
	t.Parallel() // it mostly waits
	const watches = 5
	p := rig.Serve(t, rig.Settings(redistest.Start(t).Addr))
	sender, events := rig.NewHTTPClient(t), rig.Tries("vs_many", 3)
	rig.Deliver(t, sender, p.Webhook, events[0])
	between := newSlowProxy(t, p.GRPC) // it is not slow here: it counts the connections
	proxy := startHAProxy(t, between.addr(), "  http-reuse always\nglobal\n  nbthread 1\n")
	c := dialClient(t, proxy.addr)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	seen, interrupted := make(chan int32, 100), make(chan error, 100)
	for range watches {
		watching.Go(func() {
			note := client.OnInterruption(func(err error, _ time.Duration) { interrupted <- err })
			for update, err := range c.Watch(ctx, client.Session("vs_many"), note) {
				if err == nil {
					seen <- update.Verification.GetRevision()
				}
			}
		})
	}
	everyone := func(revision int32) {
		t.Helper()
		for n := range watches {
			select {
			case got := <-seen:
				if got != revision {
					t.Fatalf("a watch saw revision %d, want %d", got, revision)
				}
			case err := <-interrupted:
				t.Fatalf("a watch was interrupted: %v", err)
			case <-time.After(rig.Soon):
				t.Fatalf("%d of %d watches saw revision %d", n, watches, revision)
			}
		}
	}
	everyone(1)
	t.Logf("the call ended with %s", sendTinyFrames(t, proxy.addr))
	rig.Deliver(t, sender, p.Webhook, events[1])
	everyone(2)
	between.mu.Lock()
	defer between.mu.Unlock()
	if n := len(between.conns) / 2; n != 1 {
		t.Errorf("HAProxy opened %d connections, want 1 for all clients: the test shows nothing", n)
	}
	if got := scrape(t, sender, p)[`verification_shed_total{limit="none: it is fixed for DATA frames of a call",what="call"}`]; got != 1 {
		t.Errorf("%v calls were counted as ended, want 1", got)
	}
}

// sendTinyFrames makes a call whose request comes in frames of one byte, and returns the frame that ends it. It waits for the answer to a ping after
// each frame, so that the proxy does not join them.
func sendTinyFrames(t *testing.T, addr string) http2.Frame {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rig.Soon))
	w := &calls{Framer: http2.NewFramer(conn, conn)}
	w.hpack = hpack.NewEncoder(&w.block)
	w.stream = 1
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = io.WriteString(conn, http2.ClientPreface)
	check(err)
	check(w.WriteSettings())
	check(w.begin(statusMethod))
	check(w.WriteData(w.stream, false, []byte{0, 0, 0, 0xff, 0xff}))
	for {
		check(w.WriteData(w.stream, false, []byte{0}))
		check(w.WritePing(false, [8]byte{1}))
		for answered := false; !answered; {
			frame, err := w.ReadFrame()
			check(err)
			switch frame := frame.(type) {
			case *http2.PingFrame:
				answered = frame.IsAck()
			case *http2.HeadersFrame, *http2.RSTStreamFrame:
				return frame
			}
		}
	}
}

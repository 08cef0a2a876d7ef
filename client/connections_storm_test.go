package client_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"example.com/verification-status/client"
)

// storm is a proxy that accepts connections and gives none of them up to a call.
type storm struct {
	listener net.Listener
	accepted atomic.Int64
	end      func(conn net.Conn, frames *http2.Framer) // after the SETTINGS
}

func newStorm(t *testing.T, end func(net.Conn, *http2.Framer)) *storm {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &storm{listener: listener, end: end}
	var goroutines sync.WaitGroup
	goroutines.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.accepted.Add(1)
			goroutines.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); goroutines.Wait() })
	return s
}

func (s *storm) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(soon))
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	frames := http2.NewFramer(conn, conn)
	if frames.WriteSettings() != nil || frames.WriteSettingsAck() != nil {
		return
	}
	s.end(conn, frames)
}

// goAway sends a GOAWAY after which the client can repeat each call, and reads until the client closes.
func goAway(conn net.Conn, frames *http2.Framer) {
	_ = frames.WriteGoAway(0, http2.ErrCodeNo, nil)
	_, _ = io.Copy(io.Discard, conn)
}

// goAwayAtCall does the same at the first stream.
func goAwayAtCall(conn net.Conn, frames *http2.Framer) {
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			return
		}
		if _, ok := frame.(*http2.HeadersFrame); ok {
			goAway(conn, frames)
			return
		}
	}
}

func closeAtOnce(net.Conn, *http2.Framer) {}

// TestAProxyThatEndsEachConnectionGetsFew: calls and a watch wait while a proxy ends every connection before it has answered a call. Without a
// backoff, they would open thousands a second.
func TestAProxyThatEndsEachConnectionGetsFew(t *testing.T) {
	leavesNothing(t)
	// Of the waits, only their ceilings are sure: 0.5 s, 1 s, 2 s, 3 s. That nine of them are over within a second has a chance of one in 10^8.
	const observed, most = time.Second, 10
	var storms sync.WaitGroup
	for name, end := range map[string]func(net.Conn, *http2.Framer){
		"GOAWAY at once": goAway, "GOAWAY at the first call": goAwayAtCall, "closed at once": closeAtOnce,
	} {
		s := newStorm(t, end)
		c, err := client.Dial(s.listener.Addr().String(), client.WithPlaintext())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		ctx, cancel := context.WithTimeout(t.Context(), observed)
		t.Cleanup(cancel)
		for range 5 {
			storms.Go(func() {
				if _, err := c.Status(ctx, client.Session("vs_1")); err == nil {
					t.Errorf("%s: a call was answered", name)
				}
			})
		}
		storms.Go(func() {
			for range c.Watch(ctx, client.Session("vs_1")) {
			}
			if n := s.accepted.Load(); n < 1 || n > most {
				t.Errorf("%s: %d connections in %v; want 1 to %d", name, n, observed, most)
			}
		})
	}
	storms.Wait()
}

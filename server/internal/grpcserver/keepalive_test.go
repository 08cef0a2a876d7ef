package grpcserver

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/test/bufconn"
)

// pings opens a bare HTTP/2 connection in virtual time, pings at the interval for the duration, and
// returns whether the server closed the connection for it. grpc's own client cannot ping that often.
func pings(t *testing.T, interval, duration time.Duration) (closed bool) {
	synctest.Test(t, func(t *testing.T) {
		server := New(Config{Logger: slog.New(slog.DiscardHandler), MaxConnectionAge: time.Hour})
		listener := bufconn.Listen(1 << 16)
		served := make(chan error, 1)
		go func() { served <- server.Serve(listener) }()
		conn, err := listener.Dial()
		if err != nil {
			t.Fatal(err)
		}
		goneAway := make(chan http2.ErrCode, 1)
		framer := http2.NewFramer(conn, conn)
		write(t, conn, framer)
		go readFrames(framer, goneAway)

		for begun := time.Now(); time.Since(begun) < duration && !closed; {
			time.Sleep(interval)
			synctest.Wait()
			select {
			case code := <-goneAway:
				closed = code == http2.ErrCodeEnhanceYourCalm
			default:
				if err := framer.WritePing(false, [8]byte{1}); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = conn.Close()
		server.Stop(t.Context())
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return closed
}

// write sends what every HTTP/2 client sends first.
func write(t *testing.T, conn net.Conn, framer *http2.Framer) {
	t.Helper()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
}

func readFrames(framer *http2.Framer, goneAway chan<- http2.ErrCode) {
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		if away, ok := frame.(*http2.GoAwayFrame); ok {
			goneAway <- away.ErrCode
			return
		}
	}
}

func TestPingsOfIdleClients(t *testing.T) {
	for _, test := range []struct {
		interval time.Duration
		closed   bool
	}{
		{5 * time.Second, false},
		{4900 * time.Millisecond, false}, // 5 s, as the network delivers them
		{time.Second, true},
	} {
		if got := pings(t, test.interval, 10*time.Minute); got != test.closed {
			t.Errorf("every %v: closed is %v", test.interval, got)
		}
	}
}

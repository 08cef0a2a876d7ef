package grpcserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// readConn is a connection that has something to read, in parts of one size.
type readConn struct {
	net.Conn
	from io.Reader
	each int
}

func (c readConn) Read(p []byte) (int, error) { return c.from.Read(p[:min(len(p), c.each)]) }

// TestFramesAreLimited: 32 DATA frames for each call, and 256 more, pass, wherever the stream is cut. One more ends the connection. What
// passes is unchanged.
func TestFramesAreLimited(t *testing.T) {
	for _, each := range []int{1, 7, 4096} {
		for _, more := range []int{0, 1} {
			var sent bytes.Buffer
			sent.WriteString(http2.ClientPreface)
			framer := http2.NewFramer(&sent, nil)
			const calls = 3
			for id := uint32(1); id <= 2*calls; id += 2 {
				if err := errors.Join(framer.WriteSettings(), framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte("x"), EndHeaders: true})); err != nil {
					t.Fatal(err)
				}
			}
			for range framesAtFirst + framesEach*calls + more {
				if err := errors.Join(framer.WriteData(1, false, []byte("some")), framer.WritePing(false, [8]byte{})); err != nil {
					t.Fatal(err)
				}
			}
			want := bytes.Clone(sent.Bytes())
			limit := newFrameLimit(readConn{from: &sent, each: each})
			limit.earned = time.Now().Add(time.Hour) // however slow the machine is
			got, err := io.ReadAll(limit)
			if more == 0 && (err != nil || !bytes.Equal(got, want)) {
				t.Errorf("in parts of %d: %d bytes of %d, %v", each, len(got), len(want), err)
			}
			if more > 0 && !errors.Is(err, errFrames) {
				t.Errorf("in parts of %d: one frame too many: %v; want %v", each, err, errFrames)
			}
		}
	}
}

// TestAToolCanAskForLong: on the stream of reflection, a tool asks again and again. It is never ended if it asks 16 times a second, after
// an idle hour it can ask 1,024 times at once, and one more ends it.
func TestAToolCanAskForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit, data := newFrameLimit(nil), make([]byte, 9)
		limit.skip = 0
		for n := range 10_000 {
			if !limit.follow(data) {
				t.Fatalf("ended at frame %d", n)
			}
			time.Sleep(time.Second / framesEachSecond)
		}
		for limit.follow(data) {
		}
		time.Sleep(time.Hour)
		passed := 0
		for limit.follow(data) {
			passed++
		}
		if passed != maxFramesAhead {
			t.Errorf("after an hour %d frames pass at once, want %d", passed, maxFramesAhead)
		}
	})
}

// TestFramesAheadAreBounded: calls whose requests have few frames save no more than maxFramesAhead for a later one.
func TestFramesAheadAreBounded(t *testing.T) {
	limit := newFrameLimit(nil)
	limit.skip, limit.earned = 0, time.Now().Add(time.Hour)
	headers, data := make([]byte, 9), make([]byte, 9)
	headers[3] = 1
	for range maxFramesAhead {
		if !limit.follow(headers) {
			t.Fatal("headers are limited")
		}
	}
	passed := 0
	for limit.follow(data) {
		passed++
	}
	if passed != maxFramesAhead {
		t.Errorf("%d DATA frames pass, want %d", passed, maxFramesAhead)
	}
}

// handshakes is an Access whose connections have credentials, as with TLS.
type handshakes struct{ openAccess }

func (handshakes) Credentials() credentials.TransportCredentials { return insecure.NewCredentials() }

// TestARequestInTinyFramesEndsItsConnection: one call's request in frames of one byte, on a bare connection and behind a handshake.
func TestARequestInTinyFramesEndsItsConnection(t *testing.T) {
	t.Parallel()
	for name, access := range map[string]Access{"bare": nil, "behind a handshake": handshakes{}} {
		t.Run(name, func(t *testing.T) {
			s := startOnSocket(t, Config{Access: access}, &fake{get: echo})
			conn, err := net.Dial("tcp", s.conn.Target())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // less than requestTimeout
			w := newWire(t, conn)
			err = w.headers(getStatus)
			for range 4 * maxFramesAhead { // more than a slow machine earns meanwhile
				if err == nil {
					err = w.framer.WriteData(w.id, false, []byte{0})
				}
			}
			for err == nil {
				_, err = w.framer.ReadFrame()
			}
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				t.Error("the connection stays open")
			}
		})
	}
}

package grpcserver

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// counted is a frameLimit without a connection, behind the preface, that earns nothing. Each call that ends is added to ended.
func counted(ended *int) *frameLimit {
	f := newFrameLimit(someConn{}, func(net.Addr) { *ended++ })
	f.skip, f.earned = 0, time.Now().Add(time.Hour)
	return f
}

// someConn is a connection with an address.
type someConn struct{ net.Conn }

func (someConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// frame is an empty frame.
func frame(kind, flags byte, id uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0, 0, 0, kind, flags}, id)
}

// passes sends empty DATA frames of a call until the call ends, and returns how many came before.
func passes(f *frameLimit, ended *int, id uint32) (n int) {
	for before := *ended; ; n++ {
		f.follow(frame(0, 0, id))
		if *ended > before {
			return n
		}
	}
}

// TestEachCallHasFramesOfItsOwn: 32 for each call, and 256 that the calls of a connection have together. An ended call has none, and ends once.
func TestEachCallHasFramesOfItsOwn(t *testing.T) {
	var ended int
	f := counted(&ended)
	for _, test := range []struct {
		id   uint32
		want int
	}{{1, 32 + 256}, {3, 32}, {7, 32}, {5, 32}} {
		if got := passes(f, &ended, test.id); got != test.want {
			t.Errorf("call %d: %d frames pass, want %d", test.id, got, test.want)
		}
	}
	for range 1000 {
		f.follow(frame(0, 0, 1))
	}
	if ended != 4 {
		t.Errorf("ended %d times, want each of 4 calls once", ended)
	}
}

// TestAWholeRequestIsNotCounted: what is kept of a call goes with its last frame, or with its reset.
func TestAWholeRequestIsNotCounted(t *testing.T) {
	var ended int
	f := counted(&ended)
	for id := uint32(1); id < 10*maxHalfRequests; id += 2 {
		last := frame(0, 1, id)
		if id%4 == 1 {
			last = frame(3, 0, id)
		}
		for _, sent := range [][]byte{frame(1, 4, id), frame(0, 0, id), last} {
			f.follow(sent)
		}
	}
	if ended != 0 || len(f.halves) != 0 || f.dropped != 0 {
		t.Errorf("%d calls ended, %d are kept, calls up to %d were dropped; want 0, 0, 0", ended, len(f.halves), f.dropped)
	}
}

// TestHalfRequestsAreBounded: more calls than are counted. Those with the lowest ids lose the frames of their own, and no call gets them twice.
func TestHalfRequestsAreBounded(t *testing.T) {
	var ended int
	f := counted(&ended)
	f.saved = 0
	const most, more = 1024, 100
	for round := range 2 { // the second one does not bring the first calls back
		for n := range uint32(most + more) {
			before := ended
			f.follow(frame(0, 0, 2*n+1))
			if got, want := ended > before, round == 1 && n < more; got != want {
				t.Fatalf("round %d: call %d ended: %t, want %t", round, 2*n+1, got, want)
			}
		}
	}
	if len(f.halves) != most {
		t.Errorf("%d calls are kept, want %d", len(f.halves), most)
	}
	if got, last := passes(f, &ended, 2*more+1), 32-2; got != last {
		t.Errorf("the oldest call that is kept: %d further frames pass, want %d", got, last)
	}
}

// TestAToolCanAskForLong: on the stream of reflection, a tool asks again and again. It is never ended if it asks 16 times a second, and after
// an idle hour it can ask 1,024 times at once.
func TestAToolCanAskForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended int
		f := counted(&ended)
		f.earned = time.Now()
		for n := range 10_000 {
			if f.follow(frame(0, 0, 1)); ended > 0 {
				t.Fatalf("ended at frame %d", n)
			}
			time.Sleep(time.Second / 16)
		}
		time.Sleep(time.Hour)
		if got := passes(f, &ended, 1); got != 1024 {
			t.Errorf("after an hour %d frames pass at once, want 1,024", got)
		}
	})
}

// handshakes is an Access whose connections have credentials, as with TLS.
type handshakes struct{ openAccess }

func (handshakes) Credentials() credentials.TransportCredentials { return insecure.NewCredentials() }

// TestARequestInTinyFramesEndsItsCallAlone: one call's request comes in small frames without an end, on a bare connection and behind a handshake.
// The client hears that this call has ended. A call that was open on the connection and calls after it are answered, and the client gets back
// what the connection's flow control lent it.
func TestARequestInTinyFramesEndsItsCallAlone(t *testing.T) {
	t.Parallel()
	for name, access := range map[string]Access{"bare": nil, "behind a handshake": handshakes{}} {
		t.Run(name, func(t *testing.T) {
			var shed atomic.Int64
			s := startOnSocket(t, Config{Access: access, Shed: func(_ context.Context, what, setting string) {
				if what == "call" && setting == framesSetting {
					shed.Add(1)
				}
			}}, &fake{get: echo})
			conn, err := net.Dial("tcp", s.conn.Target())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // less than requestTimeout
			w := newWire(t, conn)
			sent := make(chan error, 1)
			const frames, size = 4 * maxFramesAhead, 100 // more frames than a slow machine earns meanwhile
			go func() { sent <- flood(w, frames, size) }()
			// The frames before the end count for the call's own flow control: they are within its window.
			ends, returned := map[uint32]string{}, 0
			for len(ends) < 3 || returned < frames*size-receiveWindow/2 {
				read, err := w.framer.ReadFrame()
				if err != nil {
					t.Fatalf("%v; ended so far: %v; %d of %d bytes came back", err, ends, returned, frames*size)
				}
				switch read := read.(type) {
				case *http2.RSTStreamFrame:
					ends[read.StreamID] += "RST_STREAM " + read.ErrCode.String()
				case *http2.HeadersFrame:
					if read.StreamEnded() {
						ends[read.StreamID] += "trailers"
					}
				case *http2.WindowUpdateFrame:
					if read.StreamID == 0 {
						returned += int(read.Increment)
					}
				}
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			if ends[1] != "trailers" || ends[3] != "RST_STREAM PROTOCOL_ERROR" || ends[5] != "trailers" {
				t.Errorf("the calls ended with %v; want the second one alone reset", ends)
			}
			if shed.Load() != 1 {
				t.Errorf("reported %d times, want once", shed.Load())
			}
		})
	}
}

// flood opens a call, sends the request of a second one in many frames, completes the first one, and makes a third one.
func flood(w *wire, frames, size int) error {
	err := w.headers(getStatus)
	w.id = 3
	err = errors.Join(err, w.headers(getStatus), w.framer.WriteData(w.id, false, []byte{0, 0, 0, 0xff, 0xff}))
	part := make([]byte, size)
	for range frames {
		err = errors.Join(err, w.framer.WriteData(w.id, false, part))
	}
	w.id = 1
	err = errors.Join(err, w.message())
	w.id = 5
	return errors.Join(err, w.headers(getStatus), w.message())
}

package grpcserver

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/test/bufconn"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/await"
)

// wire is a bare HTTP/2 client, for what grpc's client never does.
type wire struct {
	conn   net.Conn
	framer *http2.Framer
	hpack  *hpack.Encoder
	block  bytes.Buffer
	id     uint32
}

func newWire(t *testing.T, conn net.Conn) *wire {
	t.Helper()
	w := &wire{conn: conn, framer: http2.NewFramer(conn, conn), id: 1}
	w.hpack = hpack.NewEncoder(&w.block)
	write(t, conn, w.framer)
	return w
}

// headers sends the headers of a call of a method.
func (w *wire) headers(method string, more ...hpack.HeaderField) error {
	w.block.Reset()
	for _, field := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: method},
		{Name: ":authority", Value: "x"}, {Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, more...) {
		if err := w.hpack.WriteField(field); err != nil {
			return err
		}
	}
	return w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: w.id, BlockFragment: w.block.Bytes(), EndHeaders: true})
}

// message sends a request for a session, whole.
func (w *wire) message() error {
	payload := append([]byte{0, 0, 0, 0, 6}, "\x0a\x04vs_1"...)
	return w.framer.WriteData(w.id, true, payload)
}

// ended waits for the end of the connection or of a stream and returns its kind.
func (w *wire) ended() string {
	for {
		frame, err := w.framer.ReadFrame()
		switch frame := frame.(type) {
		case nil:
			return "closed: " + err.Error()
		case *http2.GoAwayFrame:
			return "GOAWAY " + frame.ErrCode.String()
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = w.framer.WritePing(true, frame.Data)
			}
		case *http2.RSTStreamFrame:
			return "RST_STREAM " + frame.ErrCode.String()
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				return "trailers"
			}
		}
	}
}

const getStatus, watchStatus = verificationv1.VerificationService_GetStatus_FullMethodName, verificationv1.VerificationService_WatchStatus_FullMethodName

// TestSlowRequestsAreCutOff: in virtual time. Each case is named after the limit that ends it.
func TestSlowRequestsAreCutOff(t *testing.T) {
	for _, test := range []struct {
		name  string
		begin func(w *wire) error // nil: not even a preface
		after time.Duration
	}{
		{"no preface, by ConnectionTimeout", nil, 10 * time.Second},
		{"no request, by UnaryDeadline", func(w *wire) error { return w.headers(getStatus) }, 5 * time.Second},
		{"no request of a stream, by requestTimeout", func(w *wire) error { return w.headers(watchStatus) }, 10 * time.Second},
		{"no request until a short deadline, by that", func(w *wire) error {
			return w.headers(getStatus, hpack.HeaderField{Name: "grpc-timeout", Value: "20S"})
		}, 20 * time.Second},
		{"no request and a long deadline, by longestDeadline", func(w *wire) error {
			return w.headers(getStatus, hpack.HeaderField{Name: "grpc-timeout", Value: "10H"})
		}, 30 * time.Second},
		{"half a request, by UnaryDeadline", func(w *wire) error {
			if err := w.headers(getStatus); err != nil {
				return err
			}
			return w.framer.WriteData(w.id, false, []byte{0, 0, 0, 0x40, 0, 1, 2, 3})
		}, 5 * time.Second},
		{"no call, by MaxConnectionIdle", func(*wire) error { return nil }, 15 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, listener := New(Config{Logger: slog.New(slog.DiscardHandler), MaxConnectionAge: time.Hour}), bufconn.Listen(1<<16)
				verificationv1.RegisterVerificationServiceServer(server, &fake{get: echo})
				served := make(chan error, 1)
				go func() { served <- server.Serve(listener) }()
				conn, err := listener.Dial()
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				w := &wire{conn: conn, framer: http2.NewFramer(conn, conn)}
				if test.begin != nil {
					w = newWire(t, conn)
					if err := test.begin(w); err != nil {
						t.Fatal(err)
					}
				}
				how := w.ended()
				if took := time.Since(begun); took < test.after || took > test.after+time.Second {
					t.Errorf("%s after %v; want %v", how, took, test.after)
				}
				t.Logf("ended with %s", how)
				_ = conn.Close()
				server.Stop(t.Context())
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestHeaderFloodsOnTheWire: MaxHeaderListSize ends the stream or the connection, and other clients are served.
func TestHeaderFloodsOnTheWire(t *testing.T) {
	for name, flood := range map[string]func(w *wire) error{
		"ten thousand headers": func(w *wire) error {
			return w.headers(getStatus, manyFields(10_000, "x-a", "")...)
		},
		"one great header": func(w *wire) error {
			// An index bomb: 4 KB once, then one byte each.
			return w.headers(getStatus, manyFields(10_000, "x-bomb", strings.Repeat("b", 3000))...)
		},
		"continuation without an end": func(w *wire) error {
			w.block.Reset()
			_ = w.hpack.WriteField(hpack.HeaderField{Name: "x-a", Value: strings.Repeat("a", 1000), Sensitive: true})
			block := w.block.Bytes()
			err := w.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: w.id, BlockFragment: block})
			for range 1_000_000 {
				if err != nil {
					return err // the server has closed
				}
				err = w.framer.WriteContinuation(w.id, false, block)
			}
			t.Error("a gigabyte of headers was taken")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startOnSocket(t, Config{}, &fake{get: echo})
			conn, err := net.Dial("tcp", s.conn.Target())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(testTimeout))
			w := newWire(t, conn)
			flooded := make(chan error, 1)
			go func() { flooded <- flood(w) }()
			how := w.ended()
			if how == "trailers" || strings.Contains(how, "timeout") {
				t.Errorf("ended with %s", how)
			}
			t.Logf("ended with %s", how)
			_ = conn.Close()
			await.One(t, flooded)
			if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_1")); err != nil {
				t.Errorf("another client: %v", err)
			}
		})
	}
}

func manyFields(n int, name, value string) []hpack.HeaderField {
	fields := make([]hpack.HeaderField, n)
	for i := range fields {
		fields[i] = hpack.HeaderField{Name: name, Value: value}
	}
	return fields
}

// TestRapidReset: clients begin calls and reset them as fast as they can. MaxConcurrentStreams, which grpc also applies to
// handlers (a reset stream counts until its handler returns), and MaxInFlight limit the handlers. Others are served.
func TestRapidReset(t *testing.T) {
	t.Parallel()
	const attackers, resets, maxStreams = 4, 20_000, 8
	var running, most atomic.Int64
	s := startOnSocket(t, Config{MaxStreams: maxStreams, MaxInFlight: 10_000}, &fake{
		get: func(ctx context.Context, r *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
			if r.GetSessionId() == "vs_normal" {
				return echo(ctx, r)
			}
			now := running.Add(1)
			defer running.Add(-1)
			for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
			}
			<-time.After(10 * time.Millisecond) // work that does not notice the reset
			return nil, ctx.Err()
		},
	})
	var attack sync.WaitGroup
	var sent atomic.Int64
	for range attackers {
		conn, err := net.Dial("tcp", s.conn.Target())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		w := newWire(t, conn)
		attack.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		attack.Go(func() {
			defer conn.Close()
			for range resets {
				if w.headers(getStatus) != nil || w.message() != nil || w.framer.WriteRSTStream(w.id, http2.ErrCodeCancel) != nil {
					return // the server does not read any faster, or has closed
				}
				sent.Add(1)
				w.id += 2
			}
		})
	}
	over := make(chan struct{})
	go func() { attack.Wait(); close(over) }()
	calls := 0
	for attacked := true; attacked; calls++ {
		if _, err := s.client.GetStatus(patient(t), sessionRequest("vs_normal")); err != nil {
			t.Fatalf("a normal call meanwhile: %v", err)
		}
		select {
		case <-over:
			attacked = false
		default:
		}
	}
	t.Logf("%d resets, %d handlers at once at the most, %d normal calls meanwhile", sent.Load(), most.Load(), calls)
	if most.Load() > attackers*maxStreams || sent.Load() == 0 {
		t.Errorf("%d handlers at once", most.Load())
	}
	eventually(t, "all handlers have returned", func() bool { return running.Load() == 0 })
}

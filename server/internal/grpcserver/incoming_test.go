package grpcserver

import (
	"context"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// guard is an Access that admits every call, and calls look for each of its checks.
type guard struct {
	openAccess
	look          func(at string)
	waiting, left atomic.Int64 // requests that are awaited; streams that have ended
}

// The checks of a guard.
const atCaller, atStream, atRequest = "caller", "stream", "request"

func (g *guard) Identify(ctx context.Context) context.Context {
	g.look(atCaller)
	return ctx
}

func (g *guard) Stream(_ context.Context, _ string, stream grpc.ServerStream) (grpc.ServerStream, func(), error) {
	g.look(atStream)
	return &guardedStream{stream, g}, func() { g.left.Add(1) }, nil
}

type guardedStream struct {
	grpc.ServerStream
	guard *guard
}

func (s *guardedStream) RecvMsg(message any) error {
	s.guard.waiting.Add(1)
	defer s.guard.waiting.Add(-1)
	if err := s.ServerStream.RecvMsg(message); err != nil {
		return err
	}
	s.guard.look(atRequest)
	return nil
}

// goroutine returns the name of the goroutine that calls it.
func goroutine() string {
	name, _, _ := strings.Cut(string(debug.Stack()), " [")
	return name
}

// TestNoLookTakesAnOpenStreamsStack: the goroutine of a stream keeps the stack that it once needed for as long as the
// stream is open, so other goroutines check the caller and the request.
func TestNoLookTakesAnOpenStreamsStack(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]string{}
	note := func(at string) {
		mu.Lock()
		defer mu.Unlock()
		seen[at] = goroutine()
	}
	s := startOnPipe(t, Config{Access: &guard{look: note}}, &fake{
		watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
			note("handler")
			return stream.Send(&verificationv1.WatchStatusResponse{})
		},
	})
	_ = watchResult(t, s)
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 4 || !strings.HasPrefix(seen["handler"], "goroutine ") {
		t.Fatalf("seen: %v", seen)
	}
	for at, by := range seen {
		if at != "handler" && by == seen["handler"] {
			t.Errorf("the check of the %s ran in the stream's own %s", at, by)
		}
	}
}

// TestAPanicAtALookEndsOneStream with INTERNAL and a log line with its stack. The check runs in another goroutine than the
// handler's, where an unrecovered panic would end the process. Other streams continue, and the stream's leave is called.
func TestAPanicAtALookEndsOneStream(t *testing.T) {
	for at, left := range map[string]int64{atCaller: 0, atStream: 0, atRequest: 1} {
		t.Run(at, func(t *testing.T) {
			var armed atomic.Bool
			g := &guard{look: func(now string) {
				if armed.Load() && now == at {
					panic("planted")
				}
			}}
			goOn := make(chan struct{})
			s := startOnPipe(t, Config{Access: g}, &fake{
				watch: func(stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
					_ = stream.Send(&verificationv1.WatchStatusResponse{})
					<-goOn
					return stream.Send(&verificationv1.WatchStatusResponse{ResumeToken: "last"})
				},
			})
			other := openWatch(t, s)
			armed.Store(true)
			for range 3 {
				wantInternal(t, watchResult(t, s))
			}
			armed.Store(false)
			if got := g.left.Load(); got != 3*left {
				t.Errorf("%d streams have left, want %d", got, 3*left)
			}
			eventually(t, "the lines", func() bool { return strings.Count(s.log.String(), "panic=string") == 3 })
			if log := s.log.String(); !strings.Contains(log, "grpcserver.(*guard") || strings.Contains(log, "planted") {
				t.Errorf("the log has no stack of the panic, or quotes its value:\n%s", log)
			}
			close(goOn)
			if last, err := other.Recv(); err != nil || last.GetResumeToken() != "last" {
				t.Errorf("the stream beside: %v, %v", last, err)
			}
		})
	}
}

// TestAStreamWithoutARequestLeavesNothing: in virtual time. However the wait for the request ends, the stream's leave is
// called and no goroutine waits for the request any more.
func TestAStreamWithoutARequestLeavesNothing(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *wire, *Server){
		"the caller resets it": func(t *testing.T, w *wire, _ *Server) {
			if err := w.framer.WriteRSTStream(w.id, http2.ErrCodeCancel); err != nil {
				t.Fatal(err)
			}
		},
		"the connection ends": func(_ *testing.T, w *wire, _ *Server) { _ = w.conn.Close() },
		"it does not come":    func(*testing.T, *wire, *Server) { time.Sleep(requestTimeout) },
		"the server stops": func(_ *testing.T, _ *wire, s *Server) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			s.Stop(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &guard{look: func(string) {}}
				server, pipe := New(Config{Logger: slog.New(slog.DiscardHandler), Access: g}), bufconn.Listen(1<<16)
				verificationv1.RegisterVerificationServiceServer(server, never(t))
				served := make(chan error, 1)
				go func() { served <- server.Serve(pipe) }()
				conn, err := pipe.Dial()
				if err != nil {
					t.Fatal(err)
				}
				w := newWire(t, conn)
				if err := w.headers(watchStatus); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if g.waiting.Load() != 1 || g.left.Load() != 0 {
					t.Errorf("%d requests are waited for, and %d streams have left; want 1 and 0", g.waiting.Load(), g.left.Load())
				}
				end(t, w, server)
				synctest.Wait()
				if g.waiting.Load() != 0 || g.left.Load() != 1 {
					t.Errorf("%d requests are waited for, and %d streams have left; want 0 and 1", g.waiting.Load(), g.left.Load())
				}
				_ = conn.Close()
				server.Stop(t.Context())
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

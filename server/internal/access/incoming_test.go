package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// awaitStreams waits until this number of streams are open.
func (b *bench) awaitStreams(want int) {
	b.t.Helper()
	await(b.t, fmt.Sprintf("%d streams are open", want), func() bool { return b.limits.streams.Taken() == want })
}

// TestRightsThatGoWhileTheRequestIsAwaited: the stream is admitted, its caller loses the right, and then the request arrives.
func TestRightsThatGoWhileTheRequestIsAwaited(t *testing.T) {
	b := newBench(t, nil)
	who := b.as(nil, "Bearer "+b.token("web", RightRead))
	stream, err := b.dial(who).NewStream(authorized(patient(t), who), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, pathWatch)
	if err != nil {
		t.Fatal(err)
	}
	b.awaitStreams(1)
	b.write("tokens", "# nobody\n")
	b.reload()
	if err := errors.Join(stream.SendMsg(watchOne), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&verificationv1.WatchStatusResponse{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v", err)
	}
	if b.reached.Load() != 0 {
		t.Error("the handler ran")
	}
	b.awaitStreams(0)
}

// TestStreamsThatBeginAndEndWhileRightsChange: callers open streams and end them, some before the request has arrived and some by
// closing the connection, while tokens are added and removed. Every answer is an expected one, and every stream is uncounted.
func TestStreamsThatBeginAndEndWhileRightsChange(t *testing.T) {
	const callers, each = 4, 60
	b := newBench(t, nil)
	who := b.as(nil, "Bearer "+b.token("web", RightRead))
	good := b.tokens.Load().all
	ending := make(chan struct{})
	var changing, calling sync.WaitGroup
	changing.Go(func() {
		ticker := time.NewTicker(100 * time.Microsecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ending:
				return
			case <-ticker.C:
				b.tokens.Store(newTokens(good[:n%2]))
				b.generation.Add(1)
			}
		}
	})
	for range callers {
		calling.Go(func() {
			for range each {
				b.hasty(who)
			}
		})
	}
	calling.Wait()
	close(ending)
	changing.Wait()
	b.awaitStreams(0)
}

// hasty opens a stream on a connection of its own, and ends it at a random point.
func (b *bench) hasty(who identity) {
	conn := b.connect(who)
	defer conn.Close()
	ctx, cancel := context.WithCancel(authorized(patient(b.t), who))
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, pathWatch)
	leaves := rand.N(4)
	if err == nil && leaves > 0 {
		err = errors.Join(stream.SendMsg(watchOne), stream.CloseSend())
	}
	if leaves == 1 {
		cancel()
	}
	if err == nil && leaves > 1 {
		err = stream.RecvMsg(&verificationv1.WatchStatusResponse{})
	}
	switch status.Code(err) {
	case codes.OK, codes.Unauthenticated, codes.Canceled:
	default:
		if !errors.Is(err, io.EOF) { // of a send to a stream that was refused meanwhile
			b.t.Errorf("got %v", err)
		}
	}
}

// BenchmarkUnaryByToken measures the check of a token, by the number of tokens.
func BenchmarkUnaryByToken(b *testing.B) {
	for name, others := range map[string]int{"tokens=1": 0, "tokens=256": maxTokens - 1} {
		b.Run(name, func(b *testing.B) {
			token, line, err := NewToken("web", []Right{RightRead})
			if err != nil {
				b.Fatal(err)
			}
			all, err := ParseTokens(manyTokens(others) + line.String())
			if err != nil {
				b.Fatal(err)
			}
			a := &Access{config: Config{TokensFile: "tokens"}, limits: newLimits(Config{})}
			a.tokens.Store(newTokens(all))
			ctx := metadata.NewIncomingContext(b.Context(), metadata.Pairs("authorization", "Bearer "+token))
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Unary(a.Identify(ctx), pathGetStatus, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

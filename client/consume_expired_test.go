package client_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// late is a stream without a response before it is canceled.
type late struct {
	grpc.ClientStream
	waits func()
}

func (l late) RecvMsg(any) error {
	l.waits()
	<-l.Context().Done()
	return status.FromContextError(l.Context().Err()).Err()
}

// TestALostPositionIsToldWhileAStreamBegins: the history was trimmed. An acknowledgement on its way is told so while the next
// stream, which has no token, waits for its first response.
func TestALostPositionIsToldWhileAStreamBegins(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		streams, begun := new(atomic.Int32), make(chan struct{})
		c := server.Client(client.WithDialOptions(
			grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
				if strings.HasSuffix(method, "/AcknowledgeChanges") {
					select {
					case <-begun:
					case <-ctx.Done():
					}
				}
				return invoke(ctx, method, request, reply, conn, options...)
			}),
			grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
				stream, err := open(ctx, desc, conn, method, options...)
				if err == nil && strings.HasSuffix(method, "/WatchStatus") && streams.Add(1) == 3 {
					stream = late{stream, func() { close(begun) }}
				}
				return stream, err
			})))
		r := consume(t, c, nil)
		flip(server, "vs_1", 1)
		r.want("before", "vs_1/1")
		time.Sleep(1500 * time.Millisecond) // the acknowledgement is on its way
		server.ExpireTokens()
		server.CutStreams(nil) // the second stream has the old token, the third one none
		time.Sleep(batched)
		flip(server, "vs_1", 2)
		r.want("afterwards", "vs_1/1", "vs_1/2")
		time.Sleep(batched)
		wantPending(t, "afterwards", c, 0)
		if got := streams.Load(); got < 4 {
			t.Errorf("%d streams were opened: the third one was not ended by the acknowledgement", got)
		}
	})
}

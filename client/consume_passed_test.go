package client_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// correct changes the reference of vs_1, which brings no outcome.
func correct(server *clienttest.Server, n int) {
	server.Set(person("vs_1", fmt.Sprint("user-", n), processing))
}

// TestG14_WhatWasPassedOverBeforeABreakIsAcknowledged: the stream begins at the token of a heartbeat, which came before the change in
// front of it was handled. The service does not know then that nothing is left to handle.
func TestG14_WhatWasPassedOverBeforeABreakIsAcknowledged(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c, handled := server.Client(), make(chan struct{})
		r := consume(t, c, func(context.Context, client.Update) error { <-handled; return nil })
		flip(server, "vs_1", 1)
		correct(server, 1)
		time.Sleep(time.Minute)
		wantPending(t, "while the change is handled", c, 2)
		server.CutStreams(nil)
		time.Sleep(taken)
		wantPending(t, "after the break", c, 2)
		close(handled)
		time.Sleep(3 * time.Minute)
		r.want("after the break", "vs_1/1")
		wantPending(t, "after the change is handled", c, 0)
		correct(server, 2)
		time.Sleep(2 * time.Minute)
		wantPending(t, "later", c, 0)
	})
}

// TestHeartbeatsAreAcknowledgedOnceAMinute, and only if their token is another one.
func TestHeartbeatsAreAcknowledgedOnceAMinute(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		var acknowledged atomic.Int32
		c := server.Client(client.WithDialOptions(grpc.WithUnaryInterceptor(
			func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
				if method == "/verification.v1.FeedService/AcknowledgeChanges" {
					acknowledged.Add(1)
				}
				return invoke(ctx, method, request, reply, conn, options...)
			})))
		consume(t, c, nil, client.Heartbeat(5*time.Second))
		flip(server, "vs_1", 1)
		time.Sleep(time.Hour)
		if got := acknowledged.Load(); got != 1 {
			t.Errorf("%d acknowledgements of one outcome and an idle hour; want 1", got)
		}
		for n := range 120 {
			correct(server, n)
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Minute)
		if got := acknowledged.Load(); got != 4 {
			t.Errorf("%d acknowledgements after two minutes of changes that the filter passes over; want 4", got)
		}
	})
}

package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestG14_ALostCheckpointEndsConsume: without a token, the stream would begin after what was acknowledged, and the effects of that can
// be lost with the token.
func TestG14_ALostCheckpointEndsConsume(t *testing.T) {
	t.Run("before a run", func(t *testing.T) {
		virtually(t, func(t *testing.T, server *clienttest.Server) {
			position := &ledger{}
			r := consume(t, server.Client(), nil, client.WithCheckpoint(position))
			flip(server, "vs_1", 1)
			r.want("the first run", "vs_1/1")
			time.Sleep(batched)
			_ = r.stop()
			position.set("")
			r = consume(t, server.Client(), nil, client.WithCheckpoint(position))
			r.wantEnd(client.ErrCheckpointLost)
			server.DeleteConsumer("mailer")
			r = consume(t, server.Client(), nil, client.WithCheckpoint(position))
			flip(server, "vs_1", 2)
			r.want("with a new consumer", "vs_1/2")
		})
	})
	t.Run("in a run", func(t *testing.T) {
		virtually(t, func(t *testing.T, server *clienttest.Server) {
			position := &ledger{}
			r := consume(t, server.Client(client.WithDialOptions(noList())), nil, client.WithCheckpoint(position))
			position.set("")
			server.CutStreams(nil)
			time.Sleep(taken)
			r.wantEnd(client.ErrCheckpointLost)
		})
	})
	t.Run("of a consumer that must exist, without the right list", func(t *testing.T) {
		virtually(t, func(t *testing.T, server *clienttest.Server) {
			c := server.Client(client.WithDialOptions(noList()))
			r := consume(t, c, nil)
			_ = r.stop()
			consume(t, c, nil, client.WithCheckpoint(&ledger{}), client.MustExist()).wantEnd(client.ErrCheckpointLost)
		})
	})
}

// noList denies ListConsumers.
func noList() grpc.DialOption {
	return failingList(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED), 1<<30)
}

// failingList makes the next calls of ListConsumers fail.
func failingList(failure error, times int) grpc.DialOption {
	return grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if strings.HasSuffix(method, "/ListConsumers") && times > 0 {
			times--
			return failure
		}
		return invoke(ctx, method, request, reply, conn, options...)
	})
}

// TestAnEmptyCheckpointIsNotLost if the consumer has acknowledged nothing, such as after a crash before the first save. Nor does
// Consume know of a loss if it may not list consumers.
func TestAnEmptyCheckpointIsNotLost(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c, full := server.Client(), &ledger{fail: nil}
		r := consume(t, c, nil, client.WithCheckpoint(&unsaved{}))
		_ = r.stop()
		r = consume(t, c, nil, client.WithCheckpoint(full))
		flip(server, "vs_1", 1)
		r.want("after a crash", "vs_1/1")
		time.Sleep(batched)
		_ = r.stop()
		r = consume(t, server.Client(client.WithDialOptions(noList())), nil, client.WithCheckpoint(&ledger{}))
		flip(server, "vs_1", 2)
		r.want("without the right list", "vs_1/2")
	})
}

// TestTheLossOfACheckpointIsFoundAfterAnOutage: while consumers cannot be listed, nothing is handled.
func TestTheLossOfACheckpointIsFoundAfterAnOutage(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		r := consume(t, server.Client(), nil)
		flip(server, "vs_1", 1)
		time.Sleep(batched)
		_ = r.stop()
		flip(server, "vs_1", 2)
		away := clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
		r = consume(t, server.Client(client.WithDialOptions(failingList(away, 3))), nil, client.WithCheckpoint(&ledger{}))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.wantEnd(client.ErrCheckpointLost)
		r.want("before that")
	})
}

// unsaved is a checkpoint in which nothing can be saved.
type unsaved struct{}

func (unsaved) Load(context.Context) (string, error)      { return "", nil }
func (unsaved) Save(context.Context, client.Update) error { return errors.New("read-only") }

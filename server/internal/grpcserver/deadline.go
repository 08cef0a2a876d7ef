package grpcserver

import (
	"context"
	"time"

	"google.golang.org/grpc"
)

// deadlineUnary gives unary calls without a deadline one: a caller that forgot it would otherwise
// wait, and hold a handler, for as long as whatever is behind this service hangs.
func deadlineUnary(standard time.Duration, exceptions map[string]time.Duration) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if _, ok := ctx.Deadline(); ok {
			return handler(ctx, request)
		}
		limit, ok := exceptions[info.FullMethod]
		if !ok {
			limit = standard
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return handler(ctx, request)
	}
}

package grpcserver

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/connlimit"
)

const (
	// overloadRetry is when a call that was refused for load should be made again.
	overloadRetry = time.Second
	// overloadWarnEvery is how often the log is told of refused calls: they are many, and meant to be
	// cheap.
	overloadWarnEvery = time.Minute
)

var errOverloaded = overloadedError()

func overloadedError() error {
	s, err := status.New(codes.Unavailable, "this server has as many calls under way as it can serve; try again, or another").WithDetails(
		&errdetails.ErrorInfo{Domain: errorDomain, Reason: verificationv1.ErrorReason_ERROR_REASON_OVERLOADED.String()},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(overloadRetry)},
	)
	if err != nil {
		panic(err) // only messages that cannot be encoded, and these can
	}
	return s.Err()
}

// shedUnary refuses calls of the service at once where as many of the same method are under way as
// may be: when the store is slow, callers who wait in line would all be too late, and the line would
// fill the memory. Each method has its own places, so that retries that wait for Stripe do not keep
// statuses out. Refused calls are not logged one by one.
func shedUnary(log *slog.Logger, limit int) grpc.UnaryServerInterceptor {
	places := make(map[string]chan struct{})
	for _, method := range verificationv1.VerificationService_ServiceDesc.Methods {
		places["/"+serviceName+"/"+method.MethodName] = make(chan struct{}, limit)
	}
	var warned atomic.Int64 // when last, in seconds since 1970
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		place, ok := places[info.FullMethod]
		if !ok {
			return handler(ctx, request) // health: it needs nothing, and says what is wrong
		}
		select {
		case place <- struct{}{}:
			defer func() { <-place }()
			return handler(ctx, request)
		default:
		}
		now, last := time.Now().Unix(), warned.Load()
		if now-last >= int64(overloadWarnEvery/time.Second) && warned.CompareAndSwap(last, now) {
			log.WarnContext(ctx, "calls are refused: too many are under way, because of many callers or a slow store",
				"method", info.FullMethod, "setting", "GRPC_MAX_IN_FLIGHT", "limit", limit)
		}
		return nil, errOverloaded
	}
}

// holdUnary and holdStream keep the connection of a call from being closed to make room for others.
func holdUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	defer hold(ctx, info.FullMethod).Done()
	return handler(ctx, request)
}

func holdStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	defer hold(stream.Context(), info.FullMethod).Done()
	return handler(srv, stream)
}

// hold is nothing for health, which strangers may watch for as long as they like: a connection for each
// of such watches would keep all callers out.
func hold(ctx context.Context, method string) connlimit.Work {
	caller, ok := peer.FromContext(ctx)
	if !ok || isGRPCs(method) {
		return connlimit.Work{}
	}
	return connlimit.Hold(caller.Addr)
}

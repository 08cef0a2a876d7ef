package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// errorDomain is the ErrorInfo domain that the contract promises.
const errorDomain = "verification.v1"

// errInternal is what a caller learns of a fault of this service.
var errInternal = internalError()

func internalError() error {
	s, err := status.New(codes.Internal, "internal error").WithDetails(&errdetails.ErrorInfo{
		Domain: errorDomain,
		Reason: verificationv1.ErrorReason_ERROR_REASON_INTERNAL.String(),
	})
	if err != nil {
		panic(err) // only a message that cannot be encoded, and this one can
	}
	return s.Err()
}

// recoverUnary turns a panic into errInternal. The log gets the stack and what kind of panic it was; a
// text only of Go's own, since any other may quote what the call was about.
func recoverUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return recovery.UnaryServerInterceptor(recovery.WithRecoveryHandlerContext(logPanic(log)))
}

func recoverStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return recovery.StreamServerInterceptor(recovery.WithRecoveryHandlerContext(logPanic(log)))
}

func logPanic(log *slog.Logger) recovery.RecoveryHandlerFuncContext {
	return func(ctx context.Context, p any) error {
		method, _ := grpc.Method(ctx)
		kind := fmt.Sprintf("%T", p)
		if own, ok := p.(runtime.Error); ok {
			kind = own.Error()
		}
		log.ErrorContext(ctx, "a gRPC handler panicked", "method", method, "panic", kind, "stack", string(debug.Stack()))
		return errInternal
	}
}

// statusUnary gives every error that leaves a handler a code. grpc would do so too, but with the
// error's own text, which may name hosts or hold a secret.
func statusUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		response, err := handler(ctx, request)
		return response, withStatus(ctx, log, info.FullMethod, err)
	}
}

func statusStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return withStatus(stream.Context(), log, info.FullMethod, handler(srv, stream))
	}
}

func withStatus(ctx context.Context, log *slog.Logger, method string, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the deadline passed before the call was done")
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the call was canceled")
	default:
		log.ErrorContext(ctx, "a gRPC handler returned an error without a code", "method", method, "error", err)
		return errInternal
	}
}

package grpcserver

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/offstack"
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

// panicked turns a panic into errInternal. The log gets the stack and what kind of panic it was; a text
// only of Go's own, since any other may quote what the call was about.
func (s *Server) panicked(ctx context.Context, c *call, p any) error {
	stack := debug.Stack()
	if elsewhere, ok := p.(*offstack.Panic); ok {
		p, stack = elsewhere.Value, elsewhere.Stack
	}
	kind := fmt.Sprintf("%T", p)
	if own, ok := p.(runtime.Error); ok {
		kind = own.Error()
	}
	s.callLog.ErrorContext(ctx, "a gRPC handler panicked", "method", c.method.full, "panic", kind, "stack", string(stack))
	return errInternal
}

// withStatus gives every error that leaves a call a code. grpc would do so too, but with the error's own
// text, which may name hosts or hold a secret.
func (s *Server) withStatus(ctx context.Context, c *call, err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the deadline passed before the call was done")
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the call was canceled")
	default:
		s.callLog.ErrorContext(ctx, "a gRPC handler returned an error without a code", "method", c.method.full, "error", err)
		return errInternal
	}
}

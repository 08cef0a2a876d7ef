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

// errInternal is the answer to a call that a fault of this service ended.
var errInternal = internalError()

func internalError() error {
	s, err := status.New(codes.Internal, "internal error").WithDetails(&errdetails.ErrorInfo{
		Domain: errorDomain,
		Reason: verificationv1.ErrorReason_ERROR_REASON_INTERNAL.String(),
	})
	if err != nil {
		panic(err) // only for a message that cannot be encoded, and this one can
	}
	return s.Err()
}

// panicked logs a panic and returns errInternal. The log line has the stack and the type of the panic value. It has the
// text of Go's runtime errors only: another text can quote the request.
func (s *Server) panicked(ctx context.Context, c *call, p any) error {
	stack := debug.Stack()
	if elsewhere, ok := p.(*offstack.Panic); ok {
		p, stack = elsewhere.Value, elsewhere.Stack
	}
	kind := fmt.Sprintf("%T", p)
	if own, ok := p.(runtime.Error); ok {
		kind = own.Error()
	}
	s.callLog.ErrorContext(ctx, "gRPC handler panicked, answering INTERNAL", "method", c.method.full, "panic", kind, "stack", string(stack))
	return errInternal
}

// withStatus returns err with a gRPC code. grpc would add one too, but with the text of the error, which can name hosts or
// contain a secret.
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
		s.callLog.ErrorContext(ctx, "gRPC handler returned an error without a code, answering INTERNAL", "method", c.method.full, "error", err)
		return errInternal
	}
}

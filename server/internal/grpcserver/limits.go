package grpcserver

import (
	"context"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

const (
	// overloadRetry is when a call that was refused for load should be made again.
	overloadRetry = time.Second
	// inFlightSetting holds the limit.
	inFlightSetting = "GRPC_MAX_IN_FLIGHT"
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

// overloaded refuses a call where as many of the same method are under way as may be: when the store is
// slow, callers who wait in line would all be too late, and the line would fill the memory. Each method
// has its own places, so that retries that wait for Stripe do not keep statuses out. Refused calls have
// no line of their own: Shed is told of them.
func (s *Server) overloaded(ctx context.Context, c *call) error {
	s.config.Shed(ctx, c.method.full, inFlightSetting)
	if trailer := c.trailer(); trailer != nil {
		_ = grpc.SetTrailer(ctx, trailer) // it fails only where the caller is gone
	}
	return errOverloaded
}

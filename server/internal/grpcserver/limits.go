package grpcserver

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/shares"
)

// overloadRetry is when a call that was refused for load should be made again.
const overloadRetry = time.Second

// The settings that hold the limits.
const (
	inFlightSetting = "GRPC_MAX_IN_FLIGHT"
	shareSetting    = "CALLER_SHARE_PERCENT"
)

// What a refused call is told. The texts say whether the caller or the server is at its limit: only in the one case
// does it help to make fewer calls.
var (
	errOverloaded   = overloadedError("this server has as many calls under way as it can serve; try again, or another")
	errShareTaken   = overloadedError("this caller has its share of the calls under way on this server; let some of them end, or try another")
	errWaitingTaken = overloadedError("this caller has its share of the calls that wait for a revision on this server; let some of them end, or try another")
)

func overloadedError(text string) error {
	s, err := status.New(codes.Unavailable, text).WithDetails(
		&errdetails.ErrorInfo{Domain: errorDomain, Reason: verificationv1.ErrorReason_ERROR_REASON_OVERLOADED.String()},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(overloadRetry)},
	)
	if err != nil {
		panic(err) // only messages that cannot be encoded, and these can
	}
	return s.Err()
}

// places are a pot of calls: those of one method that are under way, or those that wait.
func places(config Config) *shares.Pot {
	return shares.New(config.MaxInFlight, shares.Of(config.MaxInFlight, config.SharePercent))
}

// takePlace takes a place for a unary call that was let in, or refuses it: when the store is slow, callers
// that wait in line would all be too late, and the line would fill the memory. Each method has its own
// places, so that retries that wait for Stripe do not keep statuses out, and each caller has its share of them.
func (s *Server) takePlace(ctx context.Context, c *call) (err error) {
	if c.method.places == nil {
		return nil
	}
	c.place, err = c.method.places.Take(shares.HolderOf(ctx), nil)
	if err != nil {
		return s.overloaded(ctx, c, err, errShareTaken)
	}
	return nil
}

// Await runs wait, and gives the place of the unary call that ctx belongs to to other calls meanwhile: a call that waits for
// something other than the store or Stripe costs next to nothing, and must not keep out those that would be
// answered at once. How many calls wait has a bound of its own, with a share for each caller.
//
// It returns an error for the caller without running wait if too many calls wait, and after wait if no place
// is free for the rest of the call. ctx is the one that the handler got, or is made from it.
func Await(ctx context.Context, wait func()) error {
	c := callOf(ctx)
	if c == nil || c.method.places == nil {
		wait()
		return nil
	}
	return c.server.await(ctx, c, wait)
}

func (s *Server) await(ctx context.Context, c *call, wait func()) error {
	waiting, err := s.waiting.Take(shares.HolderOf(ctx), nil)
	if err != nil {
		return s.overloaded(ctx, c, err, errWaitingTaken)
	}
	defer waiting.Release()
	c.place.Release()
	wait()
	if ctx.Err() != nil {
		return nil // the call is over, and needs no place for that
	}
	return s.takePlace(ctx, c)
}

// overloaded makes the error of a call that finds no place. Such calls have no line of their own: Shed is told of
// them.
func (s *Server) overloaded(ctx context.Context, c *call, err, share error) error {
	c.shed = true
	if errors.Is(err, shares.ErrShare) {
		s.config.Shed(ctx, c.method.full, shareSetting)
		return share
	}
	s.config.Shed(ctx, c.method.full, inFlightSetting)
	return errOverloaded
}

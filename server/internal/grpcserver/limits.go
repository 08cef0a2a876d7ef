package grpcserver

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/shares"
)

// overloadRetry is the RetryInfo of a call that was refused for load.
const overloadRetry = time.Second

// The settings of the limits.
const (
	inFlightSetting = "GRPC_MAX_IN_FLIGHT"
	shareSetting    = "CALLER_SHARE_PERCENT"
	framesSetting   = "none: it is fixed for DATA frames of a call"
	halfSetting     = "none: it is fixed for requests that do not arrive"
	paceSetting     = "none: it is fixed for calls without credentials, and for resets"
)

// The errors of refused calls. Each says whether the caller or the server is at its limit: fewer calls help only if the
// caller is.
var (
	errOverloaded   = overloadedError("this server has as many calls under way as it can serve; try again, or another")
	errShareTaken   = overloadedError("this caller has its share of the calls under way on this server; let some of them end, or try another")
	errHalfTaken    = overloadedError("too many calls of this caller wait for their requests to arrive; open fewer at once, or try another server")
	errWaitingTaken = overloadedError("this caller has its share of the calls that wait on this server; let some of them end, or try another")
)

func overloadedError(text string) error {
	s, err := status.New(codes.Unavailable, text).WithDetails(
		&errdetails.ErrorInfo{Domain: errorDomain, Reason: verificationv1.ErrorReason_ERROR_REASON_OVERLOADED.String()},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(overloadRetry)},
	)
	if err != nil {
		panic(err) // only for messages that cannot be encoded, and these can
	}
	return s.Err()
}

// newSlots returns the slots for the calls of one method that are under way, or for the calls that wait.
func newSlots(config Config) *shares.Pot {
	return shares.New(config.MaxInFlight, shares.Of(config.MaxInFlight, config.SharePercent))
}

// takeSlot takes a slot for an admitted unary call. It returns an error for the caller if there is none: a queue would fill
// the memory while the store is slow, and its calls would all be answered too late. Each method has its own slots, so that
// retries that wait for Stripe do not shut out GetStatus, and each caller has a share of them.
func (s *Server) takeSlot(ctx context.Context, c *call) (err error) {
	if c.method.slots == nil {
		return nil
	}
	c.slot, err = c.method.slots.Take(shares.HolderOf(ctx), nil)
	if err != nil {
		return s.overloaded(ctx, c, err, errShareTaken)
	}
	return nil
}

// Await runs wait and releases the slot of the unary call meanwhile. A call that waits for neither the store nor Stripe
// costs little, and must not shut out calls that can be answered at once. The number of calls that wait has a limit of
// its own, with a share for each caller.
//
// Await returns an error for the caller, without running wait, if too many calls wait. It returns one after wait if no slot
// is free for the rest of the call. ctx is the handler's, or derives from it.
func Await(ctx context.Context, wait func()) error {
	c := callOf(ctx)
	if c == nil || c.method.slots == nil {
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
	c.slot.Release()
	wait()
	if ctx.Err() != nil {
		return nil // the call is over and needs no slot
	}
	return s.takeSlot(ctx, c)
}

// overloaded reports a call for which there is no slot to Config.Shed, and returns the error for its caller. Such calls
// have no log line.
func (s *Server) overloaded(ctx context.Context, c *call, err, share error) error {
	c.shed = true
	if errors.Is(err, shares.ErrShare) {
		s.config.Shed(ctx, c.method.full, shareSetting)
		return share
	}
	s.config.Shed(ctx, c.method.full, inFlightSetting)
	return errOverloaded
}

// tooManyFrames reports a call that a connection ends because of its DATA frames. Its method is not known there.
func (s *Server) tooManyFrames(peer net.Addr) {
	s.log.Debug("a call ends: its request comes in more DATA frames than requests need", "peer", peer.String())
	s.config.Shed(context.Background(), "call", framesSetting)
}

// slowed reports a connection that is read slowly.
func (s *Server) slowed(peer net.Addr) {
	s.log.Debug("a connection is read slowly: its calls have no valid credentials or no known method, or are reset at once", "peer", peer.String())
	s.config.Shed(context.Background(), "connection", paceSetting)
}

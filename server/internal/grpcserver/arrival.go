package grpcserver

import (
	"context"
	"maps"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/offstack"
	"example.com/verification-status/server/internal/shares"
)

const (
	// requestTimeout bounds the arrival of a request after its headers, as the read timeout of an HTTP server does.
	// Without it a client could open calls and send half of each request.
	requestTimeout = 10 * time.Second
	// maxHalf is how many calls can wait for their requests. Each caller has its share, and each address without
	// credentials. Until the request has arrived, a call takes 14 KiB, and up to 64 KiB more for the part of the request
	// that was sent: one connection could fill the memory.
	maxHalf = 1024
	// maxShortHalf is how many further calls have shortRequestTimeout and shortHalfBytes: enough for a client that opens
	// thousands of watches at once over a slow network. It sends their requests behind the headers of all, and only as
	// fast as HTTP/2 lets it. Each caller can have half of them. Beyond that, a call ends at once.
	maxShortHalf        = 8192
	shortHalfPercent    = 50
	shortRequestTimeout = 2 * time.Second
	shortHalfBytes      = 4 << 10
	// soonOver: gRPC ends a call whose deadline passes while it starts, and reports no end. A timer looks after each call
	// whose deadline is this near.
	soonOver = time.Second
)

// limitArrival bounds the arrival of the request of a call. On a connection that has admitted a call, and within its
// holder's share, the call has until its deadline; a stream until requestTimeout after its handler's start.
func (c *call) limitArrival(holder shares.Holder) {
	var err error
	timeout := requestTimeout
	if c.half, err = c.server.half.Take(holder, nil); err != nil {
		timeout = shortRequestTimeout
	} else if deadline, ok := c.Deadline(); connlimit.Used(c.peer) && (!ok || time.Until(deadline) > soonOver) {
		c.requestAwaited.Store(true)
		return
	}
	if c.cancel == nil {
		c.Context, c.cancel = context.WithCancel(c.Context)
	}
	if c.brief = timeout == shortRequestTimeout; c.brief {
		c.half, err = c.server.shortHalf.Take(holder, func() { c.tooLate() })
		c.excess = err != nil
	}
	c.requestAwaited.Store(true)
	c.late = time.AfterFunc(timeout, func() {
		over := c.Err() != nil
		awaited := c.stopAwaiting() // gRPC does not report the end of a call whose deadline had passed at its start
		if awaited && !over && c.brief {
			c.tooLate()
		}
		c.cancel()
	})
}

// tooLate ends a call whose request has not arrived. Others need its unit.
func (c *call) tooLate() {
	c.tooMany.Store(true)
	c.cancel()
	c.server.config.Shed(c, "call", halfSetting)
}

// part counts bytes of the request while it is incomplete. Only the goroutine that reads the connection calls it.
func (c *call) part(bytes int) {
	if c.bytes += bytes; c.brief && c.bytes > shortHalfBytes && c.requestAwaited.Load() && !c.tooMany.Load() {
		c.tooLate()
	}
}

// arrived records that the request has arrived, or that the call has ended without it.
func (c *call) arrived() {
	if c.stopAwaiting() && c.late != nil {
		c.late.Stop()
	}
}

// stopAwaiting takes the call off the count of those that wait for their requests. It returns true the first time.
func (c *call) stopAwaiting() bool {
	first := c.requestAwaited.CompareAndSwap(true, false)
	if first {
		c.half.Release()
	}
	return first
}

// complete records that the request of a call is complete, or that the client has ended the call.
func (f *frameLimit) complete(id uint32) {
	if id == f.current {
		f.whole = true
	}
	if c := f.awaited[id]; c != nil {
		delete(f.awaited, id)
		c.arrived()
	}
}

// minSwept is how many incomplete requests a connection knows before it looks for those of calls that are over.
const minSwept = 64

// await adds the call that began last to those that wait for their requests. Call it in the tap.
func (f *frameLimit) await(c *call) {
	if f.awaited == nil {
		f.awaited = map[uint32]*call{}
	}
	if n := len(f.awaited); n >= minSwept && n&(n-1) == 0 { // at each power of two: on average, a call is looked at once or twice
		maps.DeleteFunc(f.awaited, func(_ uint32, c *call) bool { return !c.requestAwaited.Load() })
	}
	f.awaited[f.current] = c
	// What came with the headers. The call ends later: gRPC would answer DEADLINE_EXCEEDED for a context that ends in the tap.
	c.bytes = f.sent
	c.excess = c.excess || c.brief && c.bytes > shortHalfBytes
}

// incoming is a stream whose request has not arrived yet, and afterwards passes everything on. Identifying the caller and
// receiving the request run in goroutines of their own: the goroutine of an open stream keeps the stack that it once
// needed.
type incoming struct {
	grpc.ServerStream                 // after admit: Access's stream, which checks the right that the request needs
	ctx               context.Context // after admit: with the caller
	leave             func()          // called at the end
	arrived           bool
}

// Context implements grpc.ServerStream.
func (s *incoming) Context() context.Context { return s.ctx }

// admit identifies the caller. It returns Access's error if the caller may not open the stream.
func (s *incoming) admit(server *Server, method string) error {
	admission := offstack.Go(func() error {
		s.ctx = server.access.Identify(s.ctx)
		checked, leave, err := server.access.Stream(s.ctx, method, s.ServerStream)
		if err == nil {
			s.ServerStream, s.leave = checked, leave
			s.ctx = server.continueTrace(checked.Context()) // Access may end the stream by it
		}
		return err
	})
	return (<-admission).Err() // it does no I/O, so it ends
}

// RecvMsg implements grpc.ServerStream. It returns DEADLINE_EXCEEDED if the request does not arrive in time, and the
// stream's own error if its context ends first. The goroutine that still waits for the request ends with the stream.
func (s *incoming) RecvMsg(message any) error {
	if s.arrived {
		return s.ServerStream.RecvMsg(message)
	}
	s.arrived = true
	received := offstack.Go(func() error { return s.ServerStream.RecvMsg(message) })
	late := time.NewTimer(requestTimeout)
	defer late.Stop()
	select {
	case t := <-received:
		return t.Err()
	case <-s.Context().Done():
		return endedBy(s.Context(), s.Context().Err())
	case <-late.C:
		return status.Error(codes.DeadlineExceeded, "the request did not arrive")
	}
}

package grpcserver

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/verification-status/server/internal/offstack"
)

const (
	// requestTimeout is how long a request may take to arrive after its headers, as an HTTP server's
	// read timeout: without it a client may open calls, send half of a request and wait for ever.
	requestTimeout = 10 * time.Second
	// maxStrangers is how many calls may wait so long for their requests on connections on which no call
	// was let in yet, all together. Who calls is looked at when the request is there, and until then each
	// takes 14 KiB, and up to 64 more for what was sent of it: strangers could fill the memory from one
	// connection. Further ones get hurriedTimeout, in which whoever sends requests whole has sent them.
	maxStrangers   = 2048
	hurriedTimeout = 100 * time.Millisecond
)

// expect bounds the time in which a stranger's request must arrive.
func (c *call) expect() {
	patience := requestTimeout
	if c.server.strangers.Add(1) > maxStrangers {
		patience = hurriedTimeout
	}
	if c.cancel == nil {
		c.Context, c.cancel = context.WithCancel(c.Context)
	}
	c.absent.Store(true)
	c.late = time.AfterFunc(patience, func() {
		c.leave() // gRPC does not tell the end of a call whose deadline was over when it began
		c.cancel()
	})
}

// arrived notes that the request is there, or never will be.
func (c *call) arrived() {
	if c.leave() {
		c.late.Stop()
	}
}

// leave gives the place of a call that waits for its request back, once.
func (c *call) leave() bool {
	left := c.absent.CompareAndSwap(true, false)
	if left {
		c.server.strangers.Add(-1)
	}
	return left
}

// incoming is a stream from its beginning until its request is there. What looks at the caller and at the
// request takes its turns: none of it needs the stack of the stream's own goroutine.
type incoming struct {
	grpc.ServerStream                 // the one that checks what its request needs, once it is let in
	ctx               context.Context // tells who calls, once that is known
	leave             func()          // what is called at the end
	arrived           bool
}

// Context implements grpc.ServerStream.
func (s *incoming) Context() context.Context { return s.ctx }

// admit finds out who calls, and refuses a stream that may not be opened.
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
	return (<-admission).Err() // it asks nobody, and so ends by itself
}

// RecvMsg implements grpc.ServerStream. The request must come in time, and before the stream's context ends; if it
// does not, the turn that waits for it ends with the stream.
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

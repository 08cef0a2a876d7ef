package grpcserver

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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

// arriving is a stream whose request must come in time. It is asked for in a goroutine of its own, which
// ends with the stream if it does not come.
type arriving struct {
	grpc.ServerStream
	arrived bool
}

// RecvMsg implements grpc.ServerStream.
func (s *arriving) RecvMsg(message any) error {
	if s.arrived {
		return s.ServerStream.RecvMsg(message)
	}
	s.arrived = true
	received := make(chan error, 1)
	go func() { received <- s.ServerStream.RecvMsg(message) }()
	late := time.NewTimer(requestTimeout)
	defer late.Stop()
	select {
	case err := <-received:
		return err
	case <-late.C:
		return status.Error(codes.DeadlineExceeded, "the request did not arrive")
	}
}

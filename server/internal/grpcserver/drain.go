package grpcserver

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// hardStopTimeout bounds the wait for handlers that still run after their contexts have ended.
const hardStopTimeout = 2 * time.Second

// BeginDrain makes the health service report everything as not serving, for good, so that load balancers and clients send
// new calls elsewhere. Calls are still answered. Further calls of BeginDrain do nothing.
func (s *Server) BeginDrain() { s.health.Shutdown() }

// Stop accepts no further calls and waits for those under way. If ctx ends first, it cuts them and returns false, at the
// latest 2 s later. The service must end its streams by itself: otherwise Stop lasts as long as ctx.
func (s *Server) Stop(ctx context.Context) (graceful bool) {
	s.BeginDrain()
	s.stop()
	stopped := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(stopped)
	}()
	select {
	case <-stopped:
		return true
	case <-ctx.Done():
	}
	cutOff := make(chan struct{})
	go func() {
		s.grpc.Stop()
		<-stopped
		close(cutOff)
	}()
	late := time.NewTimer(hardStopTimeout)
	defer late.Stop()
	select {
	case <-cutOff:
	case <-late.C:
		s.log.Error("gRPC handlers still run after their calls were cut; the process exits without waiting for them")
	}
	return false
}

const healthWatch = healthpb.Health_Watch_FullMethodName

// watchHealth handles a health watch and ends it when Stop begins. grpc's clients keep one open as long as they live. The
// health service does not end them, and GracefulStop would wait for them.
func (s *Server) watchHealth(srv any, stream grpc.ServerStream, handler grpc.StreamHandler) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()
	err := handler(srv, contextStream{stream, ctx})
	if s.stopping.Err() != nil {
		return status.Error(codes.Unavailable, "the server is stopping")
	}
	return endedBy(stream.Context(), err)
}

// endedBy returns the status that ended a stream's context, which Access ends with one, or err if there is none.
func endedBy(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		if _, ok := status.FromError(cause); ok {
			return cause
		}
	}
	return err
}

// contextStream is a stream with another context.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s contextStream) Context() context.Context { return s.ctx }

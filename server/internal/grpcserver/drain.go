package grpcserver

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// hardStopTimeout bounds the wait for handlers that do not end although their contexts did.
const hardStopTimeout = 2 * time.Second

// BeginDrain reports everything as not serving, at once and for good, so that load balancers and
// clients send new calls elsewhere. Calls are still answered. It may be called more than once.
func (s *Server) BeginDrain() { s.health.Shutdown() }

// Stop takes no further calls and waits for those under way. Where ctx ends first they are cut off.
// It says whether none was. Streams do not end by themselves: the service must have been told to
// end them, else Stop lasts as long as ctx. It returns 2 s after the end of ctx at the latest.
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
		s.log.Error("gRPC handlers still run although their calls were cut off; the process ends without them")
	}
	return false
}

const healthWatch = healthpb.Health_Watch_FullMethodName

// watchHealth ends a stream of health.Watch when Stop begins. grpc's clients keep one open for as long
// as they live; the health service does not end them, and GracefulStop would wait.
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

// endedBy returns the status that ended a stream's context, if one did: Access ends streams so. Else it returns err.
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

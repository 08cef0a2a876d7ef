// Package grpcserver makes the gRPC server that the service is registered with: limits, keepalive,
// the log line of each call, recovery from panics, deadlines, health, reflection and the drain. Who may
// call is for its Access to say.
//
// It refuses to know what the calls mean: it decides nothing by a request's or response's content,
// and never logs either.
package grpcserver

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/shares"
)

// serviceName is what health reports readiness for.
var serviceName = verificationv1.VerificationService_ServiceDesc.ServiceName

const (
	maxRequestBytes  = 64 << 10 // a request holds ids and a token, or an address: 5 KiB at the most
	maxHeaderBytes   = 16 << 10 // grpc's default is 16 MiB
	receiveWindow    = 64 << 10 // of a stream and of a connection; unless set, grpc lets it grow to 16 MiB
	readBuffer       = 4 << 10  // of a connection, which behind nginx has one watch; grpc's default is 32 KiB
	maxIdle          = 15 * time.Minute
	handshakeTimeout = 10 * time.Second
	// streamWorkers are goroutines that serve one call after the other: a new goroutine for each would
	// grow its stack twice, a tenth of what a small call costs. Calls beyond them have one of their own,
	// and so do all where as many streams are open: then new goroutines begin with stacks that suit those.
	streamWorkers     = 64
	defaultMaxStreams = 10_000
	defaultInFlight   = 512
	defaultDeadline   = 5 * time.Second
	defaultSlowCall   = 3 * time.Second
	defaultMaxAge     = 30 * time.Minute
	defaultAgeGrace   = 35 * time.Minute

	// Clients may ping every 5 s. The bound is lower, since pings sent every 5 s arrive a little
	// more and a little less than that apart, and grpc closes the connection at the third that is
	// early.
	minClientPing = 4 * time.Second
	// A client whose network is gone is noticed within 40 s; grpc's default is two hours.
	serverPing        = 30 * time.Second
	serverPingTimeout = 10 * time.Second
)

// Config is what a Server needs. Where a field is zero, what its comment says applies.
type Config struct {
	// Logger gets a line for each finished call, and panics. Required.
	Logger *slog.Logger
	// UnaryDeadline is given to unary calls that come without a deadline: 5 s. Streams never get one.
	UnaryDeadline time.Duration
	// MethodDeadlines are the exceptions to it, by full method ("/package.Service/Method").
	MethodDeadlines map[string]time.Duration
	// MaxInFlight is how many unary calls of each method may be under way at once: 512. As many more may
	// wait (Await). Further ones are refused at once. Health and reflection are not counted.
	MaxInFlight int
	// SharePercent is how many of those one caller may have, in percent. 0: no bound for one caller.
	SharePercent int
	// Shed is told of each call that these two refuse, by its full method, with the setting's name,
	// by many goroutines at once. nil: nobody is.
	Shed func(ctx context.Context, method, setting string)
	// MaxStreams is how many calls one connection may have open: 10,000. Further ones wait in the
	// client without an error until their deadline.
	MaxStreams uint32
	// MaxConnectionAge is when a connection is told to go (±10 %), so that clients find new replicas
	// and spread again: 30 minutes.
	MaxConnectionAge time.Duration
	// MaxConnectionAgeGrace is how long streams may then go on before they are cut off: 35 minutes.
	// It must exceed the age at which the service ends its streams by itself, with an error that
	// says so.
	MaxConnectionAgeGrace time.Duration
	// SlowCall is how long a unary call may take before its line is a warning: 3 s.
	SlowCall time.Duration
	// Reflection lets clients list the services (v1 and v1alpha).
	Reflection bool
	// Access decides who may call. nil: everyone, in plain text.
	Access Access
	// Meter counts the calls. nil: nobody does.
	Meter Meter
	// TracerProvider gets a span for each unary call of the service that was let in, in the caller's trace if it has
	// one. Streams get none: it would end when they do. nil: none.
	TracerProvider trace.TracerProvider
}

// Server is a gRPC server with health and, if asked for, reflection. Its methods are safe for
// concurrent use, but services are registered before Serve.
type Server struct {
	grpc     *grpc.Server
	config   Config
	health   *health.Server
	access   Access
	log      *slog.Logger
	callLog  *slog.Logger // its lines bear the request id
	slowCall time.Duration
	atWill   *rate.Limiter // see isAtWill
	tracer   trace.Tracer  // nil: no spans
	methods  map[string]*method
	unknown  *method
	waiting  *shares.Pot // calls that wait, and hold no place of their method
	// strangers counts the calls that wait for their requests on connections without one that was let in.
	strangers atomic.Int64
	stopping  context.Context // ends when Stop begins
	stop      context.CancelFunc
}

// New makes a Server. The process is healthy ("") at once; the service is not ready until
// SetServing says so.
func New(config Config) *Server {
	config = withDefaults(config)
	s := &Server{
		config: config, health: health.NewServer(), access: config.Access, log: config.Logger, callLog: WithCall(config.Logger), slowCall: config.SlowCall,
		atWill:  rate.NewLimiter(atWillPerSecond, atWillBurst),
		unknown: &method{full: unknownMethod, meter: config.Meter.Method(unknownMethod)},
		waiting: places(config),
	}
	if config.TracerProvider != nil {
		s.tracer = config.TracerProvider.Tracer("example.com/verification-status")
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.grpc = grpc.NewServer(s.options(config)...)
	s.SetServing(false)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	if config.Reflection {
		reflection.Register(s.grpc)
	}
	return s
}

func withDefaults(config Config) Config {
	if config.UnaryDeadline == 0 {
		config.UnaryDeadline = defaultDeadline
	}
	if config.Access == nil {
		config.Access = everyone{}
	}
	if config.Meter == nil {
		config.Meter = noMeter{}
	}
	if config.SlowCall == 0 {
		config.SlowCall = defaultSlowCall
	}
	if config.MaxInFlight == 0 {
		config.MaxInFlight = defaultInFlight
	}
	if config.Shed == nil {
		config.Shed = func(context.Context, string, string) {}
	}
	if config.MaxStreams == 0 {
		config.MaxStreams = defaultMaxStreams
	}
	if config.MaxConnectionAge == 0 {
		config.MaxConnectionAge = defaultMaxAge
	}
	if config.MaxConnectionAgeGrace == 0 {
		config.MaxConnectionAgeGrace = defaultAgeGrace
	}
	return config
}

func (s *Server) options(config Config) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle:     maxIdle,
			MaxConnectionAge:      config.MaxConnectionAge,
			MaxConnectionAgeGrace: config.MaxConnectionAgeGrace,
			Time:                  serverPing,
			Timeout:               serverPingTimeout,
		}),
		grpc.MaxConcurrentStreams(config.MaxStreams),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.StaticStreamWindowSize(receiveWindow),
		grpc.StaticConnWindowSize(receiveWindow),
		grpc.ReadBufferSize(readBuffer),
		grpc.InTapHandle(s.begin),
		grpc.StatsHandler(observer{}),
		grpc.ConnectionTimeout(handshakeTimeout),
		// Without it a hard stop returns while handlers still run, and they would use a closed store.
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
		grpc.NumStreamWorkers(streamWorkers),
	}
	if secured := config.Access.Credentials(); secured != nil {
		options = append(options, grpc.Creds(secured))
	}
	return options
}

// RegisterService makes Server a grpc.ServiceRegistrar, for the generated Register functions. Call
// it before Serve.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.grpc.RegisterService(desc, impl)
}

func (s *Server) method(full string) *method {
	if known, ok := s.methods[full]; ok {
		return known
	}
	return s.unknown
}

// SetServing says whether the service is ready. It has no effect once the drain has begun.
func (s *Server) SetServing(ready bool) {
	serving := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		serving = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(serviceName, serving)
}

// Serve answers calls on the listener, and closes it, until Stop. It returns nil after a Stop, also
// one that came first.
func (s *Server) Serve(listener net.Listener) error {
	s.methods = methodsOf(s.grpc.GetServiceInfo(), s.config)
	if err := s.grpc.Serve(listener); s.stopping.Err() == nil {
		return err
	}
	return nil
}

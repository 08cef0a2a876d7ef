package grpcserver

import (
	"context"
	"log/slog"
	"net"
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

// serviceName is the service whose readiness the health service reports.
var serviceName = verificationv1.VerificationService_ServiceDesc.ServiceName

const (
	maxRequestBytes  = 64 << 10 // a request has ids and a token, or an address: at most 5 KiB
	maxHeaderBytes   = 16 << 10 // grpc's default is 16 MiB
	receiveWindow    = 64 << 10 // of a stream and of a connection; unless set, grpc lets it grow to 16 MiB
	readBuffer       = 4 << 10  // of a connection, which behind nginx has one watch; grpc's default is 32 KiB
	maxIdle          = 15 * time.Minute
	handshakeTimeout = 10 * time.Second
	// streamWorkers are goroutines that serve one call after the other. A new goroutine for each call would grow its
	// stack twice, which is a tenth of the cost of a small call. Further calls get a new goroutine each; so do all
	// calls once 64 streams occupy the workers. The runtime then starts goroutines with larger stacks.
	streamWorkers     = 64
	defaultMaxStreams = 10_000
	defaultInFlight   = 512
	defaultDeadline   = 5 * time.Second
	defaultSlowCall   = 3 * time.Second
	defaultMaxAge     = 30 * time.Minute
	defaultAgeGrace   = 35 * time.Minute

	// Clients may ping every 5 s. The limit is lower: pings that are sent every 5 s arrive a little more or less than
	// 5 s apart, and grpc closes the connection at the third early ping.
	minClientPing = 4 * time.Second
	// The server notices within 40 s that a client's network is gone; grpc's default is two hours.
	serverPing        = 30 * time.Second
	serverPingTimeout = 10 * time.Second
)

// Config configures a Server. The zero value of a field stands for the default that its comment names.
type Config struct {
	// Logger gets a line for each finished call and for each panic. Required.
	Logger *slog.Logger
	// UnaryDeadline is the deadline of unary calls that have none. Default 5 s. Streams never get a deadline.
	UnaryDeadline time.Duration
	// MethodDeadlines overrides UnaryDeadline for single methods, by full method ("/package.Service/Method").
	MethodDeadlines map[string]time.Duration
	// MaxInFlight is how many unary calls of each method can be under way at once, and how many calls can wait in
	// Await. Default 512. Further calls are refused at once. Health and reflection are not counted.
	MaxInFlight int
	// SharePercent is the part of MaxInFlight that one caller can have, in percent. 0: no limit for one caller.
	SharePercent int
	// Shed is called for each call that MaxInFlight or SharePercent refuses, with the full method and the name of the
	// setting, with "call" for each one that ends because its request does not arrive or comes in too many DATA
	// frames, and with "connection" each time that a connection is read slowly, by many goroutines at once. nil: no
	// calls.
	Shed func(ctx context.Context, method, setting string)
	// MaxStreams is how many calls one connection can have open. Default 10,000. Further calls wait in the client,
	// without an error, until their deadline.
	MaxStreams uint32
	// MaxConnectionAge is the age (±10 %) at which a connection gets a GOAWAY, so that clients find new replicas and
	// spread again. Default 30 minutes.
	MaxConnectionAge time.Duration
	// MaxConnectionAgeGrace is how long streams can continue after that before they are cut. Default 35 minutes. It
	// must exceed the age at which the service ends its streams with an error of its own.
	MaxConnectionAgeGrace time.Duration
	// SlowCall is the duration from which on the line of a unary call is a warning. Default 3 s.
	SlowCall time.Duration
	// Reflection lets clients list the services (v1 and v1alpha).
	Reflection bool
	// Access decides which calls are allowed. nil allows all calls, in plain text.
	Access Access
	// Meter counts the calls. nil: they are not counted.
	Meter Meter
	// TracerProvider gets a span for each unary call of the service that Access admits, in the caller's trace if it
	// names one. Streams have no span: it would be complete only when the stream ends. nil: no spans.
	TracerProvider trace.TracerProvider
}

// Server is a gRPC server with health and, if configured, reflection. Its methods are safe for concurrent use, but
// services must be registered before Serve.
type Server struct {
	grpc     *grpc.Server
	config   Config
	health   *health.Server
	access   Access
	log      *slog.Logger
	callLog  *slog.Logger // adds the request id to its lines
	slowCall time.Duration
	refusals *rate.Limiter // of log lines; see isFreeRefusal
	tracer   trace.Tracer  // nil: no spans
	methods  map[string]*method
	unknown  *method
	waiting  *shares.Pot // calls in Await, which hold no slot of their method
	// half and shortHalf count the calls that wait for their requests; see limitArrival.
	half, shortHalf *shares.Pot
	lines           *lines
	stopping        context.Context // ends when Stop begins
	stop            context.CancelFunc
}

// New returns a Server. Its health service reports the process ("") as serving at once, and the service as not serving
// until SetServing(true).
func New(config Config) *Server {
	config = withDefaults(config)
	s := &Server{
		config: config, health: health.NewServer(), access: config.Access, log: config.Logger, callLog: WithCall(config.Logger), slowCall: config.SlowCall,
		refusals: rate.NewLimiter(refusalsPerSecond, refusalsBurst),
		unknown:  &method{full: unknownMethod, meter: config.Meter.Method(unknownMethod)},
		waiting:  newSlots(config), lines: newLines(),
		half:      shares.New(maxHalf, shares.Of(maxHalf, config.SharePercent)),
		shortHalf: shares.New(maxShortHalf, shares.Of(maxShortHalf, shortHalfPercent)),
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
		config.Access = openAccess{}
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
		// Without this option a hard stop returns while handlers still run, and these would use a closed store.
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
		grpc.NumStreamWorkers(streamWorkers),
	}
	if secured := config.Access.Credentials(); secured != nil {
		options = append(options, grpc.Creds(pacedCredentials{secured, s}))
	}
	return options
}

// RegisterService implements grpc.ServiceRegistrar, for the generated Register functions. Call it before Serve.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	s.grpc.RegisterService(desc, impl)
}

func (s *Server) method(full string) *method {
	if known, ok := s.methods[full]; ok {
		return known
	}
	return s.unknown
}

// SetServing sets whether the health service reports the service as serving. It has no effect after BeginDrain.
func (s *Server) SetServing(ready bool) {
	serving := healthpb.HealthCheckResponse_NOT_SERVING
	if ready {
		serving = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(serviceName, serving)
}

// Serve answers calls on the listener until Stop, and closes it. It returns nil if Stop was called, even before Serve.
func (s *Server) Serve(listener net.Listener) error {
	s.methods = methodsOf(s.grpc.GetServiceInfo(), s.config)
	if s.access.Credentials() == nil {
		listener = pacedListener{listener, s}
	}
	if err := s.grpc.Serve(listener); s.stopping.Err() == nil {
		return err
	}
	return nil
}

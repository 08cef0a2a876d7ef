package grpcserver

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// logUnary and logStream write one line for each finished call: what was called, by whom and from
// which address, about which session, with what result, for how long. They see neither request nor
// response, and leave out the status message, which may quote them. The middleware's own interceptor
// also wraps every stream and builds its fields for lines that the level drops.
func logUnary(config Config) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		start := time.Now()
		response, err := handler(ctx, request)
		config.logCall(ctx, info.FullMethod, false, time.Since(start), err)
		return response, err
	}
}

func logStream(config Config) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		start := time.Now()
		err := handler(srv, stream)
		config.logCall(stream.Context(), info.FullMethod, true, time.Since(start), err)
		return err
	}
}

func (config Config) logCall(ctx context.Context, method string, stream bool, duration time.Duration, err error) {
	result := status.Convert(err)
	level := callLevel(method, stream, result.Code())
	if slow := duration >= config.SlowCall; slow && !stream {
		level = max(level, slog.LevelWarn)
	}
	if !config.Logger.Enabled(ctx, level) || isAtWill(result.Code()) && !config.atWill.Allow() {
		return
	}
	var attrs []slog.Attr
	if known := callOf(ctx); known != nil {
		attrs = append(attrs, slog.String("request_id", known.requestID))
		if id := known.sessionID.Load(); id != nil {
			attrs = append(attrs, slog.String("session_id", *id))
		}
	}
	if principal := config.principal(ctx); principal != "" {
		attrs = append(attrs, slog.String("principal", principal))
	}
	attrs = append(attrs,
		slog.String("method", method),
		slog.String("code", result.Code().String()),
		slog.Duration("duration", duration),
	)
	if caller, ok := peer.FromContext(ctx); ok {
		attrs = append(attrs, slog.String("peer", caller.Addr.String()))
	}
	if reason := errorReason(result); reason != "" {
		attrs = append(attrs, slog.String("reason", reason))
	}
	config.Logger.LogAttrs(ctx, level, "gRPC call", attrs...)
}

// Lines of the calls that anybody may have refused as often as they like, in all: the metrics count each.
const (
	atWillPerSecond = 10
	atWillBurst     = 100
)

// isAtWill reports whether a refusal cost its caller nothing: of strangers, and of callers over their rate.
func isAtWill(code codes.Code) bool {
	return code == codes.Unauthenticated || code == codes.ResourceExhausted
}

// callLevel is error for faults of this service and warn for its unavailability, since someone must
// look at those, and info where the caller should have called otherwise. What is as it should be is
// for debugging: success, probes, and streams that end because their caller goes or, with UNAVAILABLE,
// is told to resume elsewhere. So are calls that their callers gave up: whoever does that all the time
// must not fill the log.
func callLevel(method string, stream bool, code codes.Code) slog.Level {
	switch code {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return slog.LevelError
	case codes.OK, codes.Canceled:
		return slog.LevelDebug
	case codes.Unavailable, codes.DeadlineExceeded:
		if !stream {
			return slog.LevelWarn
		}
		return slog.LevelDebug
	}
	if isGRPCs(method) {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// isGRPCs reports whether a method is of gRPC's own services: health and reflection.
func isGRPCs(method string) bool { return strings.HasPrefix(method, "/grpc.") }

// errorReason is the reason of the status's ErrorInfo, or empty.
func errorReason(result *status.Status) string {
	for _, detail := range result.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

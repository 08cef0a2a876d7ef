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

// logUnary and logStream write one line for each finished call: what was called, by which address,
// with what result, for how long. They see neither request nor response, and leave out the status
// message, which may quote them. The middleware's own interceptor also wraps every stream and builds
// its fields for lines that the level drops.
func logUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		start := time.Now()
		response, err := handler(ctx, request)
		logCall(ctx, log, info.FullMethod, false, time.Since(start), err)
		return response, err
	}
}

func logStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		start := time.Now()
		err := handler(srv, stream)
		logCall(stream.Context(), log, info.FullMethod, true, time.Since(start), err)
		return err
	}
}

func logCall(ctx context.Context, log *slog.Logger, method string, stream bool, duration time.Duration, err error) {
	result := status.Convert(err)
	level := callLevel(method, stream, result.Code())
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", method),
		slog.String("code", result.Code().String()),
		slog.Duration("duration", duration),
	}
	if caller, ok := peer.FromContext(ctx); ok {
		attrs = append(attrs, slog.String("peer", caller.Addr.String()))
	}
	if reason := errorReason(result); reason != "" {
		attrs = append(attrs, slog.String("reason", reason))
	}
	log.LogAttrs(ctx, level, "gRPC call", attrs...)
}

// callLevel is error for faults of this service and warn for its unavailability, since someone must
// look at those. A stream that ends with UNAVAILABLE is ordinary: that is how streams are told to
// resume elsewhere. Probes, every few seconds, are for debugging only, and so are unary calls that
// their callers gave up: whoever does that all the time must not fill the log.
func callLevel(method string, stream bool, code codes.Code) slog.Level {
	switch code {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return slog.LevelError
	case codes.Unavailable, codes.DeadlineExceeded:
		if !stream {
			return slog.LevelWarn
		}
	case codes.Canceled:
		if !stream {
			return slog.LevelDebug
		}
	}
	if strings.HasPrefix(method, "/grpc.") {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// errorReason is the reason of the status's ErrorInfo, or empty.
func errorReason(result *status.Status) string {
	for _, detail := range result.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

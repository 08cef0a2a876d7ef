package grpcserver

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// logCall logs one line for a finished call: session, caller, method, code, duration, address, reason and the setting of a
// limit. It sees neither request nor response, and leaves out the status message, which can quote them. The logging
// interceptor of go-grpc-middleware would also wrap every stream, and build its fields for lines that the level drops.
func (s *Server) logCall(ctx context.Context, c *call, duration time.Duration, err error) {
	code := status.Code(err)
	level := callLevel(c.method, code)
	if slow := duration >= s.slowCall; slow && !c.method.stream {
		level = max(level, slog.LevelWarn)
	}
	if code == codes.ResourceExhausted && limitReasons[errorReason(status.Convert(err))] {
		level = slog.LevelDebug
	}
	if !s.callLog.Enabled(ctx, level) || isFreeRefusal(code) && !s.refusals.Allow() {
		return
	}
	attrs := make([]slog.Attr, 0, 8)
	if id := c.sessionID.Load(); id != nil {
		attrs = append(attrs, slog.String("session_id", *id))
	}
	if principal := s.access.Principal(ctx); principal != "" {
		attrs = append(attrs, slog.String("principal", principal))
	}
	attrs = append(attrs,
		slog.String("method", c.method.full),
		slog.String("code", code.String()),
		slog.Duration("duration", duration),
	)
	if c.peer != nil {
		attrs = append(attrs, slog.String("peer", c.peer.String()))
	}
	if reason := errorReason(status.Convert(err)); reason != "" {
		attrs = append(attrs, slog.String("reason", reason))
	}
	if limit := c.limit.Load(); limit != nil && err != nil {
		attrs = append(attrs, slog.String("setting", *limit))
	}
	s.callLog.LogAttrs(ctx, level, "gRPC call", attrs...)
}

// The limit of log lines for free refusals, of all callers together. The metrics count each call.
const (
	refusalsPerSecond = 10
	refusalsBurst     = 100
)

// isFreeRefusal reports whether a call with this code cost its caller nothing: an unauthenticated call, or one over a limit.
func isFreeRefusal(code codes.Code) bool {
	return code == codes.Unauthenticated || code == codes.ResourceExhausted
}

// callLevel returns error for faults of this service, warn if it is unavailable, and info if the caller made a mistake. It
// returns debug for everything normal: success, probes, and streams that their caller ends or that UNAVAILABLE sends
// elsewhere. Calls that their callers canceled are at debug too: a caller that cancels all the time must not fill the log.
func callLevel(m *method, code codes.Code) slog.Level {
	switch code {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return slog.LevelError
	case codes.OK, codes.Canceled:
		return slog.LevelDebug
	case codes.Unavailable, codes.DeadlineExceeded:
		if !m.stream {
			return slog.LevelWarn
		}
		return slog.LevelDebug
	}
	if m.builtIn {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// limitReasons are the reasons of calls that Access refuses for a limit. There can be any number of them: Access counts
// them and logs a warning.
var limitReasons = map[string]bool{
	verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED.String():     true,
	verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS.String(): true,
}

// errorReason returns the reason of the status's ErrorInfo, or "".
func errorReason(result *status.Status) string {
	for _, detail := range result.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

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

// logCall writes one line for each finished call: what was called, by whom and from which address,
// about which session, with what result, for how long. It sees neither request nor response, and leaves
// out the status message, which may quote them. The middleware's own interceptor also wraps every stream
// and builds its fields for lines that the level drops.
func (s *Server) logCall(ctx context.Context, c *call, duration time.Duration, err error) {
	code := status.Code(err)
	level := callLevel(c.method, code)
	if slow := duration >= s.slowCall; slow && !c.method.stream {
		level = max(level, slog.LevelWarn)
	}
	if code == codes.ResourceExhausted && shedReasons[errorReason(status.Convert(err))] {
		level = slog.LevelDebug
	}
	if !s.callLog.Enabled(ctx, level) || isAtWill(code) && !s.atWill.Allow() {
		return
	}
	attrs := make([]slog.Attr, 0, 7)
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
	s.callLog.LogAttrs(ctx, level, "gRPC call", attrs...)
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
	if m.grpcs {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// shedReasons are of calls that were turned away by a limit: they may be as many as callers like, and
// whoever refuses them has them counted, and warned of.
var shedReasons = map[string]bool{
	verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED.String():     true,
	verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS.String(): true,
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

package grpcserver

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
)

// continueTrace returns a context in the trace that the caller names by W3C's headers (w3.org/TR/trace-context), or ctx
// itself without one. Call it only for a call that was let in: otherwise anybody decides what is traced.
func (s *Server) continueTrace(ctx context.Context) context.Context {
	if s.tracer == nil {
		return ctx
	}
	parent := metadata.ValueFromIncomingContext(ctx, "traceparent")
	if len(parent) != 1 {
		return ctx
	}
	state := strings.Join(metadata.ValueFromIncomingContext(ctx, "tracestate"), ",")
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": parent[0], "tracestate": state})
}

// startSpan starts the span of a unary call of the service that was let in; endSpan ends it. grpc's own stats handlers
// start theirs before it is known who calls.
func (s *Server) startSpan(ctx context.Context, c *call) context.Context {
	if s.tracer == nil || c.method.grpcs {
		return ctx
	}
	name := strings.TrimPrefix(c.method.full, "/")
	ctx, _ = s.tracer.Start(s.continueTrace(ctx), name, trace.WithTimestamp(c.began), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("rpc.system.name", "grpc"), attribute.String("rpc.method", name)))
	return ctx
}

// serverFaults are the codes for which OpenTelemetry's conventions call a server's span failed.
var serverFaults = map[string]bool{
	"UNKNOWN": true, "DEADLINE_EXCEEDED": true, "UNIMPLEMENTED": true, "INTERNAL": true, "UNAVAILABLE": true, "DATA_LOSS": true,
}

// endSpan ends the span of a call, if it has one. The code tells of an error; its text can quote the caller.
func endSpan(ctx context.Context, err error) {
	span := trace.SpanFromContext(ctx)
	code := canonical(err)
	span.SetAttributes(attribute.String("rpc.response.status_code", code))
	if serverFaults[code] {
		span.SetStatus(codes.Error, code)
	}
	span.End()
}

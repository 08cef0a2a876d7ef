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

// continueTrace returns ctx in the trace that the caller names in W3C's headers (w3.org/TR/trace-context), or ctx itself if
// it names none. Call it only for an admitted call: otherwise unauthenticated callers decide what is traced.
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

// startSpan starts the span of an admitted unary call of the service; endSpan ends it. grpc's own stats handlers start
// theirs before the caller is identified.
func (s *Server) startSpan(ctx context.Context, c *call) context.Context {
	if s.tracer == nil || c.method.builtIn {
		return ctx
	}
	name := strings.TrimPrefix(c.method.full, "/")
	ctx, _ = s.tracer.Start(s.continueTrace(ctx), name, trace.WithTimestamp(c.began), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("rpc.system.name", "grpc"), attribute.String("rpc.method", name)))
	return ctx
}

// serverFaults are the codes with which a server's span has failed, by OpenTelemetry's conventions.
var serverFaults = map[string]bool{
	"UNKNOWN": true, "DEADLINE_EXCEEDED": true, "UNIMPLEMENTED": true, "INTERNAL": true, "UNAVAILABLE": true, "DATA_LOSS": true,
}

// endSpan ends the span of a call, if it has one. The span has the code of an error, not its text, which can quote the caller.
func endSpan(ctx context.Context, err error) {
	span := trace.SpanFromContext(ctx)
	code := canonical(err)
	span.SetAttributes(attribute.String("rpc.response.status_code", code))
	if serverFaults[code] {
		span.SetStatus(codes.Error, code)
	}
	span.End()
}

package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	lru "github.com/hashicorp/golang-lru/v2"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// maxChanges is the limit of changes that are kept with the trace that made them. A delivery comes milliseconds after its change.
const maxChanges = 10_000

// Traces makes the spans of this process and sends them by OTLP. The methods of a nil *Traces do nothing: traces are off. It is safe
// for concurrent use.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	changes  *lru.Cache[change, trace.SpanContext]
}

type change struct {
	sessionID string
	revision  int32
}

// NewTraces returns Traces as OpenTelemetry's standard environment variables say, or nil if OTEL_EXPORTER_OTLP_ENDPOINT is not set
// or traces are switched off. It makes no connection. It returns an error if a variable is wrong. From then on, OpenTelemetry's own
// messages go to logger, for the whole process.
func NewTraces(ctx context.Context, logger *slog.Logger) (*Traces, error) {
	if tracesOff() {
		return nil, nil
	}
	if err := CheckTraces(ctx); err != nil {
		return nil, err
	}
	listen(logger)
	described, err := describeProcess(ctx)
	if err != nil {
		return nil, err
	}
	exporter, err := newExporter(ctx)
	if err != nil {
		return nil, err
	}
	changes, err := lru.New[change, trace.SpanContext](maxChanges)
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))
	return &Traces{provider: provider, tracer: provider.Tracer("example.com/verification-status"), changes: changes}, nil
}

// newExporter makes the exporter. Call CheckTraces before.
func newExporter(ctx context.Context) (*otlptrace.Exporter, error) {
	if setting("PROTOCOL") == "grpc" {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

// complainEvery is the time between two warnings about a collector that cannot be reached.
const complainEvery = time.Minute

// listen sends OpenTelemetry's messages to logger. Otherwise they would go to standard error without redaction.
func listen(logger *slog.Logger) {
	otel.SetLogger(logr.FromSlogHandler(logger.Handler()))
	var last atomic.Int64
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		now, before := time.Now().Unix(), last.Load()
		if now-before >= int64(complainEvery/time.Second) && last.CompareAndSwap(before, now) {
			logger.Warn("traces cannot be sent; this is logged once a minute", "error", err)
		}
	}))
}

// Provider returns the provider for gRPC's own spans, or nil if traces are off.
func (t *Traces) Provider() trace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.provider
}

// Shutdown sends the spans that are left, until ctx ends. Further calls do nothing.
func (t *Traces) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

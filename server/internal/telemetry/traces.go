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

// recentChanges is how many changes are remembered with the trace that made them. A delivery comes
// milliseconds after its change.
const recentChanges = 10_000

// Traces makes the spans of this process and sends them by OTLP. A nil Traces is off: its methods do
// nothing. It is safe for concurrent use.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	recent   *lru.Cache[change, trace.SpanContext]
}

type change struct {
	sessionID string
	revision  int32
}

// NewTraces makes what OpenTelemetry's standard variables ask for: nil where no OTEL_EXPORTER_OTLP_ENDPOINT
// is set, or traces are switched off. It contacts nobody. An error is a variable that somebody must
// change. OpenTelemetry's own messages go to the logger from then on, for the whole process.
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
	recent, err := lru.New[change, trace.SpanContext](recentChanges)
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))
	return &Traces{provider: provider, tracer: provider.Tracer("example.com/verification-status"), recent: recent}, nil
}

// newExporter makes what CheckTraces has found good.
func newExporter(ctx context.Context) (*otlptrace.Exporter, error) {
	if setting("PROTOCOL") == "grpc" {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

// complainEvery is how often a collector that is away is told of.
const complainEvery = time.Minute

// listen takes OpenTelemetry's messages, which otherwise go to the standard error past the redactor.
func listen(logger *slog.Logger) {
	otel.SetLogger(logr.FromSlogHandler(logger.Handler()))
	var last atomic.Int64
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		now, before := time.Now().Unix(), last.Load()
		if now-before >= int64(complainEvery/time.Second) && last.CompareAndSwap(before, now) {
			logger.Warn("traces cannot be sent; further failures of this minute are not told", "error", err)
		}
	}))
}

// Provider makes gRPC's own spans; nil where traces are off.
func (t *Traces) Provider() trace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.provider
}

// Shutdown sends what is left, until ctx ends. It may be called more than once.
func (t *Traces) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

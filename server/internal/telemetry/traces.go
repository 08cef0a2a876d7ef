package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	lru "github.com/hashicorp/golang-lru/v2"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
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
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" || endpoint() == "" {
		return nil, nil
	}
	if err := errors.Join(checkEndpoint(), checkSampler()); err != nil {
		return nil, err
	}
	listen(logger)
	version, _, _ := build()
	// What the environment says comes last and wins. Nothing of the command line: it may hold secrets.
	described, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "verification-status"), attribute.String("service.version", version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES must be like deployment.environment=production,team=identity: %w", err)
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

// setting is a variable that has a form for traces alone, which goes first.
func setting(name string) string {
	return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_"+name), os.Getenv("OTEL_EXPORTER_OTLP_"+name))
}

func endpoint() string { return setting("ENDPOINT") }

func checkEndpoint() error {
	target, err := url.Parse(endpoint())
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" || target.User != nil {
		return errors.New("OTEL_EXPORTER_OTLP_ENDPOINT must be like http://127.0.0.1:4318, without user and password")
	}
	return nil
}

func newExporter(ctx context.Context) (*otlptrace.Exporter, error) {
	switch protocol := setting("PROTOCOL"); protocol {
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	default:
		return nil, errors.New("OTEL_EXPORTER_OTLP_PROTOCOL must be grpc or http/protobuf, the default")
	}
}

// samplers are those of the standard that the SDK knows; true: with a ratio as argument.
var samplers = map[string]bool{
	"": false, "always_on": false, "always_off": false, "traceidratio": true,
	"parentbased_always_on": false, "parentbased_always_off": false, "parentbased_traceidratio": true,
}

// checkSampler refuses what the SDK would replace by sampling everything.
func checkSampler() error {
	name, argument := strings.ToLower(strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER"))), strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER_ARG"))
	takesRatio, known := samplers[name]
	if !known {
		return errors.New("OTEL_TRACES_SAMPLER must be always_on, always_off or traceidratio, or one of them after parentbased_")
	}
	if ratio, err := strconv.ParseFloat(argument, 64); takesRatio && argument != "" && (err != nil || !(ratio >= 0 && ratio <= 1)) {
		return errors.New("OTEL_TRACES_SAMPLER_ARG must be a ratio from 0 to 1, such as 0.01")
	}
	return nil
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

// TraceSecrets are the values of the headers that go to the collector, as they are set and as they are
// sent: they may be its tokens, and must not be logged.
func TraceSecrets() []string {
	var secrets []string
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		for header := range strings.SplitSeq(os.Getenv(name), ",") {
			_, value, found := strings.Cut(header, "=")
			if !found {
				value = header
			}
			value = strings.TrimSpace(value)
			secrets = append(secrets, value)
			if sent, err := url.PathUnescape(value); err == nil && sent != value {
				secrets = append(secrets, sent)
				// The scheme's word before a token is none.
				if _, token, found := strings.Cut(sent, " "); found {
					secrets = append(secrets, token)
				}
			}
		}
	}
	return slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
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

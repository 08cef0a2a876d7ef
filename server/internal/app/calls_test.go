package app

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats/opentelemetry"
	grpcstatus "google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/grpcserver"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/testing/await"
)

// answering is a service with one answer of each kind.
type answering struct {
	verificationv1.UnimplementedVerificationServiceServer
}

func (answering) GetStatus(_ context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	if request.GetMinRevision() > 0 {
		return nil, grpcstatus.Error(codes.NotFound, "none")
	}
	return &verificationv1.GetStatusResponse{Verification: &verificationv1.Verification{SessionId: strings.Repeat("x", 3000)}}, nil
}

func (answering) WatchStatus(_ *verificationv1.WatchStatusRequest, stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
	for range 3 {
		if err := stream.Send(&verificationv1.WatchStatusResponse{ResumeToken: "token"}); err != nil {
			return err
		}
	}
	return grpcstatus.Error(codes.DeadlineExceeded, "over")
}

// served is a gRPC server: this project's or one with the metrics of grpc's own module.
type served interface {
	grpc.ServiceRegistrar
	Serve(net.Listener) error
}

// dial serves the service and returns a client. stopped waits until all calls are counted.
func dial(t testing.TB, server served, stop func()) (client verificationv1.VerificationServiceClient, stopped func()) {
	t.Helper()
	verificationv1.RegisterVerificationServiceServer(server, answering{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	return verificationv1.NewVerificationServiceClient(conn), func() {
		_ = conn.Close()
		stop()
		if err := await.One(t, ended); err != nil {
			t.Error(err)
		}
	}
}

func ours(t testing.TB, m *telemetry.Metrics) (verificationv1.VerificationServiceClient, func()) {
	server := grpcserver.New(grpcserver.Config{Logger: slog.New(slog.DiscardHandler), Meter: meter{m}})
	return dial(t, server, func() { server.Stop(context.WithoutCancel(t.Context())) })
}

// grpcs is a server with the metrics of grpc's own module, and the page that shows them.
func grpcs(t testing.TB) (client verificationv1.VerificationServiceClient, stopped func(), page http.Handler) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(opentelemetry.ServerOption(opentelemetry.Options{
		MetricsOptions: opentelemetry.MetricsOptions{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))},
	}))
	client, stopped = dial(t, server, server.GracefulStop)
	return client, stopped, promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// TestCallMetricsAreThoseOfGRPC: the same calls give the same lines as with grpc's own module: names, labels, buckets, sizes and
// counts. Times are not compared.
func TestCallMetricsAreThoseOfGRPC(t *testing.T) {
	metrics := telemetry.NewMetrics()
	client, stopped := ours(t, metrics)
	makeCalls(t, client)
	stopped()
	reference, stopped, page := grpcs(t)
	makeCalls(t, reference)
	stopped()
	got, want := callLines(metrics.Handler()), callLines(page)
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(want) < 100 {
		t.Errorf("only %d lines: nothing was compared", len(want))
	}
}

func makeCalls(t *testing.T, client verificationv1.VerificationServiceClient) {
	t.Helper()
	for range 5 {
		if _, err := client.GetStatus(t.Context(), &verificationv1.GetStatusRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.GetStatus(t.Context(), &verificationv1.GetStatusRequest{MinRevision: 1}); grpcstatus.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	stream, err := client.WatchStatus(t.Context(), &verificationv1.WatchStatusRequest{ResumeToken: strings.Repeat("t", 2000)})
	for err == nil {
		_, err = stream.Recv()
	}
	if grpcstatus.Code(err) != codes.DeadlineExceeded {
		t.Fatal(err)
	}
}

var timing = regexp.MustCompile(`(duration_seconds_bucket\{.*le="[^"]*"[^}]*\}|duration_seconds_sum\{[^}]*\}) .*`)

// callLines returns the lines of gRPC's metrics whose series have counted something.
func callLines(page http.Handler) (lines []string) {
	recorder := httptest.NewRecorder()
	page.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	seen := make(map[string]bool) // the labels of series that counted something
	text := recorder.Body.String()
	labels := regexp.MustCompile(`grpc_method="[^"]*"(,grpc_status="[^"]*")?`)
	for line := range strings.Lines(text) {
		if strings.Contains(line, "_count{") || strings.Contains(line, "started_total{") {
			seen[labels.FindString(line)] = seen[labels.FindString(line)] || !strings.HasSuffix(line, " 0\n")
		}
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "grpc_server_call") && (line[0] == '#' || seen[labels.FindString(line)]) {
			lines = append(lines, timing.ReplaceAllString(strings.TrimSpace(line), "$1"))
		}
	}
	slices.Sort(lines)
	return lines
}

// BenchmarkCall measures a small call over a loopback socket, with its client: on this project's server, on a server with only the
// metrics of grpc's own module, and on a bare server. cpu-ns/op is the CPU time of the whole process, which a busy machine distorts
// less than wall time.
func BenchmarkCall(b *testing.B) {
	b.Run("server=bare", func(b *testing.B) {
		server := grpc.NewServer()
		client, stopped := dial(b, server, server.GracefulStop)
		measure(b, client, stopped)
	})
	b.Run("server=grpcs", func(b *testing.B) {
		client, stopped, _ := grpcs(b)
		measure(b, client, stopped)
	})
	b.Run("server=ours", func(b *testing.B) {
		client, stopped := ours(b, telemetry.NewMetrics())
		measure(b, client, stopped)
	})
}

func measure(b *testing.B, client verificationv1.VerificationServiceClient, stopped func()) {
	defer stopped()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	began := processorTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.GetStatus(b.Context(), &verificationv1.GetStatusRequest{}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
}

// processorTime returns the CPU time that this process has used, in nanoseconds.
func processorTime(b *testing.B) int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}

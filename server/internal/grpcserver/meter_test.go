package grpcserver

import (
	"log/slog"
	"net"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// BenchmarkUnary is a small call over a loopback socket, client included: what gRPC's own metrics add
// to it. cpu-ns/op is the processor's time of the whole process, which a busy machine distorts less
// than the time that passes.
func BenchmarkUnary(b *testing.B) {
	b.Run("bare", func(b *testing.B) { benchmarkUnary(b, nil) })
	b.Run("metrics", func(b *testing.B) {
		exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(prometheus.NewRegistry()))
		if err != nil {
			b.Fatal(err)
		}
		benchmarkUnary(b, sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)))
	})
}

func benchmarkUnary(b *testing.B, meters metric.MeterProvider) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := New(Config{Logger: slog.New(slog.DiscardHandler), MeterProvider: meters})
	verificationv1.RegisterVerificationServiceServer(server, &fake{get: echo})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = conn.Close()
		server.Stop(b.Context())
		<-served
	})
	client := verificationv1.NewVerificationServiceClient(conn)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	began := processorTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.GetStatus(b.Context(), sessionRequest("vs_1")); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
}

// processorTime is what this process has used of the processor, in nanoseconds.
func processorTime(b *testing.B) int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}

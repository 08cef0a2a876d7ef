package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// clientUpdates is how many updates a client reads in one run of BenchmarkClientUpdates.
const clientUpdates = 100_000

// flood is a service that sends updates as fast as a client takes them.
type flood struct{ bare }

func (f *flood) WatchStatus(_ *verificationv1.WatchStatusRequest, stream verificationv1.VerificationService_WatchStatusServer) error {
	sent := proto.Clone(constant).(*verificationv1.Verification)
	sent.Settled, sent.CreateTime, sent.UpdateTime = false, timestamppb.Now(), timestamppb.Now()
	for sent.Revision = 1; ; sent.Revision++ {
		token := fmt.Sprintf("AQEBO4XtB3ZzX1N3OHNtSHNIQzRkQjJyYUNmTkdmOXVQ%010d", sent.GetRevision())
		if err := stream.Send(&verificationv1.WatchStatusResponse{Verification: sent, ResumeToken: token}); err != nil {
			return err
		}
	}
}

// programs starts the three clients against a flood: each is a program of its own.
type programs struct {
	env      []string
	node     string // the directory of the npm package, built
	goClient string // the program
}

func newPrograms(b *testing.B) *programs {
	b.Helper()
	p := &programs{node: rig.BuildNodeClient(b), goClient: filepath.Join(b.TempDir(), "client")}
	build := exec.CommandContext(b.Context(), "go", "build", "-o", p.goClient, "./server/tests/bench/testdata/clients/go")
	build.Dir = rig.Path()
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	api, err := filepath.Abs(rig.Path("api"))
	if err != nil {
		b.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	verificationv1.RegisterVerificationServiceServer(server, &flood{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	b.Cleanup(func() { server.Stop(); <-served })
	p.env = append(os.Environ(), "TARGET="+listener.Addr().String(), "API="+api)
	return p
}

// run runs a client and returns what it prints, and the processor time that it took.
func (p *programs) run(b *testing.B, client string, env ...string) ([]byte, time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.goClient)
	if client != "go" {
		text := []byte("0") // node alone
		if client != "node-alone" {
			var err error
			if text, err = os.ReadFile(filepath.Join("testdata", "clients", client+".mjs")); err != nil {
				b.Fatal(err)
			}
		}
		cmd = exec.CommandContext(ctx, "node", "--input-type=module", "--eval", string(text))
		cmd.Dir = p.node
	}
	cmd.Env, cmd.Stderr = append(p.env, env...), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%s: %v: %s", client, err, out)
	}
	return out, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// BenchmarkClientStart is the time from the start of a program until it has the first status, and ended. The service answers
// at once. "node-alone" asks for nothing.
func BenchmarkClientStart(b *testing.B) {
	p := newPrograms(b)
	for _, client := range []string{"node-alone", "grpc-js", "package", "go"} {
		b.Run("client="+client, func(b *testing.B) {
			var spent time.Duration
			for b.Loop() {
				out, took := p.run(b, client)
				if client != "node-alone" && string(out) != "VERIFIED\n" {
					b.Fatalf("it printed %s", out)
				}
				spent += took
			}
			b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "cpu-ms/start")
		})
	}
}

// BenchmarkClientUpdates is what an update of a watch costs the client, while the service sends as fast as the client reads.
func BenchmarkClientUpdates(b *testing.B) {
	p := newPrograms(b)
	for _, client := range []string{"grpc-js", "package", "go"} {
		b.Run("client="+client, func(b *testing.B) {
			var spent, waited time.Duration
			for b.Loop() {
				out, _ := p.run(b, client, "UPDATES="+strconv.Itoa(clientUpdates))
				var report struct{ CPUMicros, WallMicros float64 }
				if err := json.Unmarshal(out, &report); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				spent += time.Duration(report.CPUMicros * float64(time.Microsecond))
				waited += time.Duration(report.WallMicros * float64(time.Microsecond))
			}
			all := float64(b.N * clientUpdates)
			b.ReportMetric(float64(spent.Microseconds())/all, "cpu-µs/update")
			b.ReportMetric(all/waited.Seconds(), "updates/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

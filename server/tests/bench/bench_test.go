package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

var (
	before = flag.String("bench.before", "", "the test program of another version (go test -c ./server/tests/bench there), whose server is measured too, as server=before")
	first  = flag.Int("bench.first", 0, "the number of the server, from 0, that each benchmark begins with: .ci/bench gives each round another one")
)

// subject is a server that a benchmark compares.
type subject struct {
	name  string
	start func(*testing.B) *rig.Process
}

// subjects returns the servers of a benchmark in the order of measurement: those of every benchmark, and others.
func subjects(others ...subject) []subject {
	all := []subject{{"server=bare", startBare}, {"server=ours", startOurs}}
	if *before != "" {
		all = append(all, subject{"server=before", startBefore})
	}
	all = append(all, others...)
	begin := *first % len(all)
	return append(all[begin:len(all):len(all)], all[:begin]...)
}

func startBare(b *testing.B) *rig.Process {
	b.Helper()
	p := rig.Launch(b, []string{envIsBare + "=1"})
	p.AwaitListening()
	return p
}

// startRedis is a Redis as in production: with its log, synced every second.
func startRedis(t testing.TB) *redistest.Server {
	t.Helper()
	return redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
}

// startOurs is a server on loopback with metrics, limits, bearer tokens and logs as in production, but without
// TLS.
func startOurs(b *testing.B) *rig.Process {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	return startServer(b, self)
}

// startBefore is the same with the server of another version. The clients are this version's, so that the servers alone differ.
func startBefore(b *testing.B) *rig.Process {
	b.Helper()
	return startServer(b, *before)
}

func startServer(b *testing.B, program string) *rig.Process {
	b.Helper()
	redis := startRedis(b)
	tokens, token := rig.TokensFile(b)
	env := rig.Settings(redis.Addr, "LOG_FORMAT=json", "CALLER_SHARE_PERCENT=100", tokens)
	p := rig.AwaitServing(rig.LaunchProgram(b, program, env, "serve"))
	p.Token, p.Redis = token, redis
	return p
}

// connections are clients over connections of their own, with the token if the server wants one.
func connections(b *testing.B, p *rig.Process, n int) []verificationv1.VerificationServiceClient {
	b.Helper()
	var options []grpc.DialOption
	if p.Token != "" {
		options = append(options, grpc.WithPerRPCCredentials(rig.Bearer(p.Token)))
	}
	clients := make([]verificationv1.VerificationServiceClient, n)
	for i := range clients {
		clients[i], _ = rig.Dial(b, p.GRPC, options...)
	}
	return clients
}

// shareCalls lets so many callers make b.N calls, and reports latencies and the server's own time.
func shareCalls(b *testing.B, p *rig.Process, callers int, call func(caller, n int) error) {
	b.Helper()
	latencies := make([][]time.Duration, callers)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var calling sync.WaitGroup
	used := reportCPU(b, p)
	b.ResetTimer()
	for caller := range callers {
		calling.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				began := time.Now()
				if err := call(caller, int(n)); err != nil {
					failed.Store(&err)
					return
				}
				latencies[caller] = append(latencies[caller], time.Since(began))
			}
		})
	}
	calling.Wait()
	b.StopTimer()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	used()
	reportLatencies(b, slices.Concat(latencies...))
}

// reportCPU returns a function that reports the processor time of the server, and of its Redis, from now until it is called, for each
// of the b.N operations.
func reportCPU(b *testing.B, p *rig.Process) func() {
	b.Helper()
	server, redis := p.CPU(), p.RedisCPU()
	return func() {
		b.Helper()
		b.ReportMetric(float64((p.CPU()-server).Microseconds())/float64(b.N), "server-µs/op")
		if p.Redis != nil {
			b.ReportMetric(float64((p.RedisCPU()-redis).Microseconds())/float64(b.N), "redis-µs/op")
		}
	}
}

func reportLatencies(b *testing.B, all []time.Duration) {
	slices.Sort(all)
	for _, q := range []int{50, 99} {
		b.ReportMetric(float64(all[len(all)*q/100].Microseconds()), fmt.Sprintf("p%d-µs", q))
	}
}

// BenchmarkGetStatus: 64 callers over 4 connections ask for the status of a thousand sessions.
func BenchmarkGetStatus(b *testing.B) {
	for _, subject := range subjects() {
		b.Run(subject.name, func(b *testing.B) {
			p := subject.start(b)
			clients := connections(b, p, 4)
			const sessions = 1000
			if subject.name != "server=bare" {
				client := rig.NewHTTPClient(b)
				for n := range sessions {
					rig.Deliver(b, client, p.Webhook, rig.Tries(fmt.Sprintf("vs_Bench%d", n), 1)[0])
				}
			}
			shareCalls(b, p, 64, func(caller, n int) error {
				_, err := clients[caller%len(clients)].GetStatus(context.Background(), &verificationv1.GetStatusRequest{
					Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_Bench" + strconv.Itoa(n%sessions)},
				})
				return err
			})
		})
	}
}

// indented are events in the shape in which Stripe sends them.
func indented(b *testing.B, events []rig.Event) []rig.Event {
	b.Helper()
	for i := range events {
		var body bytes.Buffer
		if err := json.Indent(&body, events[i].Body, "", "  "); err != nil {
			b.Fatal(err)
		}
		events[i].Body = body.Bytes()
	}
	return events
}

// BenchmarkIngest posts lives of five events over 32 connections, each session's in order. The events of 64 sessions
// alternate, because Stripe's own are seconds apart.
func BenchmarkIngest(b *testing.B) {
	node := &expressPrograms{all: b}
	for _, subject := range subjects(node.subject("server=express", "webhook.mjs"), node.subject("server=express-hset", "hset.mjs")) {
		b.Run(subject.name, func(b *testing.B) {
			p := subject.start(b)
			client := rig.NewHTTPClient(b)
			const abreast, life = 64, 5
			var queue []rig.Event
			for n := 0; len(queue) < b.N; n++ {
				lives := make([][]rig.Event, abreast)
				for i := range lives {
					lives[i] = indented(b, rig.Tries(fmt.Sprintf("vs_Ingest%d", n*abreast+i), life))
				}
				for k := range abreast * life {
					queue = append(queue, lives[k%abreast][k/abreast])
				}
			}
			shareCalls(b, p, 32, func(_, n int) error {
				e := queue[n-1]
				response, text, err := rig.Post(client, p.Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
				if err == nil && response.StatusCode != http.StatusOK {
					err = fmt.Errorf("%s: %s", response.Status, text)
				}
				return err
			})
		})
	}
}

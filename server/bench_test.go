package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/access"
	"example.com/verification-status/server/internal/testing/redistest"
)

// The benchmarks compare the server, in its own process and with a real Redis, with the bare one and with
// what others make of the same work. Ratios within one run are what counts:
//
//	go test -run '^$' -bench . -count 5 ./server | tee bench.txt && benchstat -col /server bench.txt

// subject is a server that a benchmark compares.
type subject struct {
	name  string
	start func(*testing.B) *process
}

// subjects are those of every benchmark.
var subjects = []subject{{"server=bare", startBare}, {"server=ours", startOurs}}

func startBare(b *testing.B) *process {
	b.Helper()
	p := launch(b, []string{envIsBare + "=1"})
	p.awaitListening()
	return p
}

// startRedis is a Redis as in production: with its log, synced every second.
func startRedis(b *testing.B) *redistest.Server {
	b.Helper()
	return redistest.Start(b, "--appendonly", "yes", "--appendfsync", "everysec")
}

// startOurs is a server on loopback with metrics, limits, bearer tokens and logs as in production, but without
// TLS.
func startOurs(b *testing.B) *process {
	b.Helper()
	redis := startRedis(b)
	tokens, token := tokensFile(b)
	p := serve(b, settings(redis.Addr, "LOG_FORMAT=json", "CALLER_SHARE_PERCENT=100", tokens))
	p.token, p.redis = token, redis
	return p
}

// tokensFile is the setting of a file with one token, and the token.
func tokensFile(t testing.TB) (setting, token string) {
	t.Helper()
	token, line, err := access.NewToken("bench", []access.Right{access.RightRead})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(line.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "GRPC_TOKENS_FILE=" + file, token
}

// bearer shows a token with every call, also without TLS.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return false }

// connections are clients over connections of their own, with the token if the server wants one.
func connections(b *testing.B, p *process, n int) []verificationv1.VerificationServiceClient {
	b.Helper()
	var options []grpc.DialOption
	if p.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(p.token)))
	}
	clients := make([]verificationv1.VerificationServiceClient, n)
	for i := range clients {
		clients[i], _ = dial(b, p.grpc, options...)
	}
	return clients
}

// shareCalls lets so many callers make b.N calls, and reports latencies and the server's own time.
func shareCalls(b *testing.B, p *process, callers int, call func(caller, n int) error) {
	b.Helper()
	latencies := make([][]time.Duration, callers)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var calling sync.WaitGroup
	before, redisBefore := p.cpu(), p.redisCPU()
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
	b.ReportMetric(float64((p.cpu()-before).Microseconds())/float64(b.N), "server-µs/op")
	if p.redis != nil {
		b.ReportMetric(float64((p.redisCPU()-redisBefore).Microseconds())/float64(b.N), "redis-µs/op")
	}
	reportLatencies(b, slices.Concat(latencies...))
}

func reportLatencies(b *testing.B, all []time.Duration) {
	slices.Sort(all)
	for _, q := range []int{50, 99} {
		b.ReportMetric(float64(all[len(all)*q/100].Microseconds()), fmt.Sprintf("p%d-µs", q))
	}
}

// cpu is the time that the process has used so far, of the processors.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second: proc(5)
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// redisCPU is the time that the process's Redis has used so far, if it has one.
func (p *process) redisCPU() time.Duration {
	p.t.Helper()
	var seconds float64
	if p.redis != nil {
		for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
			n, err := strconv.ParseFloat(p.redis.Info(name), 64)
			if err != nil {
				p.t.Fatal(err)
			}
			seconds += n
		}
	}
	return time.Duration(seconds * float64(time.Second))
}

// BenchmarkGetStatus is 64 callers over 4 connections who ask for the status of a thousand sessions.
func BenchmarkGetStatus(b *testing.B) {
	for _, subject := range subjects {
		b.Run(subject.name, func(b *testing.B) {
			p := subject.start(b)
			clients := connections(b, p, 4)
			const sessions = 1000
			if subject.name != "server=bare" {
				client := newHTTPClient(b)
				for n := range sessions {
					deliver(b, client, p.webhook, tries(fmt.Sprintf("vs_Bench%d", n), 1)[0])
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
func indented(b *testing.B, events []event) []event {
	b.Helper()
	for i := range events {
		var body bytes.Buffer
		if err := json.Indent(&body, events[i].body, "", "  "); err != nil {
			b.Fatal(err)
		}
		events[i].body = body.Bytes()
	}
	return events
}

// BenchmarkIngest posts lives of five events over 32 connections: each session's in order, and those of
// 64 sessions in turn, since Stripe's own are seconds apart.
func BenchmarkIngest(b *testing.B) {
	for _, subject := range append(slices.Clone(subjects), express(b)) {
		b.Run(subject.name, func(b *testing.B) {
			p := subject.start(b)
			client := newHTTPClient(b)
			const abreast, life = 64, 5
			var mail []event
			for n := 0; len(mail) < b.N; n++ {
				lives := make([][]event, abreast)
				for i := range lives {
					lives[i] = indented(b, tries(fmt.Sprintf("vs_Ingest%d", n*abreast+i), life))
				}
				for k := range abreast * life {
					mail = append(mail, lives[k%abreast][k/abreast])
				}
			}
			shareCalls(b, p, 32, func(_, n int) error {
				e := mail[n-1]
				response, text, err := post(client, p.webhook, sign(time.Now(), webhookSecret, e.body), e.body)
				if err == nil && response.StatusCode != http.StatusOK {
					err = fmt.Errorf("%s: %s", response.Status, text)
				}
				return err
			})
		})
	}
}

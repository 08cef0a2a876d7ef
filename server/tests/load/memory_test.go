//go:build load

package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// watchers is how many callers share the streams: each has CALLER_SHARE_PERCENT of them at most, 25 by default.
const watchers = 5

// TestLoadMemoryLimit runs the shipped program with the Deployment's settings, in a cgroup with the Deployment's limit of memory, over
// TLS with bearer tokens. Five callers ask for 20,000 sessions and watch them over 200 connections. Then callers without credentials
// hold, all at once, as many webhooks with nearly whole bodies and as many half calls as the server admits, and begin again whenever the
// server ends one. Meanwhile normal callers ask for statuses, and Stripe sends webhooks. The kernel must not kill the server, no
// normal call may fail, and no stream may end. Times are reported, not judged.
//
//	go test -tags load -run TestLoadMemoryLimit -v -count 1 -timeout 20m ./server/tests/load
//
// LOAD_MEMORY_STREAMS, LOAD_MEMORY_BODIES, LOAD_MEMORY_CALLS, LOAD_MEMORY_FRAME and LOAD_MEMORY_SECONDS are other numbers of streams,
// bodies, half calls, bytes in a frame of a half call, and seconds of all that at once.
func TestLoadMemoryLimit(t *testing.T) {
	dir := t.TempDir()
	m := readManifest(t, dir)
	group := newCgroup(t, m.limit)
	l := &memoryLoad{
		t: t, group: group, dir: dir, http: rig.NewHTTPClient(t), second: secondOfLives(),
		sessions: loadCount(t, "LOAD_MEMORY_STREAMS", 20_000, watchers, 20_000),
	}
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	seedSessions(t, redis.Addr, 0, l.sessions, newLifeMaker(t, l.second).life)
	stripe := rig.StartFakeStripe(t)
	names := []string{"normal"}
	for n := range watchers {
		names = append(names, fmt.Sprintf("watcher-%d", n))
	}
	tokens := writeSecrets(t, dir, redis.Addr, names...)
	l.serve(append(m.env, "STRIPE_API_BASE="+stripe.URL))
	l.client = l.dial(tokens[0])
	l.measure("normal callers alone", 5*time.Second)

	var streams []*rig.Process
	for n, token := range tokens[1:] {
		var ids []string
		for i := n; i < l.sessions; i += watchers {
			ids = append(ids, storedLife(i, l.second).ID)
		}
		streams = append(streams, l.begin(memoryOrder{Do: "streams", Token: token, Connections: loadConnections / watchers, Count: len(ids), Sessions: ids}))
	}
	l.awaitReady(streams...)
	usual := l.measure(fmt.Sprintf("beside %s streams of as many cached sessions", grouped(l.sessions)), 5*time.Second)

	bodies := l.begin(memoryOrder{Do: "bodies", Connections: loadCount(t, "LOAD_MEMORY_BODIES", 1000, 1, 10_000)})
	halves := l.begin(memoryOrder{
		Do: "halves", Connections: 8, Count: loadCount(t, "LOAD_MEMORY_CALLS", 1024+256, 8, 100_000), Frame: loadCount(t, "LOAD_MEMORY_FRAME", 16_000, 1, 16_384),
	})
	l.awaitReady(bodies, halves)
	l.measure("beside held bodies and half calls too", time.Duration(loadCount(t, "LOAD_MEMORY_SECONDS", 60, 1, 3600))*time.Second)
	l.finish("bodies", bodies)
	l.finish("half calls", halves)
	l.recover(usual)
	for n, p := range streams {
		counts := l.finish(fmt.Sprintf("streams of caller %d", n), p)
		for what, count := range counts {
			if strings.Contains(what, "failed") {
				t.Errorf("caller %d: %s, %d times", n, what, count)
			}
		}
	}
}

// memoryLoad is a server in a group, and its clients.
type memoryLoad struct {
	t        *testing.T
	group    *cgroup
	dir      string
	sessions int
	second   int64
	p        *rig.Process
	http     *http.Client
	client   verificationv1.VerificationServiceClient
}

// serve starts the server in the group. The program is the shipped one, so it is built.
func (l *memoryLoad) serve(env []string) {
	l.t.Helper()
	cmd := l.group.command(compileServer(l.t, rig.Path()), "serve")
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.t.TempDir()}, env...)
	l.p = rig.AwaitServing(rig.Begin(l.t, cmd))
	l.p.AwaitLists()
}

func (l *memoryLoad) dial(token string) verificationv1.VerificationServiceClient {
	l.t.Helper()
	pem, err := os.ReadFile(filepath.Join(l.dir, "tls.crt"))
	if err != nil {
		l.t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	conn, err := grpc.NewClient(l.p.GRPC, grpc.WithPerRPCCredentials(rig.Bearer(token)),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12})))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() })
	return verificationv1.NewVerificationServiceClient(conn)
}

// begin starts a client in a process of its own, outside of the group.
func (l *memoryLoad) begin(order memoryOrder) *rig.Process {
	l.t.Helper()
	order.GRPC, order.CA = l.p.GRPC, filepath.Join(l.dir, "tls.crt")
	order.Webhook = strings.TrimSuffix(strings.TrimPrefix(l.p.Webhook, "http://"), "/webhook")
	cmd := exec.Command(ownServer(l.t))
	cmd.Env = append(os.Environ(), envIsMemoryClient+"=1")
	p := rig.Begin(l.t, cmd)
	text, err := json.Marshal(order)
	if err == nil {
		_, err = p.Stdin.Write(append(text, '\n'))
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

// awaitReady waits until clients hold what they were told to hold.
func (l *memoryLoad) awaitReady(clients ...*rig.Process) {
	l.t.Helper()
	for _, p := range clients {
		p.AwaitWithin(3*time.Minute, "a client is ready", func() bool {
			l.wantAlive()
			return strings.Contains(p.Stdout.String(), readyLine)
		})
	}
}

// finish ends a client and reports its counts.
func (l *memoryLoad) finish(what string, p *rig.Process) map[string]int {
	l.t.Helper()
	_ = p.Stdin.Close()
	p.Exit(time.Minute)
	counts := countsOf(p)
	l.t.Logf("%s: %s", what, inOrder(counts))
	return counts
}

// wantAlive fails the test at once if the server has ended.
func (l *memoryLoad) wantAlive() {
	l.t.Helper()
	select {
	case <-l.p.Ended:
		most, hits, kills := l.group.use(l.t)
		l.t.Fatalf("the server has ended: %v; %d kills, the limit was met %d times, at most %s", l.p.Cmd.ProcessState, kills, hits, mB(most))
	default:
	}
}

// measure lets normal callers work for a time, and reports the memory too. It returns the 99th percentile of GetStatus.
func (l *memoryLoad) measure(what string, d time.Duration) (p99 time.Duration) {
	l.t.Helper()
	p99 = l.work(what, d)
	left := l.p.MemoryLeft(l.http)
	most, hits, kills := l.group.use(l.t)
	l.t.Logf("%s: after a collection %v; the group so far at most %s, limit met %d times, %d kills", what, left, mB(most), hits, kills)
	if kills > 0 {
		l.t.Errorf("%s: the kernel killed %d processes", what, kills)
	}
	return p99
}

// recover measures three seconds at a time until the 99th percentile of GetStatus is back to twice the usual one, for a minute at the most.
func (l *memoryLoad) recover(usual time.Duration) {
	l.t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; {
		ended := time.Since(began)
		if l.work(fmt.Sprintf("afterwards, after %v", ended.Round(time.Millisecond)), 3*time.Second) <= 2*usual {
			l.t.Logf("the times were usual again after %v", ended.Round(time.Millisecond))
			break
		}
	}
	l.measure("afterwards", 3*time.Second)
}

// work lets normal callers work for a time: 100 calls and 50 webhooks a second. It returns the 99th percentile of GetStatus. It also reports the
// processor time of the server, and how many processes of this machine want to run: times say nothing of the server if they wait for a processor.
func (l *memoryLoad) work(what string, d time.Duration) (p99 time.Duration) {
	l.t.Helper()
	began, cpu := time.Now(), l.p.CPU()
	over := began.Add(d)
	var working sync.WaitGroup
	var calls, webhooks []time.Duration
	working.Go(func() { calls = l.repeat(over, 10*time.Millisecond, "GetStatus", l.ask) })
	working.Go(func() { webhooks = l.repeat(over, 20*time.Millisecond, "webhook", l.deliver) })
	greatest := l.p.MemoryUntil(l.http, over)
	working.Wait()
	l.wantAlive()
	busy, runnable := float64(l.p.CPU()-cpu)/float64(time.Since(began)), "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		runnable, _, _ = strings.Cut(strings.Fields(string(text))[3], "/")
	}
	l.t.Logf("%s, for %v: GetStatus %s (%d); webhook %s (%d)", what, d, rig.Quantiles(calls), len(calls), rig.Quantiles(webhooks), len(webhooks))
	l.t.Logf("%s: at most %v; the server used %.2f processors, %s processes and threads of the machine wanted one at the end", what, greatest, busy, runnable)
	if len(calls) > 0 { // Quantiles has sorted them
		p99 = calls[len(calls)*99/100]
	}
	return p99
}

// repeat calls at an even pace, each call beside those that have not returned.
func (l *memoryLoad) repeat(over time.Time, pace time.Duration, what string, call func() error) (took []time.Duration) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	var mu sync.Mutex // guards took
	var calling sync.WaitGroup
	for ; time.Now().Before(over); <-ticker.C {
		calling.Go(func() {
			began := time.Now()
			if err := call(); err != nil {
				l.t.Errorf("a normal %s failed after %v: %v", what, time.Since(began), err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
		})
	}
	calling.Wait()
	return took
}

func (l *memoryLoad) ask() error {
	ctx, cancel := context.WithTimeout(l.t.Context(), rig.Soon)
	defer cancel()
	_, err := l.client.GetStatus(ctx, &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: storedLife(rand.IntN(l.sessions), l.second).ID},
	})
	return err
}

// deliver sends the first event of a new session.
func (l *memoryLoad) deliver() error {
	e := rig.Tries(fmt.Sprintf("vs_Memory%d", rand.Uint64()), 1)[0]
	response, text, err := rig.Post(l.http, l.p.Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %q", response.Status, text)
	}
	return err
}

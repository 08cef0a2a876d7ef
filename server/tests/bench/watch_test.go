package bench

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// watchers is how many streams BenchmarkDelivery has open; idle, BenchmarkIdleStreams.
const watchers, idle = 1000, 10_000

// BenchmarkDelivery is the way of a change from Stripe's POST to a watcher: a thousand watchers of a
// session each, 500 webhooks a second.
func BenchmarkDelivery(b *testing.B) {
	for _, subject := range subjects(centrifuge(b)) {
		b.Run(subject.name, func(b *testing.B) {
			p := subject.start(b)
			d := &delivery{b: b, p: p, http: rig.NewHTTPClient(b), posted: make(map[string]time.Time)}
			lives := make([][]rig.Event, watchers)
			clients := connections(b, p, 8)
			var watching sync.WaitGroup
			ctx, end := context.WithCancel(context.Background())
			for n := range lives {
				id := fmt.Sprintf("vs_Delivery%d", n)
				lives[n] = rig.Tries(id, 2+b.N/watchers)
				d.post(lives[n][0])
				stream, err := clients[n%len(clients)].WatchStatus(ctx, rig.WatchSessionRequest(id, ""))
				if err == nil {
					_, err = stream.Recv()
				}
				if err != nil {
					b.Fatal(err)
				}
				watching.Go(func() { d.receive(id, stream) })
			}
			d.received.Add(b.N)
			used := reportCPU(b, p)
			b.ResetTimer()
			pace := time.NewTicker(2 * time.Millisecond)
			for n := range b.N {
				<-pace.C
				go d.post(lives[n%watchers][1+n/watchers])
			}
			d.received.Wait()
			b.StopTimer()
			used()
			pace.Stop()
			end()
			watching.Wait()
			reportLatencies(b, d.latencies)
		})
	}
}

// delivery measures from each POST's beginning to the change at its watcher.
type delivery struct {
	b        *testing.B
	p        *rig.Process
	http     *http.Client
	received sync.WaitGroup

	mu        sync.Mutex // guards what follows
	posted    map[string]time.Time
	latencies []time.Duration
}

func (d *delivery) post(e rig.Event) {
	signature := rig.Sign(time.Now(), rig.WebhookSecret, e.Body)
	d.mu.Lock()
	d.posted[e.Session] = time.Now()
	d.mu.Unlock()
	response, text, err := rig.Post(d.http, d.p.Webhook, signature, e.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		d.b.Errorf("%s: %v %q %v", e.ID, response, text, err)
	}
}

func (d *delivery) receive(id string, stream grpc.ServerStreamingClient[verificationv1.WatchStatusResponse]) {
	for {
		if _, err := stream.Recv(); err != nil {
			return
		}
		d.mu.Lock()
		d.latencies = append(d.latencies, time.Since(d.posted[id]))
		d.mu.Unlock()
		d.received.Done()
	}
}

// BenchmarkIdleStreams measures the memory of a watch that waits.
func BenchmarkIdleStreams(b *testing.B) {
	for _, subject := range subjects() {
		b.Run(subject.name, func(b *testing.B) {
			p := subject.start(b)
			d := &delivery{b: b, p: p, http: rig.NewHTTPClient(b), posted: make(map[string]time.Time)}
			d.post(rig.Tries("vs_Idle", 1)[0])
			clients := connections(b, p, 20)
			ctx, end := context.WithCancel(context.Background())
			defer end()
			for b.Loop() {
				before := d.inUse()
				for n := range idle {
					stream, err := clients[n%len(clients)].WatchStatus(ctx, rig.WatchSessionRequest("vs_Idle", ""))
					if err == nil {
						_, err = stream.Recv()
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(d.inUse()-before)/idle, "B/stream")
			}
		})
	}
}

var memStats = regexp.MustCompile(`(?m)^# (HeapAlloc|Stack) = (\d+)`)

// inUse returns the memory of heap and stacks after a garbage collection, in bytes.
func (d *delivery) inUse() (bytes int) {
	d.b.Helper()
	d.http.CloseIdleConnections()
	response, err := d.http.Get(d.p.Admin + "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		d.b.Fatal(err)
	}
	text, err := rig.ReadAll(response)
	if err != nil || !strings.Contains(text, "HeapAlloc") {
		d.b.Fatalf("%.200q, %v", text, err)
	}
	for _, match := range memStats.FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(match[2])
		if err != nil {
			d.b.Fatal(err)
		}
		bytes += n
	}
	return bytes
}

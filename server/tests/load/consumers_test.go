//go:build load

package load

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

const (
	consumedPerSecond = 500 // webhooks
	readPerSecond     = 100 // calls of GetStatus
	abreast           = 64  // sessions whose events alternate
)

// TestLoadConsumers: no named consumer of the feed, one, and 50, alternating on two replicas with 100,000 sessions. One replica gets 500
// webhooks and 100 calls of GetStatus a second. It serves the consumers too, or the other replica does: the difference is what consumers
// cost the calls of their own replica, beyond the processors that all share here. Each consumer must get every
// change, in order within a session. The lag is the time from the beginning of the POST to the consumer. The consumers run in a process
// that gets a processor only if nothing else wants it: elsewhere they have machines of their own. Servers have the limit of memory of
// the Deployment.
//
//	go test -tags load -run TestLoadConsumers -v -count 1 -timeout 20m ./server/tests/load
//
// LOAD_CONSUMERS, LOAD_CONSUMER_SESSIONS, LOAD_CONSUMER_SECONDS and LOAD_CONSUMER_ROUNDS are other numbers of consumers, sessions,
// seconds of a phase, and phases of each kind.
func TestLoadConsumers(t *testing.T) {
	most := loadCount(t, "LOAD_CONSUMERS", 50, 2, 64)
	sessions := loadCount(t, "LOAD_CONSUMER_SESSIONS", 100_000, 1000, 10_000_000)
	c := &consumersLoad{
		t: t, sessions: sessions, next: sessions, second: secondOfLives(), http: rig.NewHTTPClient(t),
		phase: time.Duration(loadCount(t, "LOAD_CONSUMER_SECONDS", 20, 1, 600)) * time.Second,
	}
	redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
	seedSessions(t, redis.Addr, 0, sessions, newLifeMaker(t, c.second).life)
	settings := rig.Settings(redis.Addr, "CALLER_SHARE_PERCENT=100", "GOMEMLIMIT=900MiB")
	c.p = rig.Serve(t, settings)
	c.p.Redis = redis
	c.p.AwaitLists()
	c.other = rig.Serve(t, settings)
	c.client = rig.ClientOf(t, c.p)
	phases := []consumersPhase{
		{"none", 0, c.p},
		{"1", 1, c.p},
		{fmt.Sprint(most), most, c.p},
		{fmt.Sprint(most, " at the other replica"), most, c.other},
	}
	results := make([]consumersResult, len(phases))
	c.run(phases[0], &consumersResult{}) // warms up
	for range loadCount(t, "LOAD_CONSUMER_ROUNDS", 3, 1, 100) {
		for n, phase := range phases {
			c.run(phase, &results[n])
		}
	}
	t.Log("| consumers | lag | webhook | GetStatus | server, cores | Redis, cores | Redis commands for each webhook | acknowledgements |")
	t.Log("|---|---|---|---|---|---|---|---|")
	for n, phase := range phases {
		t.Log(results[n].row(phase.name))
	}
}

// consumersPhase is a number of consumers, and the replica that serves them.
type consumersPhase struct {
	name      string
	consumers int
	at        *rig.Process
}

// consumersLoad is a server with sessions, under webhooks and reads.
type consumersLoad struct {
	t        *testing.T
	sessions int
	next     int // the number of the next life that is delivered
	second   int64
	phase    time.Duration
	p, other *rig.Process // replicas. Webhooks and calls of GetStatus go to p
	client   verificationv1.VerificationServiceClient
	http     *http.Client
}

// consumersResult is what the phases with one number of consumers measured.
type consumersResult struct {
	lags, webhooks, reads  []time.Duration
	took, server, redis    time.Duration
	events, commands, acks int
}

func (r *consumersResult) row(consumers string) string {
	cores := func(used time.Duration) float64 { return used.Seconds() / r.took.Seconds() }
	return fmt.Sprintf("| %s | %s | %s | %s | %.2f | %.3f | %.1f | %d |", consumers, rig.Quantiles(r.lags), rig.Quantiles(r.webhooks),
		rig.Quantiles(r.reads), cores(r.server), cores(r.redis), float64(r.commands)/float64(r.events), r.acks)
}

// run is one phase.
func (c *consumersLoad) run(phase consumersPhase, result *consumersResult) {
	c.t.Helper()
	reading := newConsumers(c.t, phase)
	events := int(c.phase.Seconds()) * consumedPerSecond
	first := c.next
	queue := c.queue(events)
	posted := make([]atomic.Int64, 5*(c.next-first)) // Unix nanoseconds, by life and revision
	server, redis, commands, began := c.p.CPU()+c.other.CPU(), c.p.RedisCPU(), c.commands(), time.Now()
	var working sync.WaitGroup
	working.Go(func() { result.reads = append(result.reads, c.read(began)...) })
	result.webhooks = append(result.webhooks, c.post(began, queue, func(e numbered) { posted[5*(e.life-first)+e.revision-1].Store(time.Now().UnixNano()) })...)
	working.Wait()
	result.took += time.Since(began)
	result.server += c.p.CPU() + c.other.CPU() - server
	result.redis += c.p.RedisCPU() - redis
	result.commands += c.commands() - commands
	result.events += events
	for n, got := range reading.report(events) {
		result.acks += got.Acknowledgements
		result.lags = append(result.lags, checkReceived(c.t, n, got, events, func(d delivery) int64 {
			if at := 5*(d.Life-first) + int(d.Revision) - 1; at >= 0 && at < len(posted) {
				return posted[at].Load()
			}
			return 0
		})...)
	}
}

// commands returns how many commands Redis has run.
func (c *consumersLoad) commands() (n int) {
	c.t.Helper()
	if _, err := fmt.Sscan(c.p.Redis.Info("total_commands_processed"), &n); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// numbered is an event of a life.
type numbered struct {
	rig.Event
	life, revision int
}

// queue returns the events of new lives. Those of abreast lives alternate, because Stripe's own are seconds apart.
func (c *consumersLoad) queue(events int) (queue []numbered) {
	for len(queue) < events {
		lives := make([]rig.Life, abreast)
		for i := range lives {
			lives[i] = storedLife(c.next+i, c.second)
		}
		for k := range 5 {
			for i, life := range lives {
				queue = append(queue, numbered{life.Events[k], c.next + i, k + 1})
			}
		}
		c.next += abreast
	}
	return queue[:events]
}

// post posts the events at an even pace, and returns the latencies.
func (c *consumersLoad) post(began time.Time, queue []numbered, beginning func(numbered)) []time.Duration {
	c.t.Helper()
	jobs := make(chan numbered)
	latencies := make([][]time.Duration, 32)
	var posting sync.WaitGroup
	for poster := range latencies {
		posting.Go(func() {
			for e := range jobs {
				signature := rig.Sign(time.Now(), rig.WebhookSecret, e.Body)
				beginning(e)
				at := time.Now()
				response, text, err := rig.Post(c.http, c.p.Webhook, signature, e.Body)
				if err != nil || response.StatusCode != http.StatusOK {
					c.t.Errorf("%s: %v %q %v", e.ID, response, text, err)
				}
				latencies[poster] = append(latencies[poster], time.Since(at))
			}
		})
	}
	for n, e := range queue {
		time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / consumedPerSecond)))
		jobs <- e
	}
	close(jobs)
	posting.Wait()
	all := make([]time.Duration, 0, len(queue))
	for _, some := range latencies {
		all = append(all, some...)
	}
	return all
}

// read asks for the status of stored sessions at an even pace, and returns the latencies.
func (c *consumersLoad) read(began time.Time) (latencies []time.Duration) {
	for n := range int(c.phase.Seconds()) * readPerSecond {
		time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / readPerSecond)))
		at := time.Now()
		_, err := c.client.GetStatus(c.t.Context(), &verificationv1.GetStatusRequest{
			Subject: &verificationv1.GetStatusRequest_SessionId{SessionId: storedLife(rand.IntN(c.sessions), c.second).ID},
		})
		if err != nil {
			c.t.Error(err)
			return latencies
		}
		latencies = append(latencies, time.Since(at))
	}
	return latencies
}

// consumersProcess is the process of the consumers. It is nil without consumers.
type consumersProcess struct {
	*rig.Process
	file string
}

func newConsumers(t *testing.T, phase consumersPhase) *consumersProcess {
	t.Helper()
	if phase.consumers == 0 {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("chrt", "--idle", "0", self)
	cmd.Env = append(os.Environ(), envIsConsumers+"=1")
	p := &consumersProcess{rig.Begin(t, cmd), filepath.Join(t.TempDir(), "received.json")}
	order, err := json.Marshal(consumersOrder{Addr: phase.at.GRPC, Consumers: phase.consumers, Report: p.file})
	if err == nil {
		_, err = p.Stdin.Write(append(order, '\n'))
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Await("the consumers begin", func() bool { return strings.HasPrefix(p.Stdout.String(), beganLine) })
	return p
}

// report waits until each consumer has got so many changes, and returns what each got.
func (p *consumersProcess) report(changes int) (all []received) {
	if p == nil {
		return nil
	}
	p.T.Helper()
	if _, err := fmt.Fprintln(p.Stdin, changes); err != nil {
		p.T.Fatal(err)
	}
	if code := p.Exit(time.Minute); code != 0 {
		p.T.Fatalf("the consumers ended with exit code %d", code)
	}
	text, err := os.ReadFile(p.file)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		p.T.Fatal(err)
	}
	return all
}

// checkReceived checks that a consumer got so many changes, each once and in order within its session, and returns the lags. posted
// returns when a change was posted, and 0 if it was not.
func checkReceived(t *testing.T, consumer int, got received, changes int, posted func(delivery) int64) (lags []time.Duration) {
	t.Helper()
	newest := make(map[int]int32)
	for _, d := range got.Deliveries {
		at := posted(d)
		if d.Revision != newest[d.Life]+1 || at == 0 {
			t.Fatalf("consumer %d got revision %d of life %d after %d, posted at %d", consumer, d.Revision, d.Life, newest[d.Life], at)
		}
		newest[d.Life] = d.Revision
		lags = append(lags, time.Duration(d.At-at))
	}
	if got.Failed != "" || len(lags) != changes {
		t.Fatalf("consumer %d got %d of %d changes: %s", consumer, len(lags), changes, got.Failed)
	}
	return lags
}

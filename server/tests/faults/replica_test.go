//go:build faults

package faults

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/tests/rig"
)

// drainLimit is the replicas' DRAIN_TIMEOUT.
const drainLimit = 5 * time.Second

// replica is one of the servers: a process, and later another process in its place.
type replica struct {
	t      testing.TB
	env    []string
	number int // among the replicas, from 0

	mu      sync.Mutex // guards what follows; nil and empty while there is no process
	process *rig.Process
	conn    *grpc.ClientConn
	all     []*rig.Process // that there were
}

// start runs a new process. Call it from the test's goroutine only.
func (r *replica) start() {
	r.t.Helper()
	p := r.launch()
	conn, err := grpc.NewClient(p.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process, r.conn, r.all = p, conn, append(r.all, p)
}

// launch starts this version. With -faults.program it starts this version and the other one alternately, and replicas begin
// with different ones, so that both always run.
func (r *replica) launch() *rig.Process {
	r.t.Helper()
	if *faultProgram == "" || (len(r.all)+r.number)%2 == 0 {
		return rig.Serve(r.t, r.env)
	}
	return rig.AwaitServing(rig.LaunchProgram(r.t, *faultProgram, r.env, "serve"))
}

// complaints returns the errors that the processes logged. An error is a fault of the service, not of Redis or Stripe.
func (r *replica) complaints() (lines []string) {
	for _, p := range r.all {
		for line := range strings.Lines(p.Stderr.String()) {
			if strings.Contains(line, `"level":"ERROR"`) {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// hangUp removes the process from the replica, so that no client is sent to it any more.
func (r *replica) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		_ = r.conn.Close()
	}
	r.process, r.conn = nil, nil
}

// running is the process, if there is one.
func (r *replica) running() *rig.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process
}

// kill ends the process as a crash would.
func (r *replica) kill() {
	r.running().Kill()
	r.hangUp()
}

// drain stops the process in order: it must end by itself, in time and with 0. Clients are sent to it
// for a while, as they are where addresses travel slowly.
func (r *replica) drain() {
	r.t.Helper()
	p := r.running()
	p.Signal(syscall.SIGTERM)
	if code := p.Exit(drainLimit + 5*time.Second); code != 0 {
		r.t.Errorf("a drained replica ended with %d", code)
	}
	r.hangUp()
}

// setClock makes the replica's clock wrong.
func (r *replica) setClock(wrong time.Duration) {
	if p := r.running(); p != nil {
		_, _ = io.WriteString(p.Stdin, wrong.String()+"\n")
	}
}

// client is nil while there is no process.
func (r *replica) client() verificationv1.VerificationServiceClient {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		return nil
	}
	return verificationv1.NewVerificationServiceClient(r.conn)
}

func (r *replica) webhook() string {
	if p := r.running(); p != nil {
		return p.Webhook
	}
	return ""
}

// balancer is the address that Stripe knows: it gives each webhook to any of the replicas, and notes
// which events were acknowledged.
type balancer struct {
	replicas []*replica
	client   *http.Client
	kept     func(event, session string) // is told of each acknowledgement

	mu           sync.Mutex
	acknowledged map[string]bool
	// partners has the snapshot event of each thin event whose body named it, and the reverse. The two are one event for the
	// service, under either id.
	partners map[string]string
}

func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	target := b.replicas[rand.IntN(len(b.replicas))].webhook()
	if err != nil || target == "" {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	request.Header = r.Header.Clone()
	event, session := b.received(body)
	response, err := b.client.Do(request)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_, _ = rig.ReadAll(response)
	if response.StatusCode == http.StatusOK {
		b.mu.Lock()
		b.acknowledged[event] = true
		b.mu.Unlock()
		b.kept(event, session)
	}
	w.WriteHeader(response.StatusCode)
}

// received returns the ids of an event, in either form, and of its session. It notes the partner of a thin event.
func (b *balancer) received(body []byte) (event, session string) {
	var e struct {
		ID            string
		Data          struct{ Object struct{ ID string } }
		RelatedObject struct{ ID string } `json:"related_object"`
		SnapshotEvent string              `json:"snapshot_event"`
	}
	_ = json.Unmarshal(body, &e)
	if e.SnapshotEvent != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.partners[e.ID], b.partners[e.SnapshotEvent] = e.SnapshotEvent, e.ID
	}
	return e.ID, e.Data.Object.ID + e.RelatedObject.ID // one of the two is empty
}

// isKept returns whether one of the events in a history is this event, in either form.
func (b *balancer) isKept(event string, history map[string]bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	partner, named := b.partners[event]
	return history[event] || named && history[partner]
}

func (b *balancer) hasAcknowledged(event string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acknowledged[event]
}

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
	response, err := b.client.Do(request)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_, _ = rig.ReadAll(response)
	if response.StatusCode == http.StatusOK {
		var event struct {
			ID   string
			Data struct{ Object struct{ ID string } }
		}
		_ = json.Unmarshal(body, &event)
		b.kept(event.ID, event.Data.Object.ID)
		b.mu.Lock()
		b.acknowledged[event.ID] = true
		b.mu.Unlock()
	}
	w.WriteHeader(response.StatusCode)
}

func (b *balancer) hasAcknowledged(event string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acknowledged[event]
}

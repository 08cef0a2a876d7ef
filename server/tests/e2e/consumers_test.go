package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/tests/rig"
)

// consumer watches a reference as a program does that uses this service, and resumes by itself. Its revisions must have no
// hole and no repeat, whatever happens to its connections.
type consumer struct {
	name      string
	revisions chan int32
	breaks    func() int // how often it lost a stream
}

// want waits for the next revision of the consumer, which must be the given one.
func (c *consumer) want(t *testing.T, revision int32) {
	t.Helper()
	select {
	case got := <-c.revisions:
		if got != revision {
			t.Fatalf("%s: revision %d; want %d", c.name, got, revision)
		}
	case <-time.After(rig.Soon):
		t.Fatalf("%s: waited %v for revision %d", c.name, rig.Soon, revision)
	}
}

// watchWithGo is the Go client at an address, until the test ends.
func watchWithGo(t *testing.T, name, target, reference string, options ...client.WatchOption) *consumer {
	t.Helper()
	dialed, err := client.Dial(target, client.WithPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	return watchWith(t, dialed, name, reference, options...)
}

func watchWith(t *testing.T, dialed *client.Client, name, reference string, options ...client.WatchOption) *consumer {
	t.Helper()
	var breaks atomic.Int64
	c := &consumer{name: name, revisions: make(chan int32, 1000), breaks: func() int { return int(breaks.Load()) }}
	options = append(options, client.OnInterruption(func(error, time.Duration) { breaks.Add(1) }))
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for update, err := range dialed.Watch(ctx, client.Reference(reference), options...) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("%s: the watch ended: %v", name, err)
				}
				return
			}
			c.revisions <- update.Verification.GetRevision()
		}
	}()
	t.Cleanup(func() {
		cancel()
		await.One(t, watched)
		_ = dialed.Close()
	})
	return c
}

// watchWithNode is the npm package at an address, in a program of a company, until the test ends.
func watchWithNode(t *testing.T, name, target, reference string, env ...string) *consumer {
	t.Helper()
	program, err := os.ReadFile(filepath.Join("testdata", "watch.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "--input-type=module", "--eval", string(program))
	cmd.Dir = rig.BuildNodeClient(t)
	cmd.Env = append(append(os.Environ(), "TARGET="+target, "REFERENCE="+reference), env...)
	p := rig.Begin(t, cmd)
	c := &consumer{name: name, revisions: make(chan int32, 1000), breaks: func() int { return strings.Count(p.Stderr.String(), "resuming: ") }}
	stop, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		readUpdates(t, p, c, stop)
	}()
	t.Cleanup(func() {
		close(stop)
		await.One(t, read)
		// An ingress's page, read as a gRPC message, has letters for its length: no limit of the server's is reached.
		wrote := strings.ReplaceAll(p.Stderr.String(), "RESOURCE_EXHAUSTED Received message larger than max", "a page")
		for _, sign := range []string{"ENHANCE_YOUR_CALM", "too_many_pings", "Bandwidth exhausted", "RESOURCE_EXHAUSTED", "Node.js v"} {
			if strings.Contains(wrote, sign) {
				t.Errorf("%s wrote %q:\n%s", name, sign, rig.Tail(p.Stderr.String()))
			}
		}
	})
	return c
}

// readUpdates sends the revisions that a watch.mjs writes, until it ends or stop is closed. There must be no reset.
func readUpdates(t *testing.T, p *rig.Process, c *consumer, stop <-chan struct{}) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for read := 0; ; {
		lines := strings.SplitAfter(p.Stdout.String(), "\n")
		for ; read < len(lines)-1; read++ { // the last one has no end yet
			var update struct {
				Revision int32
				Reset    bool
			}
			if err := json.Unmarshal([]byte(lines[read]), &update); err != nil || update.Reset {
				t.Errorf("%s wrote %q, %v", c.name, lines[read], err)
			}
			c.revisions <- update.Revision
		}
		select {
		case <-stop:
			return
		case <-p.Ended:
			t.Errorf("%s ended: %s", c.name, rig.Tail(p.Stderr.String()))
			return
		case <-ticker.C:
		}
	}
}

// withReference gives events a reference.
func withReference(reference string, events []rig.Event) []rig.Event {
	for i, e := range events {
		events[i].Body = bytes.Replace(e.Body, []byte(`"client_reference_id":null`), []byte(`"client_reference_id":"`+reference+`"`), 1)
	}
	return events
}

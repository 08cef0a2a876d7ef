package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
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

// nodeProgram is the example for Node, laid out as in the repository and installed.
func nodeProgram(t *testing.T) (dir string) {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "api"), os.DirFS(rig.Path("api"))); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(root, "client", "example", "node-bff")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	rig.InstallNode(t, dir, rig.Path("client", "example", "node-bff"))
	return dir
}

var nodeListens = regexp.MustCompile(`listening on (\d+)`)

// startNode runs the example for Node against a server.
func startNode(t *testing.T, dir, target string, env ...string) (p *rig.Process, url string) {
	t.Helper()
	cmd := exec.Command("node", "bff.mjs")
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "PORT=0", "VERIFICATION_STATUS="+target), env...)
	p = rig.Begin(t, cmd)
	p.Await("Node listens", func() bool { return nodeListens.MatchString(p.Stdout.String()) })
	return p, "http://127.0.0.1:" + nodeListens.FindStringSubmatch(p.Stdout.String())[1] + "/events"
}

// watchWithNode is the example for Node, with a browser that follows its events.
func watchWithNode(t *testing.T, dir, name, target, reference string, env ...string) *consumer {
	t.Helper()
	p, url := startNode(t, dir, target, env...)
	c := &consumer{name: name, revisions: make(chan int32, 1000), breaks: func() int { return strings.Count(p.Stderr.String(), "resuming: ") }}
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan struct{})
	go func() {
		defer close(read)
		if err := readEvents(ctx, rig.NewHTTPClient(t), url, reference, c.revisions); err != nil && ctx.Err() == nil {
			t.Errorf("%s: the browser's stream ended: %v", name, err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		await.One(t, read)
		// An ingress's page, read as a gRPC message, has letters for its length: no limit of the server's is reached.
		wrote := strings.ReplaceAll(p.Stderr.String(), "RESOURCE_EXHAUSTED: Received message larger than max", "a page")
		for _, sign := range []string{"ENHANCE_YOUR_CALM", "too_many_pings", "RESOURCE_EXHAUSTED", "ended: ", "Node.js v"} {
			if strings.Contains(wrote, sign) {
				t.Errorf("%s wrote %q:\n%s", name, sign, rig.Tail(p.Stderr.String()))
			}
		}
	})
	return c
}

// readEvents is the browser of a person. It sends the revisions that it is shown.
func readEvents(ctx context.Context, web *http.Client, url, person string, revisions chan<- int32) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.AddCookie(&http.Cookie{Name: "person", Value: person})
	web.Timeout = 0
	response, err := web.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		data, found := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		var shown struct{ Revision int32 }
		if found && json.Unmarshal(data, &shown) == nil && shown.Revision > 0 { // else "live" or "stale"
			revisions <- shown.Revision
		}
	}
	return lines.Err()
}

// checkNodeRefuses: the example shows nothing to a browser without a person. A browser with an invalid token gets a reset.
func checkNodeRefuses(t *testing.T, dir, target, person string) {
	t.Helper()
	p, url := startNode(t, dir, target)
	web := rig.NewHTTPClient(t)
	for _, c := range []struct {
		path, cookie, token string
		status              int
		body                string
	}{
		{"", "", "", http.StatusUnauthorized, ""},
		{"", "another=" + person, "", http.StatusUnauthorized, ""},
		{"?person=" + person, "", "", http.StatusNotFound, ""},
		{"", "person=" + person, "garbage", http.StatusOK, "retry: 2000\n\nevent: reset\nid:\ndata: {}\n\n"},
		{"", "person=nobody", "", http.StatusOK, "retry: 2000\n\nevent: reset\nid:\ndata: {}\n\n"},
	} {
		request, err := http.NewRequestWithContext(rig.Within(t, rig.Soon), http.MethodGet, url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Cookie", c.cookie)
		request.Header.Set("Last-Event-ID", c.token)
		response, err := web.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := rig.ReadAll(response); err != nil || response.StatusCode != c.status || body != c.body {
			t.Errorf("%+v: %s %q, %v", c, response.Status, body, err)
		}
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Exit(rig.Soon); code != 0 {
		t.Errorf("Node ended with %d", code)
	}
}

// withReference gives events a reference.
func withReference(reference string, events []rig.Event) []rig.Event {
	for i, e := range events {
		events[i].Body = bytes.Replace(e.Body, []byte(`"client_reference_id":null`), []byte(`"client_reference_id":"`+reference+`"`), 1)
	}
	return events
}

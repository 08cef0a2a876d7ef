package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/testing/address"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// ingress is a proxy of a server. Each option that concerns streams has the proxy's own default.
type ingress struct {
	*rig.Process
	addr, dir string
}

const ingressNginx = `
daemon off;
pid nginx.pid;
user root;
worker_processes 1;
worker_rlimit_nofile 16384;
worker_shutdown_timeout 200ms;
error_log stderr crit;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server { listen %s http2; %s }
}
`

const ingressHAProxy = `
global
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 5m
  timeout server 5m
frontend callers
  bind %s proto h2
  default_backend service
backend service
  server one %s proto h2
`

func (f *ingress) start(t *testing.T, cmd *exec.Cmd) *ingress {
	t.Helper()
	f.Process = rig.Begin(t, cmd)
	f.Await(cmd.Path+" listens", func() bool {
		conn, err := net.Dial("tcp", f.addr)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	return f
}

// startIngressNginx runs nginx with the given locations, until the test ends.
func startIngressNginx(t *testing.T, locations string) *ingress {
	t.Helper()
	f := &ingress{addr: address.Free(t), dir: t.TempDir()}
	nginx := rig.NeedProgram(t, "nginx")
	f.configure(t, locations)
	f.start(t, exec.Command(nginx, "-p", f.dir, "-c", "nginx.conf", "-e", "stderr"))
	t.Cleanup(func() { // its worker is a process of its own, which a killed master would leave
		f.Signal(syscall.SIGTERM)
		f.Exit(rig.Soon)
	})
	return f
}

func (f *ingress) configure(t *testing.T, locations string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, "nginx.conf"), fmt.Appendf(nil, ingressNginx, f.addr, locations), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload has nginx take other locations. Streams that are open end within a second.
func (f *ingress) reload(t *testing.T, locations string) {
	t.Helper()
	f.configure(t, locations)
	f.Signal(syscall.SIGHUP)
}

func passTo(addr string) string {
	return "location / { grpc_pass grpc://" + addr + "; grpc_read_timeout 300s; }"
}

// startHAProxy runs HAProxy before a server, until the test ends. more is a continuation of its configuration, in the section backend.
func startHAProxy(t *testing.T, upstream, more string) *ingress {
	t.Helper()
	f := &ingress{addr: address.Free(t), dir: t.TempDir()}
	config := filepath.Join(f.dir, "haproxy.cfg")
	if err := os.WriteFile(config, fmt.Appendf(nil, ingressHAProxy+more, f.addr, upstream), 0o600); err != nil {
		t.Fatal(err)
	}
	return f.start(t, exec.Command(rig.NeedProgram(t, "haproxy"), "-f", config, "-db"))
}

// dialClient is the Go client at an address, until the test ends.
func dialClient(t *testing.T, addr string, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.Dial(addr, append(options, client.WithPlaintext())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// medianStatus is how long a Status call takes, as the median of many one after the other.
func medianStatus(t *testing.T, c *client.Client) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rig.Soon)
	defer cancel()
	var took []time.Duration
	for range 50 {
		began := time.Now()
		if _, err := c.Status(ctx, client.Session("vs_many")); err != nil {
			t.Fatalf("a Status call: %v", err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// TestManyWatchesOfOneProgramThroughAProxy: nginx lets a connection carry 128 streams and opens one to the server
// for each; HAProxy lets it carry 100. The watches of one Go program are all served and see a change, more of
// them than the server's limit of connections once was, and its Status calls are as quick as before.
func TestManyWatchesOfOneProgramThroughAProxy(t *testing.T) {
	const watches = 1200
	p := rig.Serve(t, rig.Settings(redistest.Start(t).Addr))
	sender, events := rig.NewHTTPClient(t), rig.Tries("vs_many", 3)
	rig.Deliver(t, sender, p.Webhook, events[0])
	for i, test := range []struct {
		name  string
		start func() *ingress
	}{
		{"nginx", func() *ingress { return startIngressNginx(t, passTo(p.GRPC)) }},
		{"HAProxy", func() *ingress { return startHAProxy(t, p.GRPC, "") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dialClient(t, test.start().addr)
			alone := medianStatus(t, c)
			ctx, cancel := context.WithCancel(t.Context())
			var watching sync.WaitGroup
			defer watching.Wait()
			defer cancel()
			seen, interrupted := make(chan int32, 2*watches), make(chan error, watches)
			note := client.OnInterruption(func(err error, _ time.Duration) {
				select {
				case interrupted <- err:
				default:
				}
			})
			for range watches {
				watching.Go(func() {
					for update, err := range c.Watch(ctx, client.Session("vs_many"), note) {
						if err == nil {
							seen <- update.Verification.GetRevision()
						}
					}
				})
			}
			everyone := func(revision int32) {
				t.Helper()
				for n := range watches {
					select {
					case got := <-seen:
						if got != revision {
							t.Fatalf("revision %d; want %d", got, revision)
						}
					case err := <-interrupted:
						t.Fatalf("a watch was interrupted: %v", err)
					case <-time.After(rig.Soon):
						t.Fatalf("%d of %d watches saw revision %d", n, watches, revision)
					}
				}
			}
			began := time.Now()
			everyone(int32(i + 1))
			t.Logf("%d watches were served within %v", watches, time.Since(began))
			beside := medianStatus(t, c)
			t.Logf("a Status call took %v alone, %v beside them", alone, beside)
			if beside > 3*alone+20*time.Millisecond {
				t.Errorf("a Status call took %v alone, and %v beside %d watches", alone, beside, watches)
			}
			rig.Deliver(t, sender, p.Webhook, events[i+1])
			everyone(int32(i + 2))
		})
	}
}

// TestG5_WatchesOutliveAnIngressThatAnswersByItself: for a moment nginx has no route to the service, refuses, is broken or
// shows a page. Watches of both clients survive each of these, and their logs show no page.
func TestG5_WatchesOutliveAnIngressThatAnswersByItself(t *testing.T) {
	t.Parallel() // it mostly waits
	p := rig.Serve(t, rig.Settings(redistest.Start(t).Addr))
	sender, events := rig.NewHTTPClient(t), withReference("user-12", rig.Tries("vs_Routed", 2))
	rig.Deliver(t, sender, p.Webhook, events[0])
	f := startIngressNginx(t, passTo(p.GRPC))
	c := dialClient(t, f.addr, client.WithBackoff(10*time.Millisecond, 200*time.Millisecond))
	all := []*consumer{
		watchWith(t, c, "Go", "user-12"),
		watchWithNode(t, "Node", f.addr, "user-12", "BACKOFF=200", "HEARTBEAT=5000"),
	}
	for _, c := range all {
		c.want(t, 1)
	}
	for _, answer := range []string{"404", "403", "401", "400", "429", "500", "502", "503", "302 http://127.0.0.1:9/", `200 "<html>sorry</html>"`} {
		f.reload(t, "default_type text/html; location / { return "+answer+"; }")
		for _, c := range all {
			before := c.breaks() // the cut of the stream is one break; the answer is the next
			rig.Await(t, c.name+" meets "+answer, func() bool { return c.breaks() >= before+2 })
		}
		_, err := c.Retry(t.Context(), "vs_Routed")
		if err == nil || strings.ContainsAny(err.Error(), "<\n") {
			t.Errorf("%s: a call's error is %q; want one without the page", answer, fmt.Sprint(err))
		}
	}
	f.reload(t, passTo(p.GRPC))
	rig.Deliver(t, sender, p.Webhook, events[1])
	for _, c := range all {
		c.want(t, 2)
	}
}

// TestIngressThatPassesTheServiceAlone: the path of the health service is refused or not there. Calls work.
func TestIngressThatPassesTheServiceAlone(t *testing.T) {
	t.Parallel() // it mostly waits
	p := rig.Serve(t, rig.Settings(redistest.Start(t).Addr))
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, rig.Tries("vs_many", 2)[0])
	for _, answer := range []string{"403", "404", "503"} {
		f := startIngressNginx(t, "location /verification.v1.VerificationService/ { grpc_pass grpc://"+p.GRPC+"; } location / { return "+answer+"; }")
		medianStatus(t, dialClient(t, f.addr))
	}
}

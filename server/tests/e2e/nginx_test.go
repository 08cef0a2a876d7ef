package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/server/internal/testing/address"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// nginxPatience is how long this proxy lets a stream be silent. Heartbeats come every 5 s at the most.
const nginxPatience = 8 * time.Second

const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream service { %s keepalive 1000; }
  server {
    listen %s http2;
    location / { grpc_pass grpc://service; grpc_read_timeout %ds; }
  }
}
`

// startNginx runs Debian's nginx as a proxy of a server, until the test ends.
func startNginx(t *testing.T, upstream string) (addr string) {
	t.Helper()
	return startNginxBefore(t, []string{upstream})
}

// startNginxBefore is startNginx for several servers. nginx must not leave a server out for ten seconds after one failed connection: while
// servers are restarted it would leave out all of them, again and again.
func startNginxBefore(t *testing.T, upstreams []string) (addr string) {
	t.Helper()
	program := rig.NeedProgram(t, "nginx")
	addr = address.Free(t)
	dir := t.TempDir()
	config := fmt.Sprintf(nginxConfig, "server "+strings.Join(upstreams, " max_fails=0; server ")+" max_fails=0;", addr, int(nginxPatience.Seconds()))
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := rig.Begin(t, exec.Command(program, "-p", dir, "-c", "nginx.conf", "-e", "stderr"))
	p.Await("nginx listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
	return addr
}

// TestProxyThatCutsSilentStreams: nginx cuts streams that are silent for eight seconds. Streams with a heartbeat last, in
// Go and in Node. Streams without one are cut and resume: nothing is missed and nothing comes twice, also when the server
// behind the proxy is replaced.
func TestProxyThatCutsSilentStreams(t *testing.T) {
	t.Parallel() // it mostly waits
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr))
	nginx, sender := startNginx(t, p.GRPC), rig.NewHTTPClient(t)
	events := withReference("user-7", rig.Tries("vs_Proxied", 3))
	rig.Deliver(t, sender, p.Webhook, events[0])

	beating := []*consumer{
		watchWithGo(t, "Go with a heartbeat", nginx, "user-7", client.Heartbeat(5*time.Second)),
		watchWithNode(t, "Node with a heartbeat", nginx, "user-7", "HEARTBEAT=5000"),
	}
	silent := []*consumer{
		watchWithGo(t, "Go without", nginx, "user-7", client.Heartbeat(time.Minute)),
		watchWithNode(t, "Node without", nginx, "user-7", "HEARTBEAT=60000"),
	}
	all := append(beating, silent...)
	for _, c := range all {
		c.want(t, 1)
	}
	// The cuts are the clock of this test: when the silent streams are cut, the others could have been cut too.
	for _, c := range silent {
		for ends := 1; ends <= 2; ends++ {
			rig.Await(t, c.name+" is cut", func() bool { return c.breaks() >= ends })
		}
	}
	for _, c := range beating {
		if n := c.breaks(); n != 0 {
			t.Errorf("%s: cut %d times", c.name, n)
		}
	}
	rig.Deliver(t, sender, p.Webhook, events[1])
	for _, c := range all {
		c.want(t, 2)
	}
	p = restart(t, p, redis.Addr)
	rig.Deliver(t, sender, p.Webhook, events[2])
	for _, c := range all {
		c.want(t, 3)
		if len(c.revisions) > 0 {
			t.Errorf("%s: more than was sent: revision %d", c.name, <-c.revisions)
		}
	}
}

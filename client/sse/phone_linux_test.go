package sse

import (
	"bufio"
	"context"
	"flag"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

var namespace = flag.Bool("sse.namespace", false, "test with a phone that changes its network: needs root, unshare, ip and curl, and takes a minute")

const inNamespace = "SSE_TEST_IN_NAMESPACE"

// TestPhonesThatVanish: eight streams of one user are open when their phone gets another address, so that packets to it are lost
// without a FIN. A new stream of the user is served at once, and the dead streams end within a minute.
func TestPhonesThatVanish(t *testing.T) {
	if !*namespace {
		t.Skip("it needs root, unshare, ip and curl: apt-get install util-linux iproute2 curl, then go test -count=1 ./client/sse -sse.namespace")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if os.Getenv(inNamespace) == "" { // a network of its own: nothing outside is touched
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(ctx, "unshare", "-n", "-m", self, "-sse.namespace", "-test.v", "-test.run", "^TestPhonesThatVanish$")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	sh := func(script string) {
		t.Helper()
		if out, err := exec.CommandContext(ctx, "sh", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", script, err, out)
		}
	}
	sh(`ip link set lo up
mkdir -p /run/netns; mount -t tmpfs none /run/netns
ip netns add phone
ip link add v0 type veth peer name v1
ip link set v1 netns phone
ip addr add 10.99.0.1/24 dev v0; ip link set v0 up
ip netns exec phone ip addr add 10.99.0.2/24 dev v1; ip netns exec phone ip link set v1 up
ip neigh replace 10.99.0.2 lladdr $(ip netns exec phone cat /sys/class/net/v1/address) dev v0 nud permanent`)
	backend := clienttest.New(t)
	s := &site{backend: backend}
	s.set(requiresInput)
	ended := make(chan struct{}, 100)
	handler := &Handler{Client: backend.Client(), Authorize: func(*http.Request) (Viewer, error) {
		return Viewer{User: "ada", Subject: client.Session("vs_1")}, nil
	}}
	listener, err := net.Listen("tcp", "10.99.0.1:7000")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ConnContext: ConnContext, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(rw, r)
		ended <- struct{}{}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	phone := func() {
		t.Helper()
		cmd := exec.CommandContext(ctx, "ip", "netns", "exec", "phone", "curl", "-sN", "http://10.99.0.1:7000/")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			switch {
			case err != nil || strings.HasPrefix(line, "event: busy"):
				t.Fatalf("the phone reads %q, %v; want a status", line, err)
			case strings.HasPrefix(line, "event: status"):
				return
			}
		}
	}
	const streams = 8
	for range streams {
		phone()
	}
	sh(`ip netns exec phone ip addr del 10.99.0.2/24 dev v1; ip netns exec phone ip addr add 10.99.0.3/24 dev v1`)
	vanished := time.Now()
	phone()
	t.Logf("served again %v after the network changed", time.Since(vanished).Round(time.Millisecond))
	for n := range streams {
		select {
		case <-ended:
			t.Logf("stream %d ended %v after the network changed", n+1, time.Since(vanished).Round(time.Second))
		case <-time.After(time.Minute - time.Since(vanished)):
			t.Fatalf("after a minute %d of %d dead streams have ended", n, streams)
		}
	}
}

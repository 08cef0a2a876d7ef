package recovery

import (
	"strings"
	"syscall"
	"testing"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/tests/rig"
)

// installation is a machine with Redis, a simulated Stripe, and two servers.
type installation struct {
	*machine
	stripe  *rig.FakeStripe
	env     []string
	servers []*rig.Process
	clients []verificationv1.VerificationServiceClient
}

func install(t *testing.T, stripe *rig.FakeStripe, more ...string) *installation {
	t.Helper()
	m := newMachine(t)
	return &installation{machine: m, stripe: stripe, env: stripe.Settings(m.addr, more...)}
}

// start does what the block that starts the servers does. It returns when they are ready.
func (i *installation) start() {
	i.t.Helper()
	i.wantBlock("start", "kubectl scale deploy/verification-status --replicas=3\nkubectl rollout status deploy/verification-status --timeout=5m\n")
	i.servers, i.clients = nil, nil
	for range 2 {
		i.servers = append(i.servers, rig.Launch(i.t, i.env, "serve"))
	}
	for _, server := range i.servers {
		i.clients = append(i.clients, rig.ClientOf(i.t, rig.AwaitServing(server)))
	}
}

// stop does what the block that stops the servers does.
func (i *installation) stop() {
	i.t.Helper()
	i.wantBlock("stop", "kubectl scale deploy/verification-status --replicas=0\n"+
		"kubectl wait pod --for=delete -l app.kubernetes.io/name=verification-status --timeout=2m\n")
	for _, server := range i.servers {
		server.Signal(syscall.SIGTERM)
	}
	for _, server := range i.servers {
		if code := server.Exit(40 * time.Second); code != 0 {
			i.t.Fatalf("a server ended with %d", code)
		}
	}
}

// wantBlock checks that a block has the commands that the test does in another way, since it has no Kubernetes.
func (i *installation) wantBlock(section, want string) {
	i.t.Helper()
	if got := document.Code(i.t, page, section); got != want {
		i.t.Fatalf("the block %s of %s is\n%s\nwant\n%s", section, page, got, want)
	}
}

// command runs the one command of a block, which is a command of the server, and returns what it printed.
func (i *installation) command(section string) string {
	i.t.Helper()
	words := strings.Fields(document.Code(i.t, page, section))
	if len(words) < 2 || words[0] != "server" {
		i.t.Fatalf("the block %s of %s is %q", section, page, words)
	}
	p := rig.Launch(i.t, i.env, words[1:]...)
	if code := p.Exit(30 * time.Minute); code != 0 {
		i.t.Fatalf("%v ended with %d:\n%s%s", words, code, p.Stdout.String(), p.Stderr.String())
	}
	return p.Stdout.String()
}

// awaitCaughtUp waits until a catch-up of the servers is done.
func (i *installation) awaitCaughtUp(within time.Duration) {
	i.t.Helper()
	i.servers[0].AwaitWithin(within, "a catch-up is done", func() bool {
		for _, server := range i.servers {
			if strings.Contains(server.Stderr.String(), `"msg":"catch-up: done"`) {
				return true
			}
		}
		return false
	})
}

package browser

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// site builds one of the examples that have the page, and returns the command that starts it.
type site func(t *testing.T) (command []string)

// withEachSite runs a test with each example as a subtest.
func withEachSite(t *testing.T, test func(*testing.T, site)) {
	t.Parallel()
	for name, program := range map[string]site{"Go": goSite, "Node": nodeSite} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			test(t, program)
		})
	}
}

func goSite(t *testing.T) []string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bff")
	build := exec.Command("go", "build", "-o", program, "./client/example/bff")
	build.Dir = rig.Path()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return []string{program}
}

// nodeSite builds the example for Node in a fresh clone, by the commands of its README.
func nodeSite(t *testing.T) []string {
	t.Helper()
	root := t.TempDir()
	rig.CloneNode(t, root)
	dir := filepath.Join(root, "client", "example", "node-bff")
	rig.NPM(t, dir, "ci")
	rig.NPM(t, dir, "run", "build")
	return []string{"node", filepath.Join(dir, "dist", "main.js")}
}

// pageServer is an example with the page. It uses a server and a simulated Stripe.
type pageServer struct {
	t       *testing.T
	command []string
	env     []string
	url     string
	running *rig.Process
}

func newPageServer(t *testing.T, command []string, status, stripe string) *pageServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	return &pageServer{t: t, command: command, url: "http://" + addr, env: append(os.Environ(),
		"BFF_ADDR="+addr, "VERIFICATION_STATUS="+status, "STRIPE_API_BASE="+stripe,
		"STRIPE_API_KEY="+rig.APIKey, "BFF_COOKIE_KEY=0123456789abcdef0123456789abcdef")}
}

func (s *pageServer) start() {
	s.t.Helper()
	cmd := exec.Command(s.command[0], s.command[1:]...)
	cmd.Env = s.env
	s.running = rig.Begin(s.t, cmd)
	s.running.Await("the page's server listens", func() bool { return strings.Contains(s.running.Stderr.String(), s.url) })
}

package deploy

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
)

const webhookSecret = "whsec_0123456789abcdefghijklmnopqrstuv"

// nobody is the user of the image and of the pod.
const nobody = 65532

// shipped builds the program with the script that builds it for production.
func shipped(t *testing.T, out string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	build(t, root, out)
}

// output is the text that a process has written. It can be read while the process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// replica is a running server.
type replica struct {
	log                  output
	stop                 func() // sends SIGTERM and waits; the end of the test does so too
	grpc, webhook, admin string // host:port
}

// serve starts a server on free ports. Its environment has only these settings.
func serve(t *testing.T, cmd *exec.Cmd, settings ...string) *replica {
	t.Helper()
	cmd.Env = append([]string{
		"GRPC_ADDR=127.0.0.1:0", "WEBHOOK_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0",
		"STRIPE_WEBHOOK_SECRET=" + webhookSecret,
	}, settings...)
	return start(t, cmd)
}

// start starts a server and waits until it listens. The server ends with the test.
func start(t *testing.T, cmd *exec.Cmd) *replica {
	t.Helper()
	r := &replica{}
	cmd.Stderr = &r.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	r.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(soon):
			t.Error("the server does not stop")
			_ = cmd.Process.Kill()
			<-ended
		}
	}
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			text := r.log.String()
			t.Logf("the server wrote:\n…%s", text[max(0, len(text)-6000):])
		}
	})
	await(t, "the server listens", func() bool {
		for line := range strings.Lines(r.log.String()) {
			var entry struct{ Msg, GRPC, Webhook, Admin string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
				r.grpc, r.webhook, r.admin = entry.GRPC, entry.Webhook, entry.Admin
				return true
			}
		}
		select {
		case <-ended:
			t.Fatal("the server has ended")
		default:
		}
		return false
	})
	return r
}

// ready returns the status and the text of /readyz.
func (r *replica) ready(t *testing.T) (status int, text string) {
	t.Helper()
	return get(t, "http://"+r.admin+"/readyz")
}

func get(t *testing.T, url string) (status int, text string) {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(body.String())
}

// TestProgramRunsAlone: the program runs as the user nobody, in a root folder that has no other file and cannot be written, as in
// the image. If the test has no right to change the root, the program runs in its own folder.
func TestProgramRunsAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("it links the server; without -short: go test -count=1 ./server/deploy")
	}
	redis := redistest.Start(t)
	root := t.TempDir()
	program := filepath.Join(root, "server")
	shipped(t, program)
	if err := os.Chmod(root, 0o555); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) *exec.Cmd {
		if os.Geteuid() != 0 {
			return exec.Command(program, args...)
		}
		cmd := exec.Command("/server", args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd
	}
	if licenses, err := command("licenses").Output(); err != nil || !bytes.Contains(licenses, []byte("github.com/redis/go-redis/v9 ")) {
		t.Errorf("licenses: error %v, %d bytes without go-redis", err, len(licenses))
	}
	r := serve(t, command("serve"), "REDIS_URL=redis://"+redis.Addr)
	healthy := func() error {
		check := command("healthcheck")
		check.Env = []string{"ADMIN_ADDR=" + r.admin}
		return check.Run()
	}
	await(t, "exit code 0 of healthcheck", func() bool { return healthy() == nil })
	redis.Stop()
	await(t, "another exit code without Redis", func() bool { return healthy() != nil })
	if files, err := os.ReadDir(root); err != nil || len(files) != 1 {
		t.Errorf("it left files: %v %v", files, err)
	}
}

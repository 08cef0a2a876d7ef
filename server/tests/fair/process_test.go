package fair

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
)

// soon bounds a wait for something that takes milliseconds on a quiet machine.
const soon = 30 * time.Second

// programs are the server and the example BFF, built once for all tests of the package.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

func program(t *testing.T, name string) string {
	t.Helper()
	if *built != "" {
		return filepath.Join(*built, name)
	}
	programs.once.Do(func() { programs.dir, programs.err = buildPrograms() })
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return filepath.Join(programs.dir, name)
}

func removePrograms() {
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
}

// buildPrograms uses the race detector where this test does: its packages are compiled already then.
func buildPrograms() (dir string, err error) {
	dir, err = os.MkdirTemp("", "fair")
	if err != nil {
		return "", err
	}
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "-race" && setting.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	build := exec.Command("go", append(args, "./server", "./client/example/bff")...)
	build.Dir = filepath.Join("..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return dir, errors.Join(err, errors.New(string(out)))
	}
	return dir, nil
}

// output collects the text that a process writes. It can be read meanwhile.
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

// process is a program under way. It ends with the test.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr output
	ended          chan struct{}
}

// begin starts a program with this environment alone.
func begin(t *testing.T, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		for _, sign := range []string{"DATA RACE", "panic: "} {
			if strings.Contains(p.stderr.String(), sign) {
				t.Errorf("%s wrote %q:\n%s", filepath.Base(path), sign, tail(p.stderr.String()))
			}
		}
	})
	return p
}

func tail(text string) string { return text[max(0, len(text)-3000):] }

// kill ends the process by its id, if it has not ended, and waits.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	select {
	case <-p.ended:
	case <-time.After(soon):
		p.t.Errorf("%v has not ended %v after SIGKILL", p.cmd.Args, soon)
	}
}

// await asks every few milliseconds until it is done. A process that has ended can do no more.
func (p *process) await(what string, done func() bool) {
	p.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(soon); !done(); <-ticker.C {
		select {
		case <-p.ended:
			p.t.Fatalf("waiting for this: %s: the process has ended: %s", what, tail(p.stderr.String()))
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("waited %v for this: %s: %s", soon, what, tail(p.stderr.String()))
		}
	}
}

// finish closes the input, which asks an attacker to end. It kills an attacker that does not end in time.
func (p *process) finish() {
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(soon):
		p.t.Error("the attacker did not end by itself")
		p.kill()
	}
}

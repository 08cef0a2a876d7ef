package mailer

import (
	"errors"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

func TestMain(m *testing.M) {
	rig.Main(m, rig.Room{LeftOut: "the example mailer, killed at each step: go test -count=1 ./server/tests/mailer"})
}

// build uses the race detector where this test does: its packages are compiled already then.
func build(path string) error {
	args := []string{"test", "-c", "-o", path}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "-race" && setting.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	command := exec.Command("go", append(args, "./client/example/mailer")...)
	command.Dir = rig.Path()
	if out, err := command.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return nil
}

// instance is a mailer. A test arms it with a step, at which it kills itself.
type instance struct {
	*rig.Process
	mu    sync.Mutex
	armed string
}

func launch(t *testing.T, program string, args ...string) *instance {
	t.Helper()
	command := exec.Command(program, args...)
	command.Env = []string{"MAILER_TEST_IS_MAILER=1", "PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "GORACE=atexit_sleep_ms=0"}
	return &instance{Process: rig.Begin(t, command)}
}

// arm names the step at which the instance kills itself; empty: at none.
func (i *instance) arm(step string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if step != "" {
		i.armed = step // it can kill itself before it reads that it must not
	}
	_, _ = i.Stdin.Write([]byte(step + "\n")) // it fails if the instance has just killed itself
}

// armedWith returns the step with which the instance was armed last.
func (i *instance) armedWith() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.armed
}

// hasEnded reports whether the process has ended.
func (i *instance) hasEnded() bool {
	select {
	case <-i.Ended:
		return true
	default:
		return false
	}
}

package fair

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/tests/rig"
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
	build.Dir = rig.Path()
	if out, err := build.CombinedOutput(); err != nil {
		return dir, errors.Join(err, errors.New(string(out)))
	}
	return dir, nil
}

// begin starts a program with this environment alone. It ends with the test.
func begin(t *testing.T, env []string, path string, args ...string) *rig.Process {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}, env...)
	return rig.Begin(t, cmd)
}

// finish closes the input of an attacker, which asks it to end. It kills an attacker that does not end in time.
func finish(attacker *rig.Process) {
	_ = attacker.Stdin.Close()
	select {
	case <-attacker.Ended:
	case <-time.After(soon):
		attacker.T.Error("the attacker did not end by itself")
		attacker.Kill()
	}
}

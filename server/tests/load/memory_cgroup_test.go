//go:build load

package load

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// cgroup is a group of processes whose memory the kernel limits, by version 1 or 2 of its interface.
type cgroup struct {
	dir              string
	max, hits, kills string // files: the greatest use in bytes, how often the limit was met, and the kills
}

// newCgroup makes a group with a limit, until the test ends. It skips the test if this machine does not allow it.
func newCgroup(t *testing.T, limit int64) *cgroup {
	t.Helper()
	const root = "/sys/fs/cgroup"
	name := fmt.Sprintf("verification-status-test-%d", os.Getpid())
	g := &cgroup{filepath.Join(root, "memory", name), "memory.max_usage_in_bytes", "memory.failcnt", "memory.oom_control"}
	limits := []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"} // the second one counts swap too
	value := strconv.FormatInt(limit, 10)
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		g = &cgroup{filepath.Join(root, name), "memory.peak", "memory.events", "memory.events"}
		limits = []string{"memory.max", "memory.swap.max"}
		_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0o600)
	}
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		t.Skipf("this machine lets no test limit the memory of a process: %v; run it as root, with a cgroup file system that can be written", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			most, hits, kills := g.use(t)
			t.Logf("the group had at most %s, met its limit %d times, and lost %d processes", mB(most), hits, kills)
		}
		rig.Await(t, "the group is empty, and is removed", func() bool { return os.Remove(g.dir) == nil })
	})
	for n, file := range limits {
		path, text := filepath.Join(g.dir, file), value
		if file == "memory.swap.max" {
			text = "0"
		}
		err := os.WriteFile(path, []byte(text), 0o600)
		if n > 0 && errors.Is(err, fs.ErrNotExist) {
			continue // a kernel that does not count swap
		}
		if file == "memory.memsw.limit_in_bytes" {
			g.hits = "memory.memsw.failcnt" // of two equal limits this one is met first
		}
		if err != nil {
			t.Skipf("this machine does not let a test limit memory: %v", err)
		}
	}
	return g
}

// command returns a command that runs in the group from its first instruction on.
func (g *cgroup) command(program string, args ...string) *exec.Cmd {
	return exec.Command("/bin/sh", append([]string{"-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.dir, "cgroup.procs"), program}, args...)...)
}

// number returns a number of a file: its only one, or the one behind a name.
func (g *cgroup) number(t *testing.T, file, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		key, value, two := strings.Cut(strings.TrimSpace(line), " ")
		if !two {
			key, value = "", key
		}
		if !two || key == name {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %q:\n%s", file, name, text)
	return 0
}

// use returns the greatest use of memory so far in bytes, how often the limit was met, and how many processes were killed for it.
func (g *cgroup) use(t *testing.T) (most, hits, kills int64) {
	t.Helper()
	return g.number(t, g.max, ""), g.number(t, g.hits, "max"), g.number(t, g.kills, "oom_kill")
}

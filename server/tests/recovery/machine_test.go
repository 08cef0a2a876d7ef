package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/address"
	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

const page = "server/docs/recovery.md"

// systemctl starts and stops Redis as the unit of Debian does. It waits for the end of the process. Redis ends too if the test's process
// ends without a cleanup.
const systemctl = `#!/bin/sh
set -eu
case "$1" in
start)
  "$TEST_PROGRAM" "$REDIS_CONF" --daemonize yes >/dev/null
  (
    while kill -0 "$TEST_PID" && [ -d "$REDIS_DATA" ]; do sleep 1; done
    kill "$(cat "$TEST_PIDFILE")"
  ) >/dev/null 2>&1 & ;;
stop)
  [ -e "$TEST_PIDFILE" ] || exit 0
  kill "$(cat "$TEST_PIDFILE")"
  while [ -e "$TEST_PIDFILE" ]; do sleep 0.01; done ;;
*) exit 2 ;;
esac
`

// machine is the machine of Redis: a unit of systemd, a configuration file, a directory with data, and one with backups.
type machine struct {
	t                         *testing.T
	addr, data, backups, conf string
	bin, pidfile              string
	chosen                    string // the file to restore
	env                       []string
}

// newMachine returns a machine whose Redis runs, with "appendonly yes". Redis ends with the test.
func newMachine(t *testing.T) *machine {
	t.Helper()
	rig.NeedProgram(t, "redis-cli")
	program := rig.NeedProgram(t, redistest.Program())
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m := &machine{
		t: t, addr: address.Free(t), data: filepath.Join(dir, "data"), backups: filepath.Join(dir, "backups"),
		conf: filepath.Join(dir, "redis.conf"), bin: filepath.Join(dir, "bin"), pidfile: filepath.Join(dir, "redis.pid"),
	}
	for _, made := range []string{m.data, m.backups, m.bin} {
		if err := os.Mkdir(made, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(m.addr, ":")
	m.write(m.conf, 0o640, fmt.Sprintf("bind %s\nport %s\ndir %s\npidfile %s\nlogfile %s\nappendonly yes\nsave \"\"\nrepl-diskless-sync-delay 0\n# so that a test can search the files\nrdbcompression no\n",
		host, port, m.data, m.pidfile, filepath.Join(dir, "redis.log")))
	m.write(filepath.Join(m.bin, "systemctl"), 0o750, systemctl)
	m.env = []string{
		"PATH=" + m.bin + ":" + os.Getenv("PATH") + ":/usr/sbin", "TEST_PROGRAM=" + program, "TEST_PIDFILE=" + m.pidfile, "TEST_PID=" + strconv.Itoa(os.Getpid()),
		"REDIS_CLI=redis-cli -u redis://" + m.addr, "REDIS_CONF=" + m.conf, "REDIS_DATA=" + m.data, "REDIS_UNIT=redis-server",
		"REDIS_USER=" + self.Username, "BACKUPS=" + m.backups,
	}
	t.Cleanup(m.killRedis)
	m.script("systemctl start redis-server\nuntil $REDIS_CLI PING | grep -q PONG; do sleep 0.01; done", true)
	return m
}

func (m *machine) write(path string, mode fs.FileMode, text string) {
	m.t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

// run runs a block of the page, and returns what it printed. It must succeed.
func (m *machine) run(section string) string {
	m.t.Helper()
	return m.script(document.Code(m.t, page, section), true)
}

// backup makes a backup by the block of the page, and chooses it for the next restore.
func (m *machine) backup() {
	m.t.Helper()
	m.run("backup")
	m.chosen = strings.TrimSpace(m.script(`ls "$BACKUPS"/*.rdb | tail -n 1`, true))
}

// script runs commands as an operator's shell does. If they must succeed and do not, or the other way round, the test fails.
func (m *machine) script(commands string, succeeds bool) string {
	m.t.Helper()
	command := exec.CommandContext(rig.Within(m.t, 5*time.Minute), "bash", "-c", commands)
	command.Env = append(slices.Clone(m.env), "HOME="+m.data, "BACKUP="+m.chosen)
	command.WaitDelay = time.Second
	out, err := command.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || (err == nil) != succeeds {
		m.t.Fatalf("%v; want success %v of\n%s\nwhich printed\n%s", err, succeeds, commands, out)
	}
	return string(out)
}

// ask runs redis-cli, and returns its output.
func (m *machine) ask(args string) string {
	m.t.Helper()
	return strings.TrimSpace(m.script(`$REDIS_CLI `+args, true))
}

// killRedis kills Redis as a crash does.
func (m *machine) killRedis() {
	text, err := os.ReadFile(m.pidfile)
	if err != nil {
		return // it does not run
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		m.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		m.t.Error(err)
	}
	rig.Await(m.t, "Redis is gone", func() bool {
		conn, err := net.Dial("tcp", m.addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	if err := os.Remove(m.pidfile); err != nil {
		m.t.Error(err)
	}
}

// loseDisk kills Redis and removes everything that it has written.
func (m *machine) loseDisk() {
	m.t.Helper()
	m.killRedis()
	if err := errors.Join(os.RemoveAll(m.data), os.Mkdir(m.data, 0o750)); err != nil {
		m.t.Fatal(err)
	}
}

// files returns the text of every file of Redis.
func (m *machine) files() (all map[string]string) {
	m.t.Helper()
	all = map[string]string{}
	err := filepath.WalkDir(m.data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return all
}

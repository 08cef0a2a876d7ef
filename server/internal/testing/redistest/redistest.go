package redistest

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/address"
)

// readyWithin bounds the time from the start of a server to its first answer.
const readyWithin = 10 * time.Second

// Default is the program of the servers if TEST_REDIS_SERVER names no other.
const Default = "redis-server"

// Program returns the program of the servers: the value of TEST_REDIS_SERVER, or Default. It can be any server that takes the
// arguments of redis-server, such as another version of Redis, or Valkey.
func Program() string { return cmp.Or(os.Getenv("TEST_REDIS_SERVER"), Default) }

// Server is a redis-server process on a free loopback port, without persistence, in a directory of the test. It ends with the
// test. It is not safe for concurrent use.
type Server struct {
	// Addr is host:port. It stays the same after Stop and Start.
	Addr string

	t        testing.TB
	dir      string
	args     []string
	sentinel string        // the configuration of a Sentinel; empty for a data node
	password string        // by which Ask authenticates; can be empty
	cmd      *exec.Cmd     // nil while stopped
	exited   chan struct{} // closed when the process has ended and output is complete
	output   bytes.Buffer  // of the process
}

// Start runs a server with further arguments, such as "--appendonly", "yes". If Program is not installed, it skips the test,
// or fails it if the environment has CI set.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, "", args...)
}

func start(t testing.TB, sentinel string, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath(Program()); err != nil {
		text := Program() + " is not installed: apt-get install redis-server, then go test -count=1"
		if os.Getenv("CI") != "" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	s := &Server{t: t, dir: t.TempDir(), args: args, sentinel: sentinel}
	t.Cleanup(s.Stop)
	// Another process can take the free port before the server does.
	for try := range 5 {
		s.Addr = address.Free(t)
		err := s.run()
		if err == nil {
			return s
		}
		s.Stop()
		t.Logf("redis-server, try %d: %v", try+1, err)
	}
	t.Fatal("redis-server does not start; see the lines above")
	return nil
}

// skipShort skips a test with -short. A topology takes seconds to start, and more to fail over.
func skipShort(t testing.TB, topology string) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts " + topology + "; without -short: go test -count=1")
	}
}

// Start runs the server again after Stop, at the same address, with the data that its persistence kept.
func (s *Server) Start() {
	s.t.Helper()
	if s.cmd != nil {
		return
	}
	if err := s.run(); err != nil {
		s.t.Fatalf("redis-server does not start again: %v", err)
	}
}

// Stop kills the server as a crash would: it saves nothing and closes no connection in order.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // fails if it has ended already
	<-s.exited
	s.cmd = nil
}

// Running returns whether the process exists. A paused process counts.
func (s *Server) Running() bool { return s.cmd != nil }

// Pause stops the process without ending it: connections stay open and nothing answers.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume resumes a paused server.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatalf("redis-server: %v", err)
	}
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := append([]string{"--bind", host, "--port", port, "--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no", "--repl-diskless-sync-delay", "0"}, s.args...)
	if s.sentinel != "" {
		if args, err = s.sentinelArgs(host, port); err != nil {
			return err
		}
	}
	s.output.Reset()
	cmd := exec.Command(Program(), args...)
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // killed, as a rule
	}()
	s.cmd, s.exited = cmd, exited
	return s.awaitReady()
}

// sentinelArgs writes the configuration file that a Sentinel must have. A Sentinel stores there what it learns, so the file of
// an earlier run at the same address stays.
func (s *Server) sentinelArgs(host, port string) ([]string, error) {
	path := filepath.Join(s.dir, "sentinel-"+port+".conf")
	if _, err := os.Stat(path); err != nil {
		text := fmt.Sprintf("bind %s\nport %s\ndir %s\n%s", host, port, s.dir, s.sentinel)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return []string{path, "--sentinel"}, nil
}

func (s *Server) awaitReady() error {
	deadline := time.NewTimer(readyWithin)
	defer deadline.Stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := s.answers()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-s.exited:
			return fmt.Errorf("the server has ended: %s", s.output.String())
		case <-deadline.C:
			return fmt.Errorf("not ready after %v: %w", readyWithin, err)
		}
	}
}

// answers asks for the process id, which proves that no other server has taken the port, and for whether the server still
// loads its data. A server with a password refuses: that is an answer too.
func (s *Server) answers() error {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("INFO server\r\nINFO persistence\r\n")); err != nil {
		return err
	}
	reader := bufio.NewReader(conn)
	want := "process_id:" + strconv.Itoa(s.cmd.Process.Pid)
	loads := true // Sentinels hold no data and have no such line
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return err
		}
		// Valkey's name for redis_mode (github.com/valkey-io/valkey/pull/306).
		line = strings.Replace(line, "server_mode:", "redis_mode:", 1)
		switch {
		case strings.HasPrefix(line, "-NOAUTH"), strings.TrimSpace(line) == "loading:0":
			return nil
		case strings.HasPrefix(line, "loading:"):
			return fmt.Errorf("the server still loads its data")
		case strings.HasPrefix(line, "redis_mode:"):
			loads = !strings.HasPrefix(line, "redis_mode:sentinel")
		case strings.TrimSpace(line) == want && !loads:
			return nil
		case strings.TrimSpace(line) == want:
		case strings.HasPrefix(line, "-"):
			return fmt.Errorf("the server answers %q", strings.TrimSpace(line))
		case strings.HasPrefix(line, "process_id:"):
			return fmt.Errorf("another server has the port")
		}
	}
}

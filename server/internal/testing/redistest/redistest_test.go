package redistest

import (
	"bufio"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// ask sends one inline command, and returns the first line of the answer.
func ask(t *testing.T, addr, command string, within time.Duration) (string, error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func mustAsk(t *testing.T, addr, command, want string) {
	t.Helper()
	got, err := ask(t, addr, command, 5*time.Second)
	if err != nil || got != want {
		t.Fatalf("%s = %q, %v; want %q", command, got, err, want)
	}
}

func TestStopLosesEverythingAndStartKeepsTheAddress(t *testing.T) {
	s := Start(t)
	mustAsk(t, s.Addr, "SET k v", "+OK")
	s.Stop()
	s.Stop()
	if _, err := ask(t, s.Addr, "PING", time.Second); err == nil {
		t.Fatal("a stopped server answers")
	}
	s.Start()
	mustAsk(t, s.Addr, "EXISTS k", ":0")
}

func TestArgumentsSwitchPersistenceOn(t *testing.T) {
	s := Start(t, "--appendonly", "yes", "--appendfsync", "always")
	mustAsk(t, s.Addr, "SET k v", "+OK")
	s.Stop()
	s.Start()
	mustAsk(t, s.Addr, "EXISTS k", ":1")
}

func TestPauseKeepsConnectionsSilent(t *testing.T) {
	s := Start(t)
	s.Pause()
	if _, err := ask(t, s.Addr, "PING", 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused server: %v; want a timeout", err)
	}
	s.Resume()
	mustAsk(t, s.Addr, "PING", "+PONG")
}

func TestServersWithAPasswordAreReady(t *testing.T) {
	s := Start(t, "--requirepass", "swordfish")
	if got, _ := ask(t, s.Addr, "PING", 5*time.Second); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("PING without a password: %q", got)
	}
}

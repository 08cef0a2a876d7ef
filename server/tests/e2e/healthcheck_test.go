package e2e

import (
	"net/http"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestHealthcheckCommand: exit code 0 while the server beside it is ready, 1 with a word otherwise.
func TestHealthcheckCommand(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr))
	check := func() *rig.Process {
		return rig.Launch(t, []string{"ADMIN_ADDR=" + strings.TrimPrefix(p.Admin, "http://")}, "healthcheck", "--timeout=10s")
	}
	if c := check(); c.Exit(rig.Soon) != 0 || c.Stderr.String() != "" {
		t.Errorf("a ready server: %d %s", c.Cmd.ProcessState.ExitCode(), c.Stderr.String())
	}
	redis.Stop()
	p.AwaitReady(http.StatusServiceUnavailable)
	if c := check(); c.Exit(rig.Soon) != 1 || !strings.Contains(c.Stderr.String(), "not ready: Redis cannot be used") {
		t.Errorf("without Redis: %d %s", c.Cmd.ProcessState.ExitCode(), c.Stderr.String())
	}
	p.Kill()
	if c := check(); c.Exit(rig.Soon) != 1 || !strings.Contains(c.Stderr.String(), "the server cannot be asked on ADMIN_ADDR") {
		t.Errorf("without a server: %d %s", c.Cmd.ProcessState.ExitCode(), c.Stderr.String())
	}
}

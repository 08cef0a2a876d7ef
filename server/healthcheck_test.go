package main

import (
	"net/http"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/redistest"
)

// TestHealthcheckCommand: exit code 0 while the server beside it is ready, 1 with a word otherwise.
func TestHealthcheckCommand(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	p := serve(t, settings(redis.Addr))
	check := func() *process {
		return launch(t, []string{"ADMIN_ADDR=" + strings.TrimPrefix(p.admin, "http://")}, "healthcheck", "--timeout=10s")
	}
	if c := check(); c.exit(soon) != 0 || c.stderr.String() != "" {
		t.Errorf("a ready server: %d %s", c.cmd.ProcessState.ExitCode(), c.stderr.String())
	}
	redis.Stop()
	p.awaitReady(http.StatusServiceUnavailable)
	if c := check(); c.exit(soon) != 1 || !strings.Contains(c.stderr.String(), "not ready: Redis cannot be used") {
		t.Errorf("without Redis: %d %s", c.cmd.ProcessState.ExitCode(), c.stderr.String())
	}
	p.kill()
	if c := check(); c.exit(soon) != 1 || !strings.Contains(c.stderr.String(), "the server cannot be asked on ADMIN_ADDR") {
		t.Errorf("without a server: %d %s", c.cmd.ProcessState.ExitCode(), c.stderr.String())
	}
}

package cli

import (
	"context"
	"io"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/app"
	"example.com/verification-status/server/internal/testing/await"
)

// TestAWrongFlagOfOperator is a wrong command line: the exit code is 2, and no server is called.
func TestAWrongFlagOfOperator(t *testing.T) {
	for _, line := range []string{
		"show", "show user-43", "show vs_1 --reference user-43", "show vs_1 vs_2", "show vs_1 --yes",
		"allow", "allow vs_1 --outcome -1", "allow vs_1 --outcome first", "allow --reference user-43 --outcome 3", "allow vs_1 --kind closed", "allow vs_1 --json",
		"resolve vs_1", "resolve vs_1 --kind verified", "resolve vs_1 --kind closed --take-back", "resolve --kind closed", "",
	} {
		if code := Run(append([]string{"operator"}, strings.Fields(line)...), "", app.Hooks{}); code != 2 {
			t.Errorf("operator %s: exit code %d, want 2", line, code)
		}
	}
	for _, line := range []string{
		"show vs_1", "show --reference vs_1 --json", "allow vs_1 --outcome 3", "allow --reference user-43 --yes",
		"resolve vs_1 --kind verified-elsewhere", "resolve vs_1 --take-back --outcome 3",
	} {
		// Nobody listens there.
		if code := Run(append([]string{"operator"}, strings.Fields(line+" --plaintext --addr 127.0.0.1:1")...), "", app.Hooks{}); code != 1 {
			t.Errorf("operator %s: exit code %d, want 1", line, code)
		}
	}
}

func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "Y\n": true, " yes \n": true, "y": true, "n\n": false, "\n": false, "": false, "yesterday\n": false} {
		var out strings.Builder
		if got := confirm(t.Context(), "Allow it?", strings.NewReader(answer), &out); got != want {
			t.Errorf("%q: got %v, want %v", answer, got, want)
		}
		if strings.TrimSuffix(out.String(), "\n") != "\nAllow it? [y/N] " || strings.HasSuffix(out.String(), "\n") == strings.HasSuffix(answer, "\n") {
			t.Errorf("the question: got %q", out.String())
		}
	}
}

// TestConfirmEndsWithItsContext: Ctrl-C at the question is a no.
func TestConfirmEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, held := io.Pipe()
	defer held.Close()
	asked := make(chan bool, 1)
	go func() { asked <- confirm(ctx, "Allow it?", in, io.Discard) }()
	cancel()
	if await.One(t, asked) {
		t.Error("got a yes")
	}
}

package docs

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/tests/rig"
)

// TestComparingExample runs the commands as they are printed, in one shell, against dev.
func TestComparingExample(t *testing.T) {
	t.Parallel() // it mostly waits
	const comparing = "server/docs/comparing.md"
	_, ours, _ := helpingShell(t)
	var script, want strings.Builder
	for line := range strings.Lines(document.Code(t, comparing, "compared")) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			script.WriteString(ours.Replace(command) + "\n")
		} else {
			want.WriteString(line)
		}
	}
	p := rig.Begin(t, exec.Command("sh", "-c", script.String()))
	if code := p.Exit(rig.Soon); code != 0 {
		t.Errorf("exit code %d: %s", code, p.Stderr.String())
	}
	if diff := cmp.Diff(strings.TrimSpace(want.String()), strings.TrimSpace(p.Stdout.String())); diff != "" {
		t.Errorf("the output is not what %s prints (-printed +seen):\n%s", comparing, diff)
	}
}

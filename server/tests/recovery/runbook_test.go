package recovery

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/testing/document"
)

// TestRunbookHasTheCommands: the entry of the runbook has the commands that the drill runs, in the same order.
func TestRunbookHasTheCommands(t *testing.T) {
	_, entry, found := strings.Cut(document.Text(t, "server/deploy/RUNBOOK.md"), "\n## A walk through: Redis lost its data\n")
	_, entry, begun := strings.Cut(entry, "\n```\n")
	entry, _, ended := strings.Cut(entry, "```\n")
	if !found || !begun || !ended {
		t.Fatal("the runbook has no entry with a block")
	}
	want := ""
	for _, section := range []string{"stop", "restore", "aof", "catch-up", "start", "erase"} {
		want += document.Code(t, page, section)
	}
	if diff := cmp.Diff(commands(want), commands(entry)); diff != "" {
		t.Errorf("the runbook has other commands than %s (-recovery +runbook):\n%s", page, diff)
	}
}

// commands returns the lines of a block, without comments and without what each block begins with.
func commands(block string) (lines []string) {
	for line := range strings.Lines(block) {
		if line != "set -eu\n" && !strings.HasPrefix(line, "# ") {
			lines = append(lines, line)
		}
	}
	return lines
}

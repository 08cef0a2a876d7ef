package recovery

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/testing/document"
)

// TestRunbookHasTheCommands: the entry of the runbook has the blocks that the drill runs, in the same order. A block stops where a line fails, and
// the next step is another block: pasted at a prompt, one block of all steps would go on in the shell outside.
func TestRunbookHasTheCommands(t *testing.T) {
	_, entry, found := strings.Cut(document.Text(t, "server/deploy/RUNBOOK.md"), "\n## A walk through: Redis lost its data\n")
	entry, _, ends := strings.Cut(entry, "\n## ")
	if !found || !ends {
		t.Fatal("the runbook has no entry")
	}
	var got, want []string
	for n, part := range strings.Split(entry, "```\n") {
		if n%2 == 1 {
			got = append(got, part)
		}
	}
	for _, section := range []string{"stop", "pause", "list", "restore", "aof", "catch-up", "start", "erase", "resume"} {
		want = append(want, document.Code(t, page, section))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the runbook has other blocks than %s (-recovery +runbook):\n%s", page, diff)
	}
}

// TestBlocksStayInParentheses: a block of several lines that can fail ends at the first one, and leaves the shell in which it was pasted.
func TestBlocksStayInParentheses(t *testing.T) {
	for _, section := range []string{"backup", "restore", "aof", "erase", "replica"} {
		block := document.Code(t, page, section)
		if !strings.HasPrefix(block, "(\nset -eu\n") || !strings.HasSuffix(block, "\n)\n") {
			t.Errorf("the block %s of %s is not in parentheses:\n%s", section, page, block)
		}
	}
}

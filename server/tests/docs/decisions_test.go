package docs

import (
	"regexp"
	"strings"
	"testing"
)

var decided = regexp.MustCompile(`\A# (\d+)\. [^\n]+\n\nDate: \d{4}-\d\d-\d\d\. Status: (?:accepted|superseded by ADR \d+)[^\n]*\.`)

// Each decision has a number, a date, a status and consequences.
func TestDecisionsAreComplete(t *testing.T) {
	for path, text := range projectFiles(t, ".md") {
		name, isDecision := strings.CutPrefix(path, "server/adr/")
		if !isDecision {
			continue
		}
		head := decided.FindStringSubmatch(text)
		if head == nil {
			t.Errorf("%s does not begin with its number, date and status", path)
		} else if number := strings.TrimLeft(name[:4], "0"); number != head[1] {
			t.Errorf("%s has the number %s", path, head[1])
		}
		if !strings.Contains(text, "**Consequences.**") && !strings.Contains(text, "\n## Consequences\n") {
			t.Errorf("%s names no consequences", path)
		}
	}
}

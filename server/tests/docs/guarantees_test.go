package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/document"
)

const guarantees = "server/docs/guarantees.md"

var (
	guarantee = regexp.MustCompile(`(?m)^## (G\d+) `)
	proof     = regexp.MustCompile(`(?m)^func (Test((?:G\d+_)+)\w+)\(`)
)

// Each guarantee lists the tests that have its number, and each such test belongs to a guarantee.
// UPDATE_DOCS=1 writes the lists.
func TestEachGuaranteeListsItsTests(t *testing.T) {
	tests := map[string][]string{}
	for _, code := range projectFiles(t, "_test.go") {
		for _, p := range proof.FindAllStringSubmatch(code, -1) {
			for _, g := range strings.Split(strings.TrimSuffix(p[2], "_"), "_") {
				tests[g] = append(tests[g], p[1])
			}
		}
	}
	for _, g := range guarantee.FindAllStringSubmatch(document.Text(t, guarantees), -1) {
		names := tests[g[1]]
		delete(tests, g[1])
		if len(names) == 0 {
			t.Errorf("%s has no test", g[1])
		}
		slices.Sort(names)
		document.Hold(t, guarantees, g[1], "```\n"+strings.Join(slices.Compact(names), "\n")+"\n```\n")
	}
	for g, names := range tests {
		t.Errorf("%s names no guarantee %s; its tests are %s", guarantees, g, strings.Join(names, ", "))
	}
}

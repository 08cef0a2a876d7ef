package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/tests/rig"
)

// The README's table of settings is the struct's: a setting that is added, renamed or given another
// default must change there too.
func TestReadmeListsEverySetting(t *testing.T) {
	readme, err := os.ReadFile(rig.Path("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "<!-- settings -->\n")
	table, _, closed := strings.Cut(rest, "<!-- /settings -->")
	if !found || !closed {
		t.Fatal("README.md has no table of settings between <!-- settings --> and <!-- /settings -->")
	}
	if want := settingsTable(); table != want {
		t.Errorf("README.md's table of settings is not config's; it should be:\n%s", want)
	}
}

// The server README's table of metrics is the code's.
func TestReadmeListsEveryMetric(t *testing.T) {
	readme, err := os.ReadFile(rig.Path("server", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "<!-- metrics -->\n")
	table, _, closed := strings.Cut(rest, "<!-- /metrics -->")
	if !found || !closed {
		t.Fatal("server/README.md has no table of metrics between <!-- metrics --> and <!-- /metrics -->")
	}
	if want := metricsTable(); table != want {
		t.Errorf("server/README.md's table of metrics is not telemetry's; it should be:\n%s", want)
	}
}

func metricsTable() string {
	var b strings.Builder
	b.WriteString("| metric | kind | labels | what it is |\n|---|---|---|---|\n")
	for _, m := range telemetry.MetricTable() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(m.Labels, ", "), m.Help)
	}
	return b.String()
}

func settingsTable() string {
	var b strings.Builder
	b.WriteString("| variable | default | what it is |\n|---|---|---|\n")
	for _, s := range config.Table() {
		value := ""
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Env, value, s.Help)
	}
	return b.String()
}

// The table of limits names a setting with its default, and tests that exist.
func TestServerReadmesLimitsAreTrue(t *testing.T) {
	readme, err := os.ReadFile(rig.Path("server", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "<!-- limits -->\n")
	table, _, closed := strings.Cut(rest, "<!-- /limits -->")
	if !found || !closed {
		t.Fatal("README.md has no table of limits between <!-- limits --> and <!-- /limits -->")
	}
	defaults := map[string]string{}
	for _, s := range config.Table() {
		defaults[s.Env] = s.Default
	}
	rows := strings.Split(strings.TrimSpace(table), "\n")[2:]
	quoted := regexp.MustCompile("`([^`]+)`")
	for _, row := range rows {
		cells := strings.Split(strings.Trim(row, "|"), "|")
		if len(cells) != 5 {
			t.Errorf("%d cells: %s", len(cells), row)
			continue
		}
		value, _, _ := strings.Cut(cells[1], ":")
		if setting := quoted.FindStringSubmatch(cells[2]); setting != nil && defaults[setting[1]] != strings.ReplaceAll(strings.TrimSpace(value), ",", "") {
			t.Errorf("the default of %s is %s: %s", setting[1], defaults[setting[1]], row)
		}
		var dir string
		for _, name := range quoted.FindAllStringSubmatch(cells[4], -1) {
			switch {
			case name[1] == "e2e":
				dir = rig.Path("server", "tests", "e2e")
			case !strings.HasPrefix(name[1], "Test"):
				dir = rig.Path("server", "internal", name[1])
			case !hasTest(t, dir, name[1]):
				t.Errorf("%s has no test %s", dir, name[1])
			}
		}
	}
}

// hasTest says whether a package has a test of this name.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "func "+name+"(") {
			return true
		}
	}
	return false
}

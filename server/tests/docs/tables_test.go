package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/testing/document"
)

// The documented table of settings is the struct's: a setting that is added, renamed or given another
// default must change there too.
func TestReadmeListsEverySetting(t *testing.T) {
	document.Hold(t, "server/docs/settings.md", "settings", settingsTable())
}

// The documented table of metrics is the code's.
func TestReadmeListsEveryMetric(t *testing.T) {
	document.Hold(t, "server/docs/observing.md", "metrics", metricsTable())
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
	table := document.Section(t, "server/docs/limits.md", "limits")
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
				dir = "server/tests/e2e"
			case !strings.HasPrefix(name[1], "Test"):
				dir = "server/internal/" + name[1]
			case !hasTest(t, dir, name[1]):
				t.Errorf("%s has no test %s", dir, name[1])
			}
		}
	}
}

// hasTest returns whether a package has a test of this name. For server it looks into all tests of the whole server.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	found, top := false, filepath.Join(document.Root(t), filepath.FromSlash(dir))
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != top:
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		found = found || strings.Contains(string(text), "func "+name+"(")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

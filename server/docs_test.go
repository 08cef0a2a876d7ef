package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/telemetry"
)

// The README's table of settings is the struct's: a setting that is added, renamed or given another
// default must change there too.
func TestReadmeListsEverySetting(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
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
	readme, err := os.ReadFile("README.md")
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

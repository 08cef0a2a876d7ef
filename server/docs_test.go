package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/config"
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

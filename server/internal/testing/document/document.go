// Package document reads the project's documents, so that tests can hold them to the code.
//
// It refuses to know what a document says. Paths are relative to the top of the module, so a test can move to another
// folder. A section is the text between the lines "<!-- name -->" and "<!-- /name -->".
package document

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// update is the environment variable that makes Hold write what it would ask for.
const update = "UPDATE_DOCS"

// Root returns the folder of go.mod. It ends the test if there is none above the test's folder.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
}

// Text returns a document.
func Text(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(t), filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Section returns the text of a section. It ends the test if the document does not have the section.
func Section(t testing.TB, path, name string) string {
	t.Helper()
	_, section, _ := split(t, path, name)
	return section
}

// Code returns the first fenced block of a section, without its fences.
func Code(t testing.TB, path, name string) string {
	t.Helper()
	_, rest, opened := strings.Cut(Section(t, path, name), "```")
	_, code, begun := strings.Cut(rest, "\n")
	code, _, closed := strings.Cut(code, "```")
	if !opened || !begun || !closed {
		t.Fatalf("section %s of %s has no fenced block", name, path)
	}
	return code
}

// Hold fails the test if the section is not want. With UPDATE_DOCS=1 it writes want into the document instead.
func Hold(t testing.TB, path, name, want string) {
	t.Helper()
	before, section, after := split(t, path, name)
	if section == want {
		return
	}
	if os.Getenv(update) == "" {
		t.Errorf("section %s of %s is not the code's (%s=1 writes it); it should be:\n%s", name, path, update, want)
		return
	}
	if err := os.WriteFile(filepath.Join(Root(t), filepath.FromSlash(path)), []byte(before+want+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func split(t testing.TB, path, name string) (before, section, after string) {
	t.Helper()
	opening, closing := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, opened := strings.Cut(Text(t, path), opening)
	section, after, closed := strings.Cut(rest, closing)
	if !opened || !closed {
		t.Fatalf("%s has no section between %q and %q", path, strings.TrimSpace(opening), closing)
	}
	return before + opening, section, closing + after
}

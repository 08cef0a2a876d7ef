package deploy

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every go.mod, the Dockerfile and .ci/run name or take one and the same toolchain: an image that is built by an older
// patch of Go has vulnerabilities that the check of the repository does not see.
func TestToolchainsAgree(t *testing.T) {
	const root = "../.."
	named := map[string]string{}
	oldest := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git"):
			return filepath.SkipDir
		case entry.Name() == "go.mod":
			named[path] = firstMatch(t, path, `(?m)^toolchain (go[0-9.]+)$`)
			oldest[path] = firstMatch(t, path, `(?m)^go ([0-9.]+)$`)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named["Dockerfile"] = "go" + firstMatch(t, "Dockerfile", `golang:([0-9.]+)-`)
	for what, names := range map[string]map[string]string{"toolchains": named, "oldest versions of Go": oldest} {
		if different := slices.Compact(slices.Sorted(maps.Values(names))); len(different) != 1 || different[0] == "" {
			t.Errorf("different %s: %v", what, names)
		}
	}
}

// A machine or an image can set GOTOOLCHAIN to local, and Go then ignores the toolchain of go.mod.
func TestToolchainIsTaken(t *testing.T) {
	if got := find(readDockerfile(t)[0], "ENV"); !slices.Equal(got, []string{"GOTOOLCHAIN=auto"}) {
		t.Errorf("the Dockerfile's first stage has ENV %q; want GOTOOLCHAIN=auto", got)
	}
	text, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(text), "\nstep ")
	if !strings.Contains(before, "\nexport GOTOOLCHAIN=auto\ngo version\n") {
		t.Error(".ci/run does not begin with export GOTOOLCHAIN=auto and go version")
	}
}

// firstMatch returns the first group of a pattern's first match in a file, and "" without a match.
func firstMatch(t *testing.T, path, pattern string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if match := regexp.MustCompile(pattern).FindSubmatch(text); match != nil {
		return string(match[1])
	}
	return ""
}

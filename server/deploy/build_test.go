// Package deploy has tests only. They compare the build, the image, the manifests, the dashboard, the alerts and their runbook with
// the server itself.
package deploy

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	standIn()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		removeWalked()
		os.Exit(code)
	}))
}

// copySource makes a clone of this working tree, uncommitted changes included, with one commit that is always the same and has a
// tag.
func copySource(t *testing.T, dir string) (commit string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case entry.Name() == ".git" || name == "bin" || entry.Name() == "node_modules":
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(dir, name), 0o755)
		case !entry.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), text, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet")
	git("add", "--all")
	git("commit", "--quiet", "--message", "All")
	git("tag", "v1.2.3")
	return git("rev-parse", "HEAD")
}

// build runs the script in a source tree, in an environment with other settings for Go.
func build(t *testing.T, dir, out string, env ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, "server/deploy/build"), out)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// TestBuildIsReproducible: two clones in different folders, built with different settings, give the same bytes: a static program
// that has its version.
func TestBuildIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("it links the server twice; without -short: go test -count=1 ./server/deploy")
	}
	need(t, "git", "git")
	first, second := filepath.Join(t.TempDir(), "here"), filepath.Join(t.TempDir(), "some", "where", "else")
	commit := copySource(t, first)
	if other := copySource(t, second); other != commit {
		t.Fatalf("the copies differ: %s, %s", commit, other)
	}
	one, two := filepath.Join(t.TempDir(), "server"), filepath.Join(t.TempDir(), "another-name")
	build(t, first, one, "CGO_ENABLED=1", "GOFLAGS=")
	build(t, second, two, "CGO_ENABLED=0", "GOFLAGS=-trimpath=false -ldflags=-X=main.who=me")

	a, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(two)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("two builds of the same commit differ: %x, %x", sha256.Sum256(a), sha256.Sum256(b))
	}
	t.Logf("%d bytes, SHA-256 %x", len(a), sha256.Sum256(a))
	for _, folder := range []string{first, second, os.Getenv("HOME") + "/go/pkg"} {
		if bytes.Contains(a, []byte(folder)) {
			t.Errorf("the program contains the folder %s", folder)
		}
	}
	checkStatic(t, one)

	info, err := buildinfo.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	if info.Main.Version != "v1.2.3" || settings["vcs.revision"] != commit || settings["vcs.modified"] != "false" {
		t.Errorf("version %q of %v; want v1.2.3 of %s, not modified", info.Main.Version, settings, commit)
	}
	checkNotices(t, info)
	if settings["-tags"] != "nodev" {
		t.Fatalf("built with the tags %q, want nodev", settings["-tags"])
	}
	checkNoDev(t, one, a)
	t.Run("SBOM", func(t *testing.T) {
		text := printBill(t, one)
		if again := printBill(t, one); !bytes.Equal(text, again) {
			t.Errorf("two bills of materials of one program differ:\n%s\n%s", text, again)
		}
		checkBill(t, text, one, info)
	})
}

// checkNotices checks that the notices name each module of the program, at its version, and no other module.
func checkNotices(t *testing.T, info *buildinfo.BuildInfo) {
	t.Helper()
	var want []string
	for _, module := range info.Deps {
		want = append(want, module.Path+" "+module.Version)
	}
	want = append(want, "the Go standard library")
	slices.Sort(want)
	if got := noticed(t, "../THIRD_PARTY_NOTICES"); !slices.Equal(got, want) {
		t.Errorf("the notices name\n%s\nand the program contains\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// noticed returns the modules that a file of notices lists.
func noticed(t *testing.T, file string) (modules []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list, _, _ := strings.Cut(string(text), strings.Repeat("=", 80))
	for line := range strings.Lines(list) {
		if name, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "  "); indented {
			modules = append(modules, name)
		}
	}
	return modules
}

// checkStatic checks that the program needs no interpreter and no library.
func checkStatic(t *testing.T, file string) {
	t.Helper()
	program, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	libraries, err := program.ImportedLibraries()
	if err != nil || len(libraries) > 0 {
		t.Errorf("libraries: %v %v", libraries, err)
	}
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			t.Errorf("a segment of type %v: the program is not static", segment.Type)
		}
	}
}

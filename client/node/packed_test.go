package node

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestPackedPackage packs the package from a copy of its files, as in a fresh clone, and installs the tarball into a project of its
// own, as users do. The project has web frameworks and compiles with "tsc --strict".
func TestPackedPackage(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out the test of the packed package: go test -count=1 ./client/node")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			skipOrFail(t, program+" is not installed: apt-get install nodejs npm")
		}
	}
	work := t.TempDir()
	source, project := filepath.Join(work, "source"), filepath.Join(work, "project")
	copyFiles(t, ".", source, "node_modules", "dist", "frameworks")
	copyFiles(t, "frameworks", project, "node_modules", "dist")
	install(t, source, "ci")
	run(t, source, "pack", "--pack-destination", work)
	tarballs, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(tarballs) != 1 {
		t.Fatalf("npm pack made %q, %v; want one tarball", tarballs, err)
	}
	install(t, project, "ci")
	install(t, project, "install", "--no-save", "--no-package-lock", tarballs[0])
	run(t, project, "test")
}

// copyFiles copies a directory without the directories of these names.
func copyFiles(t *testing.T, from, to string, without ...string) {
	t.Helper()
	leftOut := make(map[string]bool)
	for _, name := range without {
		leftOut[name] = true
	}
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		switch {
		case entry.IsDir() && leftOut[entry.Name()]:
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(target, 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// install runs an npm command that needs the registry. It skips the test if that cannot be reached.
func install(t *testing.T, directory string, args ...string) {
	t.Helper()
	args = append(args, "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	if out, err := runNpm(t, directory, args...); err != nil {
		skipOrFail(t, "npm cannot install: "+err.Error()+"\n"+string(out)+"\nconnect this machine to a registry of npm")
	}
}

func run(t *testing.T, directory string, args ...string) {
	t.Helper()
	if out, err := runNpm(t, directory, args...); err != nil {
		t.Fatalf("npm %v: %v\n%s", args, err, out)
	}
}

func runNpm(t *testing.T, directory string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "npm", args...)
	command.Dir = directory
	command.WaitDelay = 5 * time.Second // a child of npm can hold the output open
	return command.CombinedOutput()
}

//go:build load

package load

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"example.com/verification-status/server/tests/rig"
)

// version is a program of the server, with settings of its own.
type version struct {
	name, program string
	env           []string
}

// ownServer returns the program of this version.
func ownServer(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// buildServer returns the program of a commit, built as it is shipped. It skips the test if this checkout does not have the commit:
// an exported tree has no history. .ci/run fails at this skip.
func buildServer(t *testing.T, commit string) string {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed: apt-get install git")
	}
	if out, err := command(t, rig.Path(), git, "cat-file", "-e", commit+"^{commit}").CombinedOutput(); err != nil {
		t.Skipf("this checkout lacks the commit %s, which the older servers are built from: git fetch --unshallow, in a clone (%s)", commit, bytes.TrimSpace(out))
	}
	began := time.Now()
	archive, err := command(t, rig.Path(), git, "archive", "--format=tar", commit, "api", "server", "client", "gen", "go.mod", "go.sum").Output()
	if err != nil {
		t.Fatalf("git archive %s: %v", commit, err)
	}
	tree := t.TempDir()
	if err := unpack(tree, archive); err != nil {
		t.Fatal(err)
	}
	program := compileServer(t, tree)
	t.Logf("the server of %.12s was built in %v", commit, time.Since(began).Round(100*time.Millisecond))
	return program
}

// compileServer builds the server of a tree as it is shipped, and returns the program.
func compileServer(t *testing.T, tree string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "server")
	build := command(t, tree, "go", "build", "-trimpath", "-buildvcs=false", "-tags=nodev", "-ldflags=-w", "-o", program, "./server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the server: %v\n%s", err, out)
	}
	return program
}

// command returns a command that ends with the test, or after five minutes.
func command(t *testing.T, dir, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	return cmd
}

// unpack writes the files of an archive into a directory.
func unpack(dir string, archive []byte) error {
	files := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(header.Name) {
			return fmt.Errorf("the archive has %s", header.Name)
		}
		path := filepath.Join(dir, header.Name)
		switch header.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o700)
		case tar.TypeReg:
			var text []byte
			if text, err = io.ReadAll(files); err == nil {
				err = os.WriteFile(path, text, os.FileMode(header.Mode)) //nolint:gosec // a mode of git
			}
		}
		if err != nil {
			return err
		}
	}
}

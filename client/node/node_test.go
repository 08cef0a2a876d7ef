// Package node runs the tests of the npm package with those of Go.
package node

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"
)

var randomScripts = flag.Int("conformance.random", 100, "how many random scripts of the conformance kit are played after the written ones")

// TestNode does what "npm test" does: it compiles the package with its tests, and runs them with Node's test runner. Then it plays the
// scripts of the conformance kit. It works in this directory: what npm and the compiler make here is ignored by git.
func TestNode(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out the tests of the npm package: go test -count=1 ./client/node")
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			skipOrFail(t, program+" is not installed: apt-get install nodejs npm")
		}
	}
	if !isInstalled() {
		if out, err := execute(t, time.Minute, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"); err != nil {
			skipOrFail(t, fmt.Sprintf("npm cannot install what the package needs: %v\n%s\nconnect this machine to a registry of npm", err, out))
		}
	}
	if out, err := execute(t, time.Minute, "npm", "run", "compile"); err != nil {
		t.Fatalf("npm run compile: %v\n%s", err, out)
	}
	t.Run("tests", func(t *testing.T) {
		if out, err := execute(t, 3*time.Minute, "npm", "run", "run-tests"); err != nil {
			t.Errorf("npm run run-tests: %v\n%s", err, failures(out))
		}
	})
	t.Run("conformance", func(t *testing.T) {
		out, err := execute(t, 30*time.Minute, "go", "run", "../conformance", "-complete", "-random", fmt.Sprint(*randomScripts), "--", "node", "dist/conformance.rig.js")
		if err != nil {
			t.Errorf("the client in TypeScript does not pass the conformance kit: %v\n%s", err, out)
		}
		t.Logf("%s", out)
	})
}

// failures returns the parts of the output of Node's test runner that say what failed, or all of the output if there are none.
func failures(out []byte) []byte {
	parts := regexp.MustCompile(`(?ms)^( *)not ok .*?^ *\.\.\.$`).FindAll(out, -1)
	if parts == nil {
		return out
	}
	return bytes.Join(parts, []byte("\n"))
}

// isInstalled reports whether npm has installed what the lock file says.
func isInstalled() bool {
	installed, err := os.Stat("node_modules/.package-lock.json")
	if err != nil {
		return false
	}
	locked, err := os.Stat("package-lock.json")
	return err == nil && !locked.ModTime().After(installed.ModTime())
}

func execute(t *testing.T, within time.Duration, name string, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	command := exec.CommandContext(ctx, name, args...)
	command.WaitDelay = 5 * time.Second // a child can hold the output open
	return command.CombinedOutput()
}

func skipOrFail(t *testing.T, text string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	t.Skip(text + ", then go test -count=1")
}

// Package node runs the tests of the npm package with those of Go.
package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestNode runs "npm test": it compiles the package with its tests, and runs them with Node's test runner. It works in this directory:
// what npm and the compiler make here is ignored by git.
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
		if out, err := npm(t, time.Minute, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"); err != nil {
			skipOrFail(t, fmt.Sprintf("npm cannot install what the package needs: %v\n%s\nconnect this machine to a registry of npm", err, out))
		}
	}
	if out, err := npm(t, 3*time.Minute, "test"); err != nil {
		t.Fatalf("npm test: %v\n%s", err, out)
	}
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

func npm(t *testing.T, within time.Duration, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	command := exec.CommandContext(ctx, "npm", args...)
	command.WaitDelay = 5 * time.Second // a child of npm can hold the output open
	return command.CombinedOutput()
}

func skipOrFail(t *testing.T, text string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	t.Skip(text + ", then go test -count=1")
}

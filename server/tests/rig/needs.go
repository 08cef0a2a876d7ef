package rig

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// InstallNode copies a Node program into a directory and installs what its lock file names.
func InstallNode(t testing.TB, dir, from string) {
	t.Helper()
	NeedProgram(t, "node")
	NeedProgram(t, "npm")
	for _, kind := range []string{"*.json", "*.mjs"} { // a checkout may have node_modules of its own
		files, err := filepath.Glob(filepath.Join(from, kind))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no %s: %v", from, kind, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	install.Env = append(os.Environ(), "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1")
	if out, err := install.CombinedOutput(); err != nil {
		SkipOrFail(t, fmt.Sprintf("npm cannot install what %s needs: %v\n%s", from, err, out))
	}
}

// NeedProgram is for a program that another machine may lack.
func NeedProgram(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		SkipOrFail(t, program+" is not installed")
	}
}

// SkipOrFail skips the test, but never where it must run.
func SkipOrFail(t testing.TB, text string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	if _, measures := t.(*testing.B); measures { // a benchmark says why it is skipped with -v only
		fmt.Fprintf(os.Stderr, "%s is skipped: %s\n", t.Name(), text)
	}
	t.Skip(text)
}

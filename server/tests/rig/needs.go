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

// InstallNode copies a Node program into a directory, and installs the modules of its lock file there. It skips the test if that
// cannot be done.
func InstallNode(t testing.TB, dir, from string) {
	t.Helper()
	NeedProgram(t, "node")
	NeedProgram(t, "npm")
	for _, kind := range []string{"*.json", "*.mjs"} { // a checkout can have node_modules of its own
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
	command := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	command.Dir = dir
	command.Env = append(os.Environ(), "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1")
	if out, err := command.CombinedOutput(); err != nil {
		SkipOrFail(t, fmt.Sprintf("npm cannot install what %s needs: %v\n%s\nconnect this machine to a registry of npm", from, err, out))
	}
}

// install has, for each program that tests need beside Go and that another machine can lack, the command that installs it.
var install = map[string]string{
	"chromium":     "apt-get install chromium",
	"curl":         "apt-get install curl",
	"go":           "see https://go.dev/doc/install",
	"grpcurl":      "go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4",
	"haproxy":      "apt-get install haproxy",
	"mailpit":      "go install github.com/axllent/mailpit@v1.33.1",
	"nginx":        "apt-get install nginx-light",
	"node":         "apt-get install nodejs",
	"npm":          "apt-get install npm",
	"openssl":      "apt-get install openssl",
	"redis-cli":    "apt-get install redis-tools",
	"redis-server": "apt-get install redis-server",
}

// NeedProgram returns the path of a program. It looks into /usr/sbin too, which the PATH of ordinary users lacks on Debian. If
// the program is not installed, it skips the test, as SkipOrFail does.
func NeedProgram(t testing.TB, program string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	SkipOrFail(t, program+" is not installed: "+install[program])
	return ""
}

// SkipOrFail skips a test that this machine cannot run. It fails the test if the environment has CI set. text says what is
// missing and how to get it.
func SkipOrFail(t testing.TB, text string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	text += ", then go test -count=1"
	if _, measures := t.(*testing.B); measures { // go test shows the reason of a skipped benchmark with -v only
		fmt.Fprintf(os.Stderr, "%s is skipped: %s\n", t.Name(), text)
	}
	t.Skip(text)
}

package main

import (
	_ "embed"
	"os"
	"os/exec"
	"testing"
)

//go:embed app_test.mjs
var appTest string

// TestApp runs app_test.mjs: what the page shows after events of /events and answers of /link, with a fake clock.
func TestApp(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("node is not installed: apt-get install nodejs, then go test -count=1")
		}
		t.Skip("node is not installed: apt-get install nodejs, then go test -count=1")
	}
	if out, err := exec.CommandContext(t.Context(), "node", "--input-type=module", "-e", appTest).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

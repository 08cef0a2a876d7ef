package main

import (
	"flag"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	randomScripts = flag.Int("conformance.random", 200, "how many random scripts TestGoClient plays")
	seedFlag      = flag.Uint64("conformance.seed", 0, "the seed of the random scripts; 0: a random one")
	scriptFlag    = flag.String("conformance.script", "", "plays this script only: a name, the number of a random one, or its text")
)

// build builds a program of this folder and returns its path.
func build(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	arguments := []string{"build", "-tags", "conformance", "-o", path, "./" + name}
	if output, err := exec.CommandContext(t.Context(), "go", arguments...).CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return path
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("the program's stderr: %s", p)
	return len(p), nil
}

func TestGoClient(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	scripts, err := choose(*scriptFlag, seed, *randomScripts)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d scripts, seed %d", len(scripts), seed)
	r := runner{arguments: []string{build(t, "goclient")}, heartbeat: 200 * time.Millisecond, parallel: 4, failures: 5, errors: testLog{t}}
	result, err := r.run(t.Context(), scripts, func(script, error) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range result.failed {
		t.Errorf("script %s\n%v\n%v\nrepeat: go test ./client/conformance -run TestGoClient -conformance.script='%v'", f.script.name, f.script, f, f.script)
	}
	for what, names := range result.skipped {
		t.Errorf("the Go client does not support %s: %q", what, names)
	}
	t.Logf("%d scripts passed in %v", result.passed, result.elapsed)
}

// TestWrittenScripts: each written script is one that the model allows.
func TestWrittenScripts(t *testing.T) {
	for _, w := range written {
		s, err := parse(w.name, w.text)
		if err != nil {
			t.Error(err)
			continue
		}
		m := newModel()
		for _, st := range s.steps {
			if err := m.apply(st); err != nil {
				t.Errorf("script %s: at %q: %v", w.name, st.text, err)
				break
			}
		}
	}
}

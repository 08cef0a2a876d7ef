package deploy

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// ofDev are the packages that only the development server needs.
var ofDev = []string{
	"example.com/verification-status/server/internal/dev", "example.com/verification-status/server/internal/stripesim",
	"github.com/alicebob/miniredis/v2", "github.com/yuin/gopher-lua",
}

// linked returns what go list prints about each package of the server's program with these flags.
func linked(t *testing.T, format string, flags ...string) []string {
	t.Helper()
	args := slices.Concat([]string{"list", "-deps", "-f", format}, flags, []string{"../../server"})
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go %v: %v\n%s", args, err, failed.Stderr)
		}
		t.Fatal(err)
	}
	lines := strings.Fields(strings.ReplaceAll(string(out), " ", "@"))
	slices.Sort(lines)
	return slices.Compact(lines)
}

// TestOnlyAProgramWithTheTagLacksTheDevelopmentServer: go build ./server has it, the shipped program does not.
func TestOnlyAProgramWithTheTagLacksTheDevelopmentServer(t *testing.T) {
	const packages = "{{.ImportPath}}"
	all, shipped := linked(t, packages), linked(t, packages, "-tags=nodev")
	for _, name := range ofDev {
		if !slices.Contains(all, name) {
			t.Errorf("without the tag, the program lacks %s", name)
		}
		if slices.Contains(shipped, name) {
			t.Errorf("with the tag nodev, the program contains %s", name)
		}
	}
	for _, name := range shipped {
		if !slices.Contains(all, name) {
			t.Errorf("only with the tag nodev, the program contains %s", name)
		}
	}
}

// TestTheNoticesOfTheDevelopmentServer name the modules that it adds, and no other.
func TestTheNoticesOfTheDevelopmentServer(t *testing.T) {
	const modules = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}"
	shipped := linked(t, modules, "-tags=nodev")
	var want []string
	for _, module := range linked(t, modules) {
		if !slices.Contains(shipped, module) {
			want = append(want, strings.ReplaceAll(module, "@", " "))
		}
	}
	if got := noticed(t, "../THIRD_PARTY_NOTICES_DEV"); !slices.Equal(got, want) || len(want) == 0 {
		t.Errorf("the notices name %q, and the development server adds %q", got, want)
	}
}

// checkNoDev checks a shipped program: it has no function of the packages of the development server, and dev says where to find it.
func checkNoDev(t *testing.T, program string, text []byte) {
	t.Helper()
	if !bytes.Contains(text, []byte("example.com/verification-status/server/internal/app.")) {
		t.Error("the program names none of its functions: this test cannot tell what it contains")
	}
	for _, name := range ofDev {
		if bytes.Contains(text, []byte(name+".")) {
			t.Errorf("the program contains functions of %s", name)
		}
	}
	for _, args := range [][]string{{"dev"}, {"dev", "--port-offset", "100"}, {"dev", "--help"}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // the development server itself would never end
		out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
		cancel()
		var failed *exec.ExitError
		if !errors.As(err, &failed) || failed.ExitCode() != 1 || !strings.Contains(string(out), "go run ./server dev") {
			t.Errorf("%v: %v, %q; want exit code 1 and the command that works", args, err, out)
		}
	}
}

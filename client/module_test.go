package client_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What a program in another module gets with the client. ADR 20 decides on a module for the client alone by these
// figures.
const (
	graphModules = 71 // of "go list -m all", the consumer and this module among them
	ownPath      = "example.com/verification-status"
)

// clientPackages are the packages for other modules, with all that they import of this one.
var clientPackages = []string{ownPath + "/client", ownPath + "/client/clienttest", ownPath + "/client/sse", ownPath + "/gen/verification/v1"}

// buildModules are compiled into a program that uses the client. The last three are what grpc imports.
var buildModules = []string{
	"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc",
	"golang.org/x/net", "golang.org/x/sys", "golang.org/x/text",
}

// TestAnotherModuleUsesTheClient makes a module that finds this one by a replace directive, as README.md says, and
// compiles the lines of README.md in it.
func TestAnotherModuleUsesTheClient(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out a module that uses the client: go test -count=1 -run TestAnotherModuleUsesTheClient ./client")
	}
	dir := consumer(t)
	inModule(t, dir, "build", "-o", os.DevNull, ".")

	t.Run("packages", func(t *testing.T) {
		got := lines(inModule(t, dir, append([]string{"list", "-deps", "-f", `{{if .Module}}{{.ImportPath}}{{end}}`}, clientPackages...)...))
		got = slices.DeleteFunc(got, func(path string) bool { return !strings.HasPrefix(path, ownPath) })
		slices.Sort(got)
		if !slices.Equal(got, clientPackages) {
			t.Errorf("the packages of this module that the client imports:\ngot  %q\nwant %q", got, clientPackages)
		}
	})
	t.Run("modules in the build", func(t *testing.T) {
		got := map[string]bool{}
		for _, path := range lines(inModule(t, dir, append([]string{"list", "-deps", "-f", `{{with .Module}}{{.Path}}{{end}}`}, clientPackages...)...)) {
			got[path] = true
		}
		want := slices.Sorted(slices.Values(append([]string{ownPath}, buildModules...)))
		if modules := slices.Sorted(maps.Keys(got)); !slices.Equal(modules, want) {
			t.Errorf("the modules that a program with the client is built from:\ngot  %q\nwant %q", modules, want)
		}
	})
	t.Run("modules in the graph", func(t *testing.T) {
		if got := len(lines(inModule(t, dir, "list", "-m", "all"))); got != graphModules {
			t.Errorf("the module graph of a consumer has %d modules; want %d: change ADR 20 too", got, graphModules)
		}
	})
	t.Run("go line", func(t *testing.T) {
		got, want := goLine(t, filepath.Join(dir, "go.mod")), goLine(t, "../go.mod")
		if got != want {
			t.Errorf("the go line of a consumer has become %q; want this module's, %q", got, want)
		}
	})
}

// consumer returns the folder of a new module whose program is README.md's. Its own go line is an old one.
func consumer(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := map[string]string{
		"go.mod": "module example.com/consumer\n\ngo 1.21\n\nrequire " + ownPath + " v0.0.0\n\nreplace " + ownPath + " => " + root + "\n",
		"go.sum": read(t, "../go.sum"),
		"main.go": "package main\n\nimport (\n\t\"context\"\n\t\"fmt\"\n\t\"log\"\n\n\t\"" + ownPath + "/client\"\n)\n\n" +
			"func main() {\n\tctx := context.Background()\n" + readmeProgram(t) + "}\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// readmeProgram returns the Go code of README.md that uses the client.
func readmeProgram(t *testing.T) string {
	t.Helper()
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "../README.md"), -1) {
		if strings.Contains(block[1], "client.Dial(") {
			return block[1]
		}
	}
	t.Fatal("README.md has no block of Go code with client.Dial")
	return ""
}

// inModule runs the go command in a folder and returns its output. What is not in the module cache comes from GOPROXY.
func inModule(t *testing.T, dir string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", arguments...)
	command.Dir = dir
	// -mod=mod lets the command complete go.mod, as "go mod tidy" does. The hashes of what is built are in go.sum.
	command.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod", "GOWORK=off", "GOSUMDB=off")
	var problems strings.Builder
	command.Stderr = &problems
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(arguments, " "), err, problems.String())
	}
	return string(output)
}

func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

func goLine(t *testing.T, path string) string {
	t.Helper()
	return regexp.MustCompile(`(?m)^go (.*)$`).FindString(read(t, path))
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

package npm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// readmeCode is a block of code in the README, behind a comment that names its file: <!-- examples/src/express.ts -->
var readmeCode = regexp.MustCompile("(?s)<!-- (examples/src/[a-z.-]+) -->\n```ts\n(.*?)```\n")

// TestReadmeShowsTheExamples: each block of TypeScript is a file of the examples, which TestPackage compiles and runs. With
// UPDATE_DOCS=1 the test copies the files into the README.
func TestReadmeShowsTheExamples(t *testing.T) {
	path := rig.Path("client", "node", "README.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	updated := readmeCode.ReplaceAllStringFunc(string(text), func(block string) string {
		blocks++
		name := readmeCode.FindStringSubmatch(block)[1]
		code, err := os.ReadFile(rig.Path("client", "node", name))
		if err != nil {
			t.Fatal(err)
		}
		return "<!-- " + name + " -->\n```ts\n" + string(code) + "```\n"
	})
	if all := strings.Count(string(text), "```ts\n"); blocks == 0 || all != blocks {
		t.Errorf("README.md has %d blocks of TypeScript, %d of them with a file of the examples", all, blocks)
	}
	if updated == string(text) {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Fatal("README.md has another code than the examples: UPDATE_DOCS=1 go test -count=1 -run TestReadmeShowsTheExamples ./server/tests/npm")
	}
	if err := os.WriteFile(path, []byte(updated), 0o600); err != nil {
		t.Fatal(err)
	}
}

// annotations are the types in the examples: without them each block is JavaScript.
var annotations = strings.NewReplacer(", type Client", "", ": Client", "", "user: string", "user", ": Promise<string>", "",
	", { type ErrorRequestHandler }", "", ": ErrorRequestHandler", "")

// checkScripts: each block of the README is JavaScript too, without the annotations that the README mentions.
func checkScripts(t *testing.T) {
	readme, err := os.ReadFile(rig.Path("client", "node", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range readmeCode.FindAllStringSubmatch(string(readme), -1) {
		script := filepath.Join(t.TempDir(), fmt.Sprint(i)+".mjs")
		if err := os.WriteFile(script, []byte(annotations.Replace(block[2])), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "node", "--check", script).CombinedOutput(); err != nil {
			t.Errorf("%s is no JavaScript: %v\n%s", block[1], err, out)
		}
	}
}

// readmeServer is a row of the table of servers: its name and the line of code for it.
var readmeServer = regexp.MustCompile("(?m)^\\| (`node:http`|Fastify|Hono|Next [^|]*) \\| `(?:export )?([^`]+)` \\|$")

// TestReadmeShowsTestedServers: the lines for other servers are those of servers.test.ts, which TestPackage runs.
func TestReadmeShowsTestedServers(t *testing.T) {
	readme, err := os.ReadFile(rig.Path("client", "node", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	tested, err := os.ReadFile(rig.Path("client", "node", "examples", "src", "servers.test.ts"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(readme)) {
		if strings.HasPrefix(line, "authorize: ") && !strings.Contains(string(tested), line) {
			t.Errorf("no test has the line %s", line)
		}
	}
	rows := readmeServer.FindAllStringSubmatch(string(readme), -1)
	if len(rows) != 4 {
		t.Errorf("the table of servers has %d rows that can be read; want 4", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(string(tested), row[2]) {
			t.Errorf("no test has the line for %s: %s", row[1], row[2])
		}
	}
}

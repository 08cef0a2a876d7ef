package deploy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// command is a line of the runbook that begins with "$ ", and the lines below it: what it prints.
type command struct{ text, prints string }

var (
	blockPattern = regexp.MustCompile("(?s)\n( *)```\n(.*?)```")
	partPattern  = regexp.MustCompile(`\n\n\*\*([A-Z][a-z ]+)\.\*\* `)
)

// commandBlocks returns the blocks with commands of a part of an entry, such as "Do".
func commandBlocks(t testing.TB, entry, part string) (blocks [][]command) {
	t.Helper()
	body := entries(t)[entry]
	for _, at := range partPattern.FindAllStringSubmatchIndex(body, -1) {
		if body[at[2]:at[3]] != part {
			continue
		}
		text := body[at[1]:]
		if next := partPattern.FindStringIndex(text); next != nil {
			text = text[:next[0]]
		}
		for _, block := range blockPattern.FindAllStringSubmatch(text, -1) {
			if commands := commandsOf(block[2], block[1]); len(commands) > 0 {
				blocks = append(blocks, commands)
			}
		}
	}
	return blocks
}

func commandsOf(block, indent string) (commands []command) {
	for line := range strings.Lines(block) {
		line = strings.TrimPrefix(strings.TrimRight(line, " \n"), indent)
		if text, is := strings.CutPrefix(line, "$ "); is {
			commands = append(commands, command{text: text})
		} else if last := len(commands) - 1; last >= 0 && line != "" {
			commands[last].prints += line + "\n"
		}
	}
	return commands
}

// printsLike returns a pattern of an output that is documented: a number can be any number, "…" any text in a line, and a line of "…" any
// lines.
func printsLike(documented string) *regexp.Regexp {
	pattern := regexp.MustCompile(`[0-9]+`).ReplaceAllString(regexp.QuoteMeta(documented), "[0-9]+")
	pattern = regexp.MustCompile(`(?m)^…\n`).ReplaceAllLiteralString(pattern, `(.*\n)*`)
	return regexp.MustCompile("^" + strings.ReplaceAll(pattern, "…", ".*") + "$")
}

// follow runs the n-th block with commands of a part of the walk's entry, as a person would paste it into a shell: all lines at once, and
// then input, which a command can read. Nothing of a command is changed, except that the folder of the secrets is the one of the walk.
// kubectl and redis-cli are the stand-ins of standin_test.go. Each command must succeed and print what the runbook shows below it.
func (w *walk) follow(part string, n int, input string) {
	w.t.Helper()
	blocks := commandBlocks(w.t, w.entry, part)
	if n >= len(blocks) {
		w.t.Fatalf("%s: %q has %d blocks with commands", w.entry, part, len(blocks))
	}
	followed.Store(blockName(w.entry, part, n), true)
	w.writeLogs()
	printed, codes := runPasted(w.t, blocks[n], w.secrets, input, w.standInEnv())
	for i, text := range printed {
		c := blocks[n][i]
		w.record("$ %s\n%s", c.text, strings.TrimRight(text, "\n"))
		if codes[i] != "0" {
			w.t.Fatalf("%s: exit code %s: %s\n%s", w.entry, codes[i], c.text, text)
		}
		if !printsLike(c.prints).MatchString(text) {
			w.t.Errorf("%s: the runbook shows another output of: %s\nwant: %s got: %s", w.entry, c.text, c.prints, text)
		}
	}
	if len(printed) != len(blocks[n]) {
		w.t.Fatalf("%s: %d of %d commands ran", w.entry, len(printed), len(blocks[n]))
	}
}

// runPasted gives bash the commands and then what is typed, on one standard input: a command that reads gets what is behind its own line, as in
// a terminal. As in a person's shell, the next command runs also if one fails. It returns what each command printed and its exit code.
func runPasted(t testing.TB, commands []command, secrets, typed string, env []string) (printed, codes []string) {
	t.Helper()
	const begins, ends = "\x1d", "\x1e"
	var pasted strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&pasted, "printf '\\035'; %s; printf '\\036%%d' $?\n", strings.ReplaceAll(c.text, "/etc/verification-status", secrets))
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	cmd := exec.CommandContext(ctx, need(t, "bash", "bash"))
	cmd.Dir, cmd.Env, cmd.Stdin = t.TempDir(), env, strings.NewReader(pasted.String()+typed)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("not within %v: %v\n%s", soon, err, out)
	}
	for _, part := range strings.Split(strings.ReplaceAll(string(out), "\r", ""), begins)[1:] {
		text, code, _ := strings.Cut(part, ends)
		printed, codes = append(printed, text), append(codes, code)
	}
	return printed, codes
}

// followed has the names of the blocks that walks have run.
var followed sync.Map

func blockName(entry, part string, n int) string {
	return fmt.Sprintf("%s, %s, block %d", entry, part, n+1)
}

// everythingFollowed fails the test if the runbook has a block with commands that no walk has run: such a block is a promise.
func everythingFollowed(t *testing.T) {
	t.Helper()
	for name := range allBlocks(t) {
		if _, ran := followed.Load(name); !ran {
			t.Errorf("no walk has run the commands of %s", name)
		}
	}
}

// allBlocks returns the blocks with commands of all entries by their names.
func allBlocks(t testing.TB) map[string][]command {
	t.Helper()
	blocks := map[string][]command{}
	for entry := range entries(t) {
		for _, part := range []string{"Means", "Look at", "Do", "Over when"} {
			for n, commands := range commandBlocks(t, entry, part) {
				blocks[blockName(entry, part, n)] = commands
			}
		}
	}
	return blocks
}

// writeLogs writes what the replicas have logged to where the stand-in of kubectl reads it.
func (w *walk) writeLogs() {
	w.t.Helper()
	for name, r := range w.replicas {
		if err := os.WriteFile(filepath.Join(w.dir, "logs", name), []byte(r.log.String()), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

package deploy

import (
	"bytes"
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

// follow runs the n-th block with commands of a part of the walk's entry, as a person would paste it into a shell, and types input if a
// command reads it. Nothing of a command is changed, except that the folder of the secrets is the one of the walk. kubectl and redis-cli
// are the stand-ins of standin_test.go. Each command must succeed and print what the runbook shows below it.
func (w *walk) follow(part string, n int, input string) {
	w.t.Helper()
	blocks := commandBlocks(w.t, w.entry, part)
	if n >= len(blocks) {
		w.t.Fatalf("%s: %q has %d blocks with commands", w.entry, part, len(blocks))
	}
	followed.Store(blockName(w.entry, part, n), true)
	w.writeLogs()
	const mark = "\x1d\n"
	script := "set -eu\n"
	for _, c := range blocks[n] {
		script += "printf '" + `\035\n` + "'\n" + strings.ReplaceAll(c.text, "/etc/verification-status", w.secrets) + "\n"
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), soon)
	defer cancel()
	cmd := exec.CommandContext(ctx, need(w.t, "bash", "bash"), "-c", script)
	cmd.Dir, cmd.Env, cmd.Stdin = w.t.TempDir(), w.standInEnv(), strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	printed := strings.Split(strings.ReplaceAll(out.String(), "\r", ""), mark)[1:]
	for i, text := range printed {
		c := blocks[n][i]
		w.record("$ %s\n%s", c.text, strings.TrimRight(text, "\n"))
		if i == len(printed)-1 && err != nil {
			w.t.Fatalf("%s: %v\n%s\n%s", w.entry, err, c.text, text)
		}
		if !printsLike(c.prints).MatchString(text) {
			w.t.Errorf("%s: the runbook shows another output of: %s\nwant: %s got: %s", w.entry, c.text, c.prints, text)
		}
	}
	if len(printed) != len(blocks[n]) {
		w.t.Fatalf("%s: %d of %d commands ran: %v", w.entry, len(printed), len(blocks[n]), err)
	}
}

// followed has the names of the blocks that walks have run.
var followed sync.Map

func blockName(entry, part string, n int) string {
	return fmt.Sprintf("%s, %s, block %d", entry, part, n+1)
}

// everythingFollowed fails the test if the runbook has a block with commands that no walk has run: such a block is a promise.
func everythingFollowed(t *testing.T) {
	t.Helper()
	for entry := range entries(t) {
		for _, part := range []string{"Means", "Look at", "Do", "Over when"} {
			for n := range commandBlocks(t, entry, part) {
				if _, ran := followed.Load(blockName(entry, part, n)); !ran {
					t.Errorf("no walk has run the commands of %s", blockName(entry, part, n))
				}
			}
		}
	}
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

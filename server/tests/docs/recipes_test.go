package docs

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/tests/rig"
)

// longWalk is the document with the recipes.
const longWalk = "server/docs/walk.md"

// recipeRunner runs the recipes of the long walk against dev.
type recipeRunner struct {
	t       *testing.T
	dev     *rig.Process
	guided  *guideRunner
	shell   string            // defines the function that the recipes use
	recipes map[string]string // what for: command
	tried   map[string]bool
}

var recipeRow = regexp.MustCompile("(?m)^\\| ([^|`]+) \\| `(vs .+)` \\|$")

// newRecipeRunner reads the recipes as they are printed. Only dev's address is another one.
func newRecipeRunner(t *testing.T) *recipeRunner {
	t.Helper()
	rig.NeedProgram(t, "grpcurl")
	shell, table := document.Code(t, longWalk, "recipes"), document.Section(t, longWalk, "recipes")
	const printed = " 127.0.0.1:50051 "
	if strings.Count(shell, printed) != 1 {
		t.Fatalf("the recipes of %s have no function for dev's address", longWalk)
	}
	dev, guide := rig.LaunchDev(t)
	g := newGuideRunner(t, guide)
	k := &recipeRunner{
		t: t, dev: dev, guided: g, shell: strings.Replace(shell, printed, " "+g.command("grpcurl", "/GetStatus")[4]+" ", 1),
		recipes: map[string]string{}, tried: map[string]bool{},
	}
	for _, row := range recipeRow.FindAllStringSubmatch(table, -1) {
		k.recipes[row[1]] = row[2]
	}
	if rows := strings.Count(table, "\n| ") - 1; rows != len(k.recipes) { // the head is not a recipe
		t.Fatalf("%d of %d recipes can be read", len(k.recipes), rows)
	}
	return k
}

// start runs a recipe in a shell and returns it when it has written the texts, each after the other.
func (k *recipeRunner) start(recipe, session, token string, texts ...string) *rig.Process {
	k.t.Helper()
	command, ok := k.recipes[recipe]
	if !ok {
		k.t.Fatalf("%s has no recipe %q", longWalk, recipe)
	}
	k.tried[recipe] = true
	command = strings.NewReplacer("vs_YOURS", session, "TOKEN", token).Replace(command)
	cmd := exec.Command("sh", "-c", k.shell+"\n"+command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := rig.Begin(k.t, cmd)
	k.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // grpcurl is the shell's child
	k.see(p, texts...)
	return p
}

func (k *recipeRunner) see(p *rig.Process, texts ...string) {
	k.t.Helper()
	rig.Await(k.t, "in the output of "+strings.Join(p.Cmd.Args, " ")+": "+strings.Join(texts, " … "), func() bool {
		rest, found := p.Stdout.String(), true
		for _, text := range texts {
			var here bool
			_, rest, here = strings.Cut(rest, text)
			found = found && here
		}
		return found
	})
}

// serve runs a recipe that ends by itself.
func (k *recipeRunner) serve(recipe, session string, texts ...string) string {
	k.t.Helper()
	p := k.start(recipe, session, "", texts...)
	if code := p.Exit(rig.Soon); code != 0 {
		k.t.Fatalf("%s: exit code %d: %s", recipe, code, p.Stderr.String())
	}
	return p.Stdout.String()
}

// answer finds a field of an output.
func (k *recipeRunner) answer(output, field string) string {
	k.t.Helper()
	found := regexp.MustCompile(`"` + field + `": "([^"]+)"`).FindStringSubmatch(output)
	if found == nil {
		k.t.Fatalf("no %s in %s", field, output)
	}
	return found[1]
}

// person makes another session as the guide says.
func (k *recipeRunner) person(reference string) (id, url string) {
	k.t.Helper()
	args := k.guided.command("curl", "-u")
	for i, arg := range args {
		if strings.HasPrefix(arg, "client_reference_id=") {
			args[i] = "client_reference_id=" + reference
		}
	}
	var made struct{ ID, URL string }
	if err := json.Unmarshal([]byte(k.guided.curl(args)), &made); err != nil {
		k.t.Fatal(err)
	}
	return made.ID, made.URL
}

func (k *recipeRunner) choose(outcome, url string) {
	k.t.Helper()
	k.guided.curl([]string{"curl", "-d", "outcome=" + outcome, url})
}

// TestReadmeRecipes: every recipe of the long walk works, with the real grpcurl and dev.
func TestReadmeRecipes(t *testing.T) {
	k := newRecipeRunner(t)
	asked := k.serve("is this person verified?", "", `"STATUS_REQUIRES_INPUT"`)
	id := k.answer(asked, "sessionId")
	everybody := k.start("watch every change of all sessions", "", "", `"resumeToken"`)
	watch := k.start("watch the newest session of a person", "", "", id, `"resumeToken"`)
	token := k.answer(watch.Stdout.String(), "resumeToken")
	k.guided.curl(k.guided.command("curl", "outcome=document_expired"))
	failed := []string{`"STATUS_PROCESSING"`, `"revision": 2`, `"ERROR_CODE_DOCUMENT_EXPIRED"`, `"revision": 3`}
	k.see(watch, failed...)
	k.see(everybody, failed...)
	k.start("resume that watch behind a token, with heartbeats for proxies", "", token, failed...)
	k.start("resume that watch after a stop", "", k.answer(everybody.Stdout.String(), "resumeToken"), failed...)
	k.serve("the same, never older than a revision already seen", id, `"revision": 3`)
	k.serve("the history of a session: each input and its effect", id, `"evt_`, `"EFFECT_APPLIED"`, `"evt_`, `"evt_`)
	k.serve("sessions that wait for a submission", "", id)

	again := k.answer(k.serve("let a person try again", id, `"clientSecret"`), "url")
	k.see(watch, `"revision": 4`)
	settling := k.start("wait until a session is settled", id, "", `"STATUS_REQUIRES_INPUT"`)
	k.choose("verified", again)
	if code := settling.Exit(rig.Soon); code != 0 || !strings.Contains(settling.Stdout.String(), `"STATUS_VERIFIED"`) {
		t.Errorf("the settled watch ended with %d: %s", code, settling.Stdout.String())
	}

	newer, page := k.person("user-42")
	k.see(watch, newer)
	k.serve("all sessions of a person", "", newer, id)
	k.choose("canceled", page)
	k.see(watch, newer, `"STATUS_CANCELED"`)
	k.see(watch, newer, k.answer(k.serve("replace a canceled session by a new one", newer, `"url"`), "sessionId"))

	minor, page := k.person("user-43")
	k.see(everybody, minor)
	k.choose("under_supported_age", page)
	k.see(everybody, minor, "ERROR_CODE_UNDER_SUPPORTED_AGE")
	k.serve("sessions whose person cannot try again and needs help", "", minor)
	tired, page := k.person("user-44")
	for try := 1; ; try++ {
		k.choose("selfie_face_mismatch", page)
		k.see(everybody, tired, `"failedAttempts": `+string(rune('0'+try)))
		if try == 3 {
			break
		}
		page = k.answer(k.serve("let a person try again", tired, `"url"`), "url")
	}
	k.serve("sessions whose person has used all retries", "", tired)
	for _, nobody := range []string{"sessions whose check takes too long", "sessions whose order of events is unresolved"} {
		if output := strings.TrimSpace(k.serve(nobody, "")); output != "{}" {
			t.Errorf("%s: %s", nobody, output)
		}
	}
	for recipe := range k.recipes {
		if !k.tried[recipe] {
			t.Errorf("nobody has tried this recipe: %s", recipe)
		}
	}
}

// TestReadmeListStep: the walk's last step can be followed to the letter, in a dev where nothing else was done.
func TestReadmeListStep(t *testing.T) {
	t.Parallel() // it mostly waits
	rig.NeedProgram(t, "curl")
	k := newRecipeRunner(t)
	loop := document.Code(t, longWalk, "refused")
	_, rest, _ := strings.Cut(document.Text(t, longWalk), "<!-- /refused -->\n")
	list := regexp.MustCompile(`ListVerifications|-d '(\{[^']*"page_size":1\})'`).FindStringSubmatch(rest)
	const printed = "http://127.0.0.1:12111/"
	if list == nil || list[1] == "" || strings.Count(loop, printed) != 1 {
		t.Fatalf("%s has no commands for people who are refused, and a list of one session after them", longWalk)
	}
	stripe, _, _ := strings.Cut(strings.TrimPrefix(k.guided.command("curl", "-u")[7], "http://"), "/")
	cmd := exec.Command("sh", "-c", strings.Replace(loop, printed, "http://"+stripe+"/", 1))
	p := rig.Begin(t, cmd)
	k.see(p, "Submitted: under_supported_age", "Submitted: under_supported_age")
	if code := p.Exit(rig.Soon); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.Stderr.String())
	}
	k.recipes["the walk's list"] = "vs ListVerifications '" + list[1] + "'"
	output := k.serve("the walk's list", "", `"ERROR_CODE_UNDER_SUPPORTED_AGE"`, `"user-44"`, `"nextPageToken"`)
	if strings.Contains(output, "user-43") {
		t.Errorf("the page has more than one session: %s", output)
	}
}

// laterCurl lets a shell submit outcomes as guideRunner.curl does.
const laterCurl = "curl() { case \"$*\" in *outcome=*) sleep 1.1;; esac; command curl \"$@\"; }\n"

// TestReadmeWalk follows the README's walk: each command runs as it is printed, in one shell, and its output is the lines below it.
// Only dev's addresses are other ones.
func TestReadmeWalk(t *testing.T) {
	t.Parallel() // it mostly waits
	rig.NeedProgram(t, "grpcurl")
	rig.NeedProgram(t, "curl")
	k := newRecipeRunner(t)
	stripe, _, _ := strings.Cut(strings.TrimPrefix(k.guided.command("curl", "-u")[7], "http://"), "/")
	ours := strings.NewReplacer("127.0.0.1:12111", stripe, "127.0.0.1:50051", k.guided.command("grpcurl", "/GetStatus")[4])
	var script, want strings.Builder
	script.WriteString(laterCurl)
	for _, block := range regexp.MustCompile("(?s)```\n(.*?)```").FindAllStringSubmatch(document.Section(t, "README.md", "walk"), -1) {
		for line := range strings.Lines(block[1]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				script.WriteString("cat <<'END'\n" + line + "END\n" + ours.Replace(command))
			}
			want.WriteString(line)
		}
	}
	p := rig.Begin(t, exec.Command("sh", "-c", script.String()))
	if code := p.Exit(rig.Soon); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if diff := cmp.Diff(want.String(), p.Stdout.String()); diff != "" {
		t.Errorf("the walk's output is not what README.md prints (-README +seen):\n%s", diff)
	}
}

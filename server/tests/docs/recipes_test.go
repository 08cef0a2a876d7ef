package docs

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// recipeRunner runs the README's recipes against dev.
type recipeRunner struct {
	t       *testing.T
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
	readme, err := os.ReadFile(rig.Path("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "<!-- recipes -->\n```\n")
	text, _, closed := strings.Cut(rest, "<!-- /recipes -->")
	shell, table, fenced := strings.Cut(text, "```\n")
	const printed = " 127.0.0.1:50051 "
	if !found || !closed || !fenced || strings.Count(shell, printed) != 1 {
		t.Fatal("README.md has no recipes between <!-- recipes --> and <!-- /recipes -->, with a function for dev's address")
	}
	_, guide := rig.LaunchDev(t)
	g := newGuideRunner(t, guide)
	k := &recipeRunner{
		t: t, guided: g, shell: strings.Replace(shell, printed, " "+g.command("grpcurl", "/GetStatus")[4]+" ", 1),
		recipes: map[string]string{}, tried: map[string]bool{},
	}
	for _, row := range recipeRow.FindAllStringSubmatch(table, -1) {
		k.recipes[row[1]] = row[2]
	}
	if rows := strings.Count(table, "\n| ") - 1; rows != len(k.recipes) { // the head is none
		t.Fatalf("%d of %d recipes can be read", len(k.recipes), rows)
	}
	return k
}

// cook runs a recipe in a shell and returns it when it has written the texts, each after the other.
func (k *recipeRunner) cook(recipe, session, token string, texts ...string) *rig.Process {
	k.t.Helper()
	command, ok := k.recipes[recipe]
	if !ok {
		k.t.Fatalf("README.md has no recipe %q", recipe)
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
	p := k.cook(recipe, session, "", texts...)
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

// TestReadmeRecipes: every recipe of the README works, with the real grpcurl and dev.
func TestReadmeRecipes(t *testing.T) {
	k := newRecipeRunner(t)
	asked := k.serve("is this person verified?", "", `"STATUS_REQUIRES_INPUT"`)
	id := k.answer(asked, "sessionId")
	everybody := k.cook("react to every change of everybody", "", "", `"resumeToken"`)
	watch := k.cook("watch a person, whichever session is their newest", "", "", id, `"resumeToken"`)
	token := k.answer(watch.Stdout.String(), "resumeToken")
	k.guided.curl(k.guided.command("curl", "outcome=document_expired"))
	failed := []string{`"STATUS_PROCESSING"`, `"revision": 2`, `"ERROR_CODE_DOCUMENT_EXPIRED"`, `"revision": 3`}
	k.see(watch, failed...)
	k.see(everybody, failed...)
	k.cook("go on with that after the response with this token, through proxies", "", token, failed...)
	k.cook("go on with that, after a stop", "", k.answer(everybody.Stdout.String(), "resumeToken"), failed...)
	k.serve("the same, and never older than what was seen before", id, `"revision": 3`)
	k.serve("what has reached a session, and what became of it", id, `"evt_`, `"EFFECT_APPLIED"`, `"evt_`, `"evt_`)
	k.serve("who has not submitted, or must again", "", id)

	again := k.answer(k.serve("let a person try again", id, `"clientSecret"`), "url")
	k.see(watch, `"revision": 4`)
	settling := k.cook("wait for the end of it", id, "", `"STATUS_REQUIRES_INPUT"`)
	k.choose("verified", again)
	if code := settling.Exit(rig.Soon); code != 0 || !strings.Contains(settling.Stdout.String(), `"STATUS_VERIFIED"`) {
		t.Errorf("the settled watch ended with %d: %s", code, settling.Stdout.String())
	}

	newer, page := k.person("user-42")
	k.see(watch, newer)
	k.serve("all sessions of a person", "", newer, id)
	k.choose("canceled", page)
	k.see(watch, newer, `"STATUS_CANCELED"`)
	k.see(watch, newer, k.answer(k.serve("a new session in place of a canceled one", newer, `"url"`), "sessionId"))

	minor, page := k.person("user-43")
	k.see(everybody, minor)
	k.choose("under_supported_age", page)
	k.see(everybody, minor, "ERROR_CODE_UNDER_SUPPORTED_AGE")
	k.serve("who must be helped, for they cannot try again", "", minor)
	tired, page := k.person("user-44")
	for try := 1; ; try++ {
		k.choose("selfie_face_mismatch", page)
		k.see(everybody, tired, `"failedAttempts": `+string(rune('0'+try)))
		if try == 3 {
			break
		}
		page = k.answer(k.serve("let a person try again", tired, `"url"`), "url")
	}
	k.serve("who has used all their tries", "", tired)
	for _, nobody := range []string{"whose check does not end", "who may not be what Stripe says"} {
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
	readme, err := os.ReadFile(rig.Path("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "<!-- refused -->\n```\n")
	loop, rest, closed := strings.Cut(rest, "```\n<!-- /refused -->\n")
	list := regexp.MustCompile(`ListVerifications|-d '(\{[^']*"page_size":1\})'`).FindStringSubmatch(rest)
	const printed = "http://127.0.0.1:12111/"
	if !found || !closed || list == nil || list[1] == "" || strings.Count(loop, printed) != 1 {
		t.Fatal("README.md has no commands between <!-- refused --> and <!-- /refused -->, and a list of one session after them")
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

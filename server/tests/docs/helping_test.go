package docs

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/tests/rig"
)

const helping = "server/docs/helping.md"

// inEachRun are the parts of an output that differ between runs, with what stands for them in a comparison.
var inEachRun = []struct {
	found *regexp.Regexp
	same  string
}{
	{regexp.MustCompile(`vs_[A-Za-z0-9]{24}`), "vs_ID"},
	{regexp.MustCompile(`http://[\d.:]+/verify/\S+"`), `LINK"`},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(, \d+s ago)?`), "TIME"},
	// Stripe's whole seconds decide whether a session is read back, and whether an event comes late.
	{regexp.MustCompile(`(?m)^TIME +- .*\n`), ""},
	{regexp.MustCompile(`read at Stripe`), "webhook"},
	{regexp.MustCompile(` {2,}`), "  "},
}

func sameInEachRun(text string) string {
	for _, part := range inEachRun {
		text = part.found.ReplaceAllString(text, part.same)
	}
	return text
}

// helpingShell returns what a shell needs to run the commands of the document against dev: the program, and dev's addresses.
func helpingShell(t *testing.T) (k *recipeRunner, ours *strings.Replacer, prologue string) {
	t.Helper()
	rig.NeedProgram(t, "curl")
	k = newRecipeRunner(t)
	grpc := k.guided.command("grpcurl", "/GetStatus")[4]
	stripe, _, _ := strings.Cut(strings.TrimPrefix(k.guided.command("curl", "-u")[7], "http://"), "/")
	// The first variable makes the test's program the server.
	prologue = "server() { env GRPC_ADDR=" + grpc + " " + k.dev.Cmd.Env[0] + " GORACE=atexit_sleep_ms=0 '" + k.dev.Cmd.Path + "' \"$@\"; }\n"
	return k, strings.NewReplacer("127.0.0.1:12111", stripe, "127.0.0.1:50051", grpc), prologue
}

// TestHelpingWalk follows the three commands as they are printed, in one shell, against dev.
func TestHelpingWalk(t *testing.T) {
	t.Parallel() // it mostly waits
	_, ours, prologue := helpingShell(t)
	var script, want strings.Builder
	script.WriteString(laterCurl + prologue)
	for _, block := range regexp.MustCompile("(?s)```\n(.*?)```").FindAllStringSubmatch(document.Section(t, helping, "locked-out"), -1) {
		for line := range strings.Lines(block[1]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				script.WriteString("cat <<'END'\n" + line + "END\n" + ours.Replace(command))
			}
			want.WriteString(line)
		}
	}
	p := rig.Begin(t, exec.Command("sh", "-c", script.String()))
	if code := p.Exit(rig.Soon); code != 0 {
		t.Errorf("exit code %d: %s", code, p.Stderr.String())
	}
	if diff := cmp.Diff(sameInEachRun(want.String()), sameInEachRun(p.Stdout.String())); diff != "" {
		t.Errorf("the output is not what %s prints (-printed +seen):\n%s\nseen:\n%s", helping, diff, p.Stdout.String())
	}
}

var helpingRow = regexp.MustCompile("(?m)^\\| ([^|`]+) \\| `(op .+)` \\|$")

// TestHelpingRecipes: each command for grpcurl does what its row says.
func TestHelpingRecipes(t *testing.T) {
	t.Parallel() // it mostly waits
	k, ours, _ := helpingShell(t)
	k.shell = ours.Replace(document.Code(t, helping, "helping-recipes"))
	k.recipes = map[string]string{}
	for _, row := range helpingRow.FindAllStringSubmatch(document.Section(t, helping, "helping-recipes"), -1) {
		k.recipes[row[1]] = row[2]
	}
	id, page := k.person("user-7")
	k.choose("under_supported_age", page)
	// On a slow machine one read shows both steps of the check: the failure has revision 2 then, not the 3 that is printed.
	k.recipes["the failure"] = `op VerificationService/WatchStatus '{"session_id":"vs_YOURS"}'`
	const denied, outcome = "RETRY_DENIAL_NOT_RETRYABLE", `"outcomeRevision": `
	_, failure, _ := strings.Cut(k.start("the failure", id, "", denied, outcome).Stdout.String(), denied)
	_, revision, _ := strings.Cut(failure, outcome)
	const oneMore, printed = "one more try, for the outcome that you saw", `"outcome_revision":3`
	if strings.Count(k.recipes[oneMore], printed) != 1 {
		t.Fatalf("%s names no outcome: %s", helping, k.recipes[oneMore])
	}
	k.recipes[oneMore] = strings.Replace(k.recipes[oneMore], printed, `"outcome_revision":`+revision[:1], 1)
	k.serve(oneMore, id, `"overrideOpen": true`)
	k.serve("resolved: verified by hand", id, "RETRY_DENIAL_RESOLVED", "RESOLUTION_KIND_VERIFIED_ELSEWHERE")
	if output := k.serve("take that back", id, `"overrideOpen": true`); strings.Contains(output, "RESOLUTION_KIND") {
		t.Errorf("the resolution was taken back: %s", output)
	}
	k.recipes["a link"] = `op VerificationService/RetryVerification '{"session_id":"vs_YOURS"}'`
	k.choose("verified", k.answer(k.serve("a link", id, `"url"`), "url"))
	k.recipes["settled"] = `op VerificationService/WatchStatus '{"session_id":"vs_YOURS","until_settled":true}'`
	k.serve("settled", id, "STATUS_VERIFIED")
	k.serve("the person in all sessions: verified in any of them?", id, `"person": {`, `"verified": {`, id)
	k.serve("is it the right person?", id, `"field": "last_name"`, `"result": "MATCH_RESULT_MISMATCH"`)
	for recipe := range k.recipes {
		if !k.tried[recipe] {
			t.Errorf("nobody has tried this recipe: %s", recipe)
		}
	}
}

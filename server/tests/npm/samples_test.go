package npm

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/tests/rig"
)

// varying are the fields of a verification that have another value in each run.
var varying = []string{"sessionId", "createTime", "updateTime", "lastVerificationReport", "outcomeId"}

// sample compares a sample of the README, behind a comment with its name, with the JSON that a program wrote. Of varying fields it
// compares the presence alone.
func (r *examplesRig) sample(name, written string) {
	r.t.Helper()
	readme, err := os.ReadFile(rig.Path("client", "node", "README.md"))
	if err != nil {
		r.t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)<!-- " + name + " -->\n```(?:json)?\n(?:event: status\ndata: )?(\\{.*?\\})\n(?:\n|```)").FindSubmatch(readme)
	if block == nil {
		r.t.Fatalf("README.md has no sample of %s", name)
	}
	if diff := cmp.Diff(steady(r.t, string(block[1])), steady(r.t, written)); diff != "" {
		r.t.Errorf("the sample of %s in README.md is not what is written (-README +written):\n%s", name, diff)
	}
}

// steady returns a JSON object in which varying fields are empty.
func steady(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for _, name := range varying {
		if _, found := object[name]; found {
			object[name] = ""
		}
	}
	return object
}

// me expects what /me of src/link.ts answers.
func (r *examplesRig) me(wantStatus int, want string) {
	r.t.Helper()
	if status, body := r.ask(http.MethodGet, "http://"+r.link+"/me"); status != wantStatus || body != want {
		r.t.Errorf("/me is %d %s; want %d %s", status, body, wantStatus, want)
	}
}

// fails runs an example that must end with an error that has a text.
func (r *examplesRig) fails(name, text string) {
	r.t.Helper()
	p := r.run(name)
	if code := p.Exit(rig.Soon); code == 0 || !strings.Contains(p.Stderr.String(), text) {
		r.t.Errorf("src/%s.ts ended with %d and wrote %s; want an error with %s", name, code, rig.Tail(p.Stderr.String()), text)
	}
}

package main

import (
	"flag"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	randomScripts = flag.Int("conformance.random", 200, "how many random scripts TestGoClient plays")
	seedFlag      = flag.Uint64("conformance.seed", 0, "the seed of the random scripts; 0: a new one")
	scriptFlag    = flag.String("conformance.script", "", "plays this script only: a name, the number of a random one, or its text")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// testLog writes a program's stderr to the log of a test.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("the program: %s", p)
	return len(p), nil
}

// newRunner's heartbeat is longer than the command's, because other tests can keep the machine busy.
func newRunner(t *testing.T, patience time.Duration, program ...string) *runner {
	return &runner{arguments: program, heartbeat: 500 * time.Millisecond, patience: patience, parallel: 4, failures: 5, errors: testLog{t}}
}

// TestGoClient: package client passes the written scripts and some random ones. A longer run:
//
//	go test ./client/conformance -run TestGoClient -conformance.random=10000 -timeout=1h
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
	result, err := newRunner(t, 10*time.Second, build(t, "goclient")).run(t.Context(), scripts, func(script, error) {})
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

// wrong says which written script finds a flaw of wrongclient, and what the kit then says.
var wrong = []struct{ flaw, script, says string }{
	{"forgets-the-token", "cut-in-a-response", "session: a stream began with no token; want that of the last handled update, the token of vs_1 revision 1"},
	{"resumes-one-behind", "cuts-among-changes", "session: a stream began with the token of vs_1 revision 1; want that of the last handled update, the token of vs_1 revision 2"},
	{"hides-lost-history", "trimmed-while-away", "want: update vs_1 revision 6 PROCESSING outcome 6 RESET\n  got:  update vs_1 revision 6 PROCESSING outcome 6"},
	{"ends-at-lost-history", "lost", "got:  end OUT_OF_RANGE RESUME_TOKEN_EXPIRED"},
	{"believes-proxies", "http-404", "want: nothing more\n  got:  end UNIMPLEMENTED"},
	{"never-gives-up", "unauthenticated-later", "want: end UNAUTHENTICATED UNAUTHENTICATED\n  got:  nothing, until the time was up"},
	{"reads-ahead", "flow-control", "a reader was paused, and its client took 50 MiB; it must stop reading from the connection (at most 24 MiB)"},
	{"waits-for-ever", "silence", "a stream fell silent, and the client did not give it up"},
	{"heartbeats-are-silence", "heartbeats-are-no-updates", "nothing but heartbeats came"},
	{"ignores-retry-info", "retry-info", "before the wait was over that the server asked for (RetryInfo)"},
	{"heartbeats-are-updates", "heartbeats-are-no-updates", "UNSPECIFIED outcome 0"},
	{"repeats-retries", "retry-is-not-repeated", "want: retry: UNAVAILABLE STRIPE_UNAVAILABLE\n  got:  retry: a link for vs_1"},
	{"prints-secrets", "retry", "a link that is printed must show [redacted] and no secret"},
	{"one-address", "two-addresses", "the client did not come back from the fault"},
	{"one-connection", "many-streams", "of 150 watches have had an update"},
	{"sends-no-token", "updates", "got:  end UNAUTHENTICATED UNAUTHENTICATED"},
	{"leaves-streams-open", "resume-from", "session was stopped, and has not ended, or its stream is still open"},
	{"ends-without-a-reason", "unknown-session", "want: end NOT_FOUND SESSION_NOT_FOUND\n  got:  end NOT_FOUND"},
	{"asks-for-slow-beats", "updates", "a stream asked for a heartbeat of 1h0m0s; want 500ms"},
	{"never-closes", "updates", "the client was closed, and 1 of its connections are still open"},
	{"trusts-any-domain", "foreign-errors", "got:  end UNAUTHENTICATED UNAUTHENTICATED"},
	{"invents-waits", "unknown-session", "want: end NOT_FOUND SESSION_NOT_FOUND\n  got:  end NOT_FOUND SESSION_NOT_FOUND retry after 2h9m37s"},
	{"tries-without-a-wait", "many-refusals", "40 attempts in a row failed, and the client waited for"},
	{"acknowledges-too-early", "slow-consumer", "a consumer's handler had not returned from the first of 3 changes, and the server's position passed over 1 of them"},
	{"handles-in-a-queue", "slow-consumer", "a consumer's handler had not returned from the first of 3 changes, and the server's position passed over 3 of them"},
	{"none", "not-ready", "said NOT_SERVING, and the client still opened streams there"},
}

// TestWrongClients: the kit finds each flaw, and says in words what is wrong.
func TestWrongClients(t *testing.T) {
	program := build(t, "wrongclient")
	for _, w := range wrong {
		t.Run(w.flaw, func(t *testing.T) {
			t.Parallel()
			scripts, err := choose(w.script, 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			// On a machine that is overloaded, a client without waits can look as if it waited.
			var said string
			for range 3 {
				result, err := newRunner(t, 2*time.Second, program, "-flaw", w.flaw).run(t.Context(), scripts, func(script, error) {})
				if err != nil {
					t.Fatal(err)
				}
				if said = "nothing: it passed"; len(result.failed) > 0 {
					said = result.failed[0].Error()
				}
				if strings.Contains(said, w.says) {
					return
				}
			}
			t.Errorf("script %s: the kit said:\n%v\nwant:\n%s", w.script, said, w.says)
		})
	}
}

// TestTheSmallClientPasses: without its flaw, the same client passes, so that it is the flaw which TestWrongClients finds.
func TestTheSmallClientPasses(t *testing.T) {
	scripts := slices.DeleteFunc(writtenScripts(), func(s script) bool { return s.name == "not-ready" })
	for n := range 50 {
		scripts = append(scripts, randomScript(1, n))
	}
	result, err := newRunner(t, 10*time.Second, build(t, "wrongclient"), "-flaw", "none").run(t.Context(), scripts, func(script, error) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range result.failed {
		t.Errorf("script %s\n%v\n%v", f.script.name, f.script, f)
	}
	if len(result.skipped) > 0 {
		t.Errorf("skipped %v; want nothing", result.skipped)
	}
}

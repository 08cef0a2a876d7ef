package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCommand: what the command prints, and its exit code.
func TestCommand(t *testing.T) {
	program := build(t, "wrongclient")
	unable := unableProgram(t)
	for _, test := range []struct {
		name      string
		arguments []string
		code      int
		says      string
	}{
		{"help", []string{"-h"}, 0, "go run ./client/conformance -- node adapter.js"},
		{"list", []string{"-scripts"}, 0, "cut-in-a-response"},
		{"no program", nil, 2, `no program: write it after "--"`},
		{"no such flag", []string{"-sed", "1"}, 2, "flag provided but not defined: -sed"},
		{"no such script", []string{"-script", "cut-it", "--", program}, 2, `there is no script "cut-it"`},
		{"a wrong script", []string{"-script", "watch session; fly", "--", program}, 1, `at "fly": the script is wrong: there is no such step`},
		{"an impossible script", []string{"-script", "watch session; back", "--", program}, 1, "the service is not away"},
		{"no such program", []string{"--", "/no/such/program"}, 2, "the program cannot be started"},
		{"pass", []string{"-script", "updates", "--", program}, 0, "PASS: 1 scripts passed, 0 failed"},
		{"pass, in words", []string{"-v", "-script", "watch session; cut in 2/3", "--", program}, 0, "ok   of the command line"},
		{"a random one", []string{"-v", "-seed", "3", "-script", "4", "--", program}, 0, "4 of seed 3"},
		{"all skipped", []string{"-script", "updates", "-repeat", "3", "--", "sh", unable}, 1,
			"not supported by the program: connect (3 scripts were skipped)\nINCOMPLETE: 0 scripts passed, 0 failed"},
		{"fail", []string{"-script", "http-404", "--", program, "-flaw", "believes-proxies"}, 1,
			"FAIL http-404\n  watch session; http 404; change; http 404 3; change\n  at \"http 404\": session, line 2:\n    want: nothing more\n    got:  end UNIMPLEMENTED\n" +
				"  repeat: go run ./client/conformance -script \"watch session; http 404; change; http 404 3; change\" -- " + program + " -flaw believes-proxies\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errs strings.Builder
			code := run(t.Context(), test.arguments, &out, &errs)
			if code != test.code || !strings.Contains(out.String()+errs.String(), test.says) {
				t.Errorf("exit code %d, want %d; it printed:\n%s%s\nwant in it:\n%s", code, test.code, out.String(), errs.String(), test.says)
			}
		})
	}
}

// unableProgram returns a shell script that is a program which supports nothing.
func unableProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "unable.sh")
	text := `echo '{"event":"ready","protocol":1}'
read line; echo '{"event":"answer","id":1,"heartbeat_ms":500}'
id=2; while read line; do echo '{"event":"answer","id":'$id',"unsupported":true}'; id=$((id + 1)); done`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestVerdict: nothing passes that was not shown.
func TestVerdict(t *testing.T) {
	skipped := map[string][]string{"consume": {"consumer"}}
	for _, test := range []struct {
		name     string
		result   result
		complete bool
		want     string
	}{
		{"all passed", result{passed: 2}, true, pass},
		{"one failed", result{passed: 2, failed: []*failed{{}}}, false, fail},
		{"one was skipped", result{passed: 2, skipped: skipped}, false, pass},
		{"one was skipped, and none may be", result{passed: 2, skipped: skipped}, true, incomplete},
		{"all were skipped", result{skipped: skipped}, false, incomplete},
		{"no script", result{}, false, incomplete},
	} {
		if got := verdictOf(&test.result, test.complete); got != test.want {
			t.Errorf("%s: %s; want %s", test.name, got, test.want)
		}
	}
}

// TestProgramsThatBreakTheProtocol: the kit says what is wrong with the program.
func TestProgramsThatBreakTheProtocol(t *testing.T) {
	ready := `echo '{"event":"ready","protocol":1}'; read line; `
	set := ready + `echo '{"event":"answer","id":1,"heartbeat_ms":500}'; read line; `
	for _, test := range []struct{ name, program, says string }{
		{"ends at once", "exit 3", "the program ended: exit status 3"},
		{"another protocol", `echo '{"event":"ready","protocol":2}'; read line`, `the program's first event is "ready" of protocol 2`},
		{"words on stdout", "echo hello; read line", `the program wrote a line that is no event: "hello"`},
		{"no heartbeat", ready + `echo '{"event":"answer","id":1}'; read line`, "the program answered set with heartbeat_ms 0"},
		{"another answer", ready + `echo '{"event":"answer","id":7}'; read line`, "the program answered the command 7, which has no answer due"},
		{"another watch", set + `echo '{"event":"update","watch":"w"}'; read line`, `the program reported an event of the watch "w", which does not exist`},
		{"another event", set + `echo '{"event":"hello"}'; read line`, `the program wrote an event of an unknown kind: "hello"`},
		{"an error of connect", set + `echo '{"event":"answer","id":2,"code":"INTERNAL","message":"no"}'; read line`, "connect failed: INTERNAL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			scripts, err := choose("updates", 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			result, err := newRunner(t, time.Second, "sh", "-c", test.program).run(t.Context(), scripts, func(script, error) {})
			if err == nil && len(result.failed) > 0 {
				err = result.failed[0]
			}
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the kit said: %v\nwant: %s", err, test.says)
			}
		})
	}
}

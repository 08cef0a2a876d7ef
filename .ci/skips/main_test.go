package main

import (
	"strings"
	"testing"
)

// stream is go test -json of two packages: one fails, one passes and skips.
const stream = `{"Action":"start","Package":"example.com/verification-status/a"}
{"Action":"run","Package":"example.com/verification-status/a","Test":"TestBad"}
{"Action":"output","Package":"example.com/verification-status/a","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"output","Package":"example.com/verification-status/a","Test":"TestBad","Output":"    a_test.go:7: it is wrong\n"}
{"Action":"output","Package":"example.com/verification-status/a","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}
{"Action":"fail","Package":"example.com/verification-status/a","Test":"TestBad"}
{"Action":"output","Package":"example.com/verification-status/a","Test":"TestGood","Output":"    a_test.go:9: nobody needs this\n"}
{"Action":"pass","Package":"example.com/verification-status/a","Test":"TestGood"}
{"Action":"output","Package":"example.com/verification-status/a","Output":"FAIL\texample.com/verification-status/a\t0.1s\n"}
{"Action":"fail","Package":"example.com/verification-status/a"}
`

// panicking is a panic after the end of a test that passed.
const panicking = `{"Action":"output","Package":"a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"    a_test.go:9: nobody needs this\n"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"--- PASS: TestGood (0.00s)\n"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"panic: test timed out after 10m0s\n"}
{"Action":"pass","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Output":"FAIL\ta\t600s\n"}
{"Action":"fail","Package":"a"}
`

const skipping = `{"Action":"output","Package":"example.com/verification-status/b","Output":"left out: tests of servers\n"}
{"Action":"output","Package":"example.com/verification-status/b","Test":"TestOther/one","Output":"    b_test.go:3: x is not installed: apt-get install x\n"}
{"Action":"output","Package":"example.com/verification-status/b","Test":"TestOther/one","Output":"    --- SKIP: TestOther/one (0.00s)\n"}
{"Action":"skip","Package":"example.com/verification-status/b","Test":"TestOther/one"}
{"Action":"output","Package":"example.com/verification-status/b","Output":"PASS\n"}
{"Action":"output","Package":"example.com/verification-status/b","Output":"ok  \texample.com/verification-status/b\t0.1s\n"}
{"Action":"pass","Package":"example.com/verification-status/b"}
`

func TestRun(t *testing.T) {
	const passed = "ok  \texample.com/verification-status/b\t0.1s\n"
	const listed = ": b -short: tests of servers\n"
	const named = ": b TestOther/one: x is not installed: apt-get install x\n"
	for name, test := range map[string]struct {
		stream, allowed string
		want, err       string
	}{
		"a failure": {stream, "-",
			"    a_test.go:7: it is wrong\n--- FAIL: TestBad (0.00s)\nFAIL\texample.com/verification-status/a\t0.1s\n", "1 packages failed"},
		"a panic after a test":  {panicking, "-", "panic: test timed out after 10m0s\nFAIL\ta\t600s\n", "1 packages failed"},
		"every skip is allowed": {skipping, "-", passed + "skipped" + listed + "skipped" + named, ""},
		"the list allows both":  {skipping, "# a list\nb TestOther it needs x\nb -short it is slow\n", passed + "skipped" + listed + "skipped" + named, ""},
		"the list allows one":   {skipping, "b TestOther/one\n", passed + "skipped, and not allowed" + listed + "skipped" + named, "1 tests were skipped that the list does not allow"},
		"a build fails":         {`{"Action":"build-output","ImportPath":"a","Output":"a.go:1: wrong\n"}` + "\n", "-", "a.go:1: wrong\n", "no package was tested"},
		"no package ends":       {`{"Action":"start","Package":"a"}` + "\n", "-", "", "1 packages failed"},
		"go says something":     {"go: no such directory\n", "-", "go: no such directory\n", "no package was tested"},
		"a package without any": {`{"Action":"output","Package":"a","Output":"?   \ta\t[no test files]\n"}` + "\n" + `{"Action":"skip","Package":"a"}` + "\n", "-", "?   \ta\t[no test files]\n", ""},
		"no test was asked for": {`{"Action":"output","Package":"a","Output":"?   \ta\t[no test files]\n"}` + "\n" + `{"Action":"skip","Package":"a"}` + "\n", "", "?   \ta\t[no test files]\n", "no test ran: does -run name one?"},
		"the list is empty":     {skipping, "", passed + "skipped, and not allowed" + listed + "skipped, and not allowed" + named, "2 tests were skipped that the list does not allow"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			allowed := newList(strings.NewReader(test.allowed))
			if test.allowed == "-" {
				allowed = nil
			}
			err := run(strings.NewReader(test.stream), &out, allowed)
			if got := out.String(); got != test.want {
				t.Errorf("it prints\n%s\nwant\n%s", got, test.want)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != test.err {
				t.Errorf("error %q, want %q", text, test.err)
			}
		})
	}
}

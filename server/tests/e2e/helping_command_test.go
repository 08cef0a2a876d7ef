package e2e

import (
	"crypto/x509"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/access"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// office is a server with TLS and tokens, and the people who call it from a terminal.
type office struct {
	t             *testing.T
	server        *rig.Process
	authority     string            // the certificate that issued the server's, as PEM
	authorityFile string            // with it
	tokens        map[string]string // by the name of the caller
}

// newOffice starts a server with the settings in env, and gives each caller a token with rights.
func newOffice(t *testing.T, env []string, callers map[string][]access.Right) *office {
	t.Helper()
	ca := certificate(t, nil, func(*x509.Certificate) {})
	o := &office{t: t, tokens: map[string]string{}}
	o.authority, _ = pemOf(t, ca)
	o.authorityFile = writeFile(t, "ca.crt", o.authority)
	chain, key := pemOf(t, certificate(t, ca, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }))
	var lines strings.Builder
	for name, rights := range callers {
		token, line, err := access.NewToken(name, rights)
		if err != nil {
			t.Fatal(err)
		}
		o.tokens[name] = token
		lines.WriteString(line.String() + "\n")
	}
	o.server = rig.Serve(t, append(env,
		"GRPC_TLS_CERT_FILE="+writeFile(t, "tls.crt", chain), "GRPC_TLS_KEY_FILE="+writeFile(t, "tls.key", key),
		"GRPC_TOKENS_FILE="+writeFile(t, "tokens", lines.String())))
	return o
}

// run runs a command of a caller, with input at its standard input, wants its exit code, and returns its output. An empty caller has no
// token.
func (o *office) run(caller, input string, code int, args ...string) string {
	o.t.Helper()
	env := []string{"GRPC_ADDR=" + o.server.GRPC, rig.EnvReadsInput + "=1"}
	if caller != "" {
		env = append(env, "VERIFICATION_TOKEN_FILE="+writeFile(o.t, "token", o.tokens[caller]+"\n"))
	}
	c := rig.Launch(o.t, env, append(args, "--ca-file", o.authorityFile)...)
	if _, err := io.WriteString(c.Stdin, input); err != nil {
		o.t.Fatal(err)
	}
	_ = c.Stdin.Close()
	if got := c.Exit(rig.Soon); got != code {
		o.t.Errorf("%s %v: exit code %d, want %d: %s", caller, args, got, code, c.Stderr.String())
	}
	return c.Stdout.String() + c.Stderr.String()
}

// want fails the test if an output does not have a pattern.
func (o *office) want(got, pattern string) {
	o.t.Helper()
	if !regexp.MustCompile(pattern).MatchString(got) {
		o.t.Errorf("got:\n%s\nwant:\n%s", got, pattern)
	}
}

// TestOperatorCommand: operators help a person from a terminal, each with their own rights and name.
func TestOperatorCommand(t *testing.T) {
	t.Parallel() // it mostly waits
	o := newOffice(t, rig.Settings(redistest.Start(t).Addr), map[string][]access.Right{
		"anna": {access.RightRead, access.RightOverride}, "ben": {access.RightRead, access.RightOverride}, "web": {access.RightRead},
	})
	const id = "vs_LockedOut"
	client := rig.NewHTTPClient(t)
	failure := rig.Fields{"status": "requires_input", "client_reference_id": "user-7", "last_error": rig.LastError("under_supported_age")}
	rig.Deliver(t, client, o.server.Webhook, rig.NewEvent("evt_1", "requires_input", id, 1_790_000_000, nil, failure))

	o.want(o.run("web", "", 0, "operator", "show", "--reference", "user-7"), `(?s)^session +`+id+`.*denied: another try cannot fix.*operator allow `+id+` --outcome 1\n`)
	o.want(o.run("", "", 1, "operator", "show", id), `^the session cannot be shown: the server does not know the caller: `)
	o.want(o.run("web", "", 1, "operator", "allow", id), `^no further try was allowed: the server refuses the call: token:web may not call .*AllowRetry\n$`)
	o.want(o.run("anna", "", 1, "operator", "show", "vs_None"), `^the session cannot be shown: no such verification session is known here`)

	o.want(o.run("anna", "n\n", 1, "operator", "allow", "--reference", "user-7"), `(?s)^session +`+id+`.*Allow one more try for this session\? \[y/N\] no further try was allowed: it was not confirmed`)
	o.want(o.run("anna", "", 1, "operator", "allow", id, "--outcome", "9"), `^no further try was allowed: the outcome is not that of revision 9 any more`)
	o.want(o.run("anna", "y\n", 0, "operator", "allow", "--reference", "user-7"), `(?s)\[y/N\] `+id+`: one more try is allowed, recorded for token:anna\.\n`)
	o.want(o.run("ben", "", 0, "operator", "allow", id), `^`+id+`: one more try was allowed before, recorded for token:anna\. Nothing was changed\.\n$`)

	o.want(o.run("ben", "", 0, "operator", "resolve", id, "--kind", "verified-elsewhere"), `^`+id+`: resolved as verified elsewhere, recorded for token:ben\.\n`)
	o.want(o.run("anna", "", 1, "operator", "allow", id), `^no further try was allowed: no retry: an operator dealt with the person elsewhere`)
	o.want(o.run("anna", "", 0, "operator", "show", id), `(?s)next try +denied: an operator has resolved.*resolved +as verified elsewhere by token:ben.*operator +token:anna +allowed one more try\n.*operator +token:ben +resolved the session\n`)
	if output := o.run("web", "", 0, "operator", "show", id); strings.Contains(output, "token:ben") {
		t.Errorf("a caller without the right list or override sees who helped:\n%s", output)
	}
	o.want(o.run("anna", "", 0, "operator", "resolve", id, "--take-back"), `^`+id+`: no longer resolved, recorded for token:anna\.\n$`)
	o.want(o.run("anna", "", 0, "operator", "show", id, "--json"), `"overrideOpen": +true`)
	o.want(o.run("anna", "", 2, "operator", "resolve", id), `for help: server operator resolve --help`)
}

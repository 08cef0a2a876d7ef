package e2e

import (
	"strings"
	"testing"

	"example.com/verification-status/server/tests/rig"
)

// TestCommandLineLeadsToItsHelp: the error for a command line that cannot be read names the right command or its help.
func TestCommandLineLeadsToItsHelp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		line   string
		stdout string
		stderr []string
	}{
		{"", "Usage: server <command>", []string{"a command is missing: consumers, dev, healthcheck, import, licenses, operator, reconcile, serve, go-live, trigger, webhook-endpoint, token"}},
		{"token", "Usage: server token <command>", []string{"server token: a command is missing: new"}},
		{"webhook-endpoint", "Usage: server webhook-endpoint <command>", []string{"a command is missing: create, list, check"}},
		{"start", "", []string{"unexpected argument start", "the commands are consumers, dev, ", ", serve", "for help: server --help"}},
		{"serv", "", []string{`did you mean one of "dev", "serve"?`, "for help: server --help"}},
		{"dev --port 5000", "", []string{"unknown flag --port", `did you mean "--port-offset"?`, "for help: server dev --help"}},
		{"dev --port-offset x", "", []string{"--port-offset", "for help: server dev --help"}},
		{"dev extra", "", []string{"unexpected argument extra", "for help: server dev --help"}},
		{"serve --grcp-addr :1", "", []string{"unknown flag --grcp-addr", `did you mean "--grpc-addr"?`, "for help: server serve --help"}},
		{"token new --name a", "", []string{"--rights", "for help: server token new --help"}},
		{"trigger", "", []string{"--url", "for help: server trigger --help"}},
		{"webhook-endpoint create", "", []string{"--url", "for help: server webhook-endpoint create --help"}},
		{"--verbose", "", []string{"unknown flag --verbose", "for help: server --help"}},
	} {
		t.Run(test.line, func(t *testing.T) {
			p := rig.Launch(t, nil, strings.Fields(test.line)...)
			if code := p.Exit(rig.Soon); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if got := p.Stdout.String(); !strings.HasPrefix(got, test.stdout) || test.stdout == "" && got != "" {
				t.Errorf("standard output %q, want %q", got, test.stdout)
			}
			for _, want := range test.stderr {
				if got := p.Stderr.String(); !strings.Contains(got, want) {
					t.Errorf("standard error %q, want %q", got, want)
				}
			}
		})
	}
}

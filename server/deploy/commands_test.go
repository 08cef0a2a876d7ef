package deploy

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/redistest"
)

// TestFailedReadsChangeNoSecret: in a person's shell the next command runs although one has failed. So a command that writes a secret must not write
// one that is empty, or one without the old value, if the old value cannot be read: the login to the cluster can have expired.
func TestFailedReadsChangeNoSecret(t *testing.T) {
	const writes = "patch secret"
	found := 0
	for name, commands := range allBlocks(t) {
		var text strings.Builder
		for _, c := range commands {
			text.WriteString(c.text + "\n")
		}
		if !strings.Contains(text.String(), writes) && !strings.Contains(text.String(), "/etc/verification-status") {
			continue
		}
		found++
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			secrets := filepath.Join(dir, "secrets") // empty: kubectl get secret fails
			for _, folder := range []string{secrets, filepath.Join(dir, "bin")} {
				if err := os.Mkdir(folder, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			printed, _ := runPasted(t, commands, secrets, "whsec_typed\n", standInEnv(t, dir))
			if len(printed) != len(commands) {
				t.Errorf("%d of %d commands ran: %q", len(printed), len(commands), printed)
			}
			if written, err := os.ReadDir(secrets); err != nil || len(written) > 0 {
				t.Errorf("written although the old value could not be read: %v %v", written, err)
			}
		})
	}
	if found < 3 {
		t.Errorf("only %d blocks that write a secret were found", found)
	}
}

// TestRedisCLILogsIn: the runbook's first lines make redis-cli log in as a user with a password, which is in no command line and is not shown. Here
// Redis has no TLS, so that part is left out.
func TestRedisCLILogsIn(t *testing.T) {
	text, err := os.ReadFile("RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines string
	for _, block := range blockPattern.FindAllStringSubmatch(string(text), -1) {
		if strings.HasPrefix(block[2], "alias redis-cli=") {
			lines = block[2]
		}
	}
	const password = "secret-of-admin"
	redis := redistest.Start(t)
	redis.MustAsk("ACL", "SETUSER", "ADMIN", "on", ">"+password, "~*", "+@all")
	redis.MustAsk("CONFIG", "SET", "requirepass", "of-the-default-user")
	host, port, err := net.SplitHostPort(redis.Addr)
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer(" --tls", "", "HOST", host, "PORT", port).Replace(lines)
	if strings.Count(lines, "\n") != 2 || here == lines {
		t.Fatalf("the runbook's block that makes the alias is %q", lines)
	}
	need(t, "redis-cli", "redis-tools")
	cmd := exec.CommandContext(t.Context(), need(t, "bash", "bash"))
	cmd.Stdin = strings.NewReader("shopt -s expand_aliases\n" + here + password + "\nredis-cli acl whoami\n")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "ADMIN\n" {
		t.Errorf("%v: redis-cli printed %q, want ADMIN alone", err, out)
	}
}

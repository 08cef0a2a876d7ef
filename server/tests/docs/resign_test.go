package docs

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/tests/rig"
)

var webhookAddr = regexp.MustCompile(`http://\S+/webhook`)

// TestReadmeSignsAgain: a body that is signed as the document prints is taken, also a body that a queue has encoded again.
func TestReadmeSignsAgain(t *testing.T) {
	t.Parallel() // it mostly waits
	rig.NeedProgram(t, "openssl")
	rig.NeedProgram(t, "curl")
	recipe := document.Code(t, "server/docs/webhooks.md", "resign")
	_, guide := rig.LaunchDev(t)
	hook := webhookAddr.FindString(guide)
	if hook == "" {
		t.Fatalf("dev does not print where webhooks go: %s", guide)
	}
	const body = `{"id":"evt_queued1","object":"event","type":"identity.verification_session.verified","created":NOW,"livemode":false,` +
		`"data":{"object":{"id":"vs_queued1","object":"identity.verification_session","status":"verified","type":"document","metadata":{"a":"it's"}}}}`
	for secret, want := range map[string]string{"whsec_simulated": "\n200\n", "whsec_another1": "\n400\n"} {
		script := "body=$(printf '%s' \"$template\" | sed \"s/NOW/$(date +%s)/\")\n" + recipe
		shell := exec.CommandContext(rig.Within(t, rig.Soon), "sh", "-c", script)
		shell.Env = []string{"PATH=" + os.Getenv("PATH"), "template=" + body, "secret=" + secret, "url=" + hook}
		out, err := shell.CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), want) {
			t.Errorf("with %s: %v: %q, want %q at its end", secret, err, out, want)
		}
	}
}

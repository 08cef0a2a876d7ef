package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestAHangupReadsTheFilesAgain: SIGHUP is the customary reload. It never ends the server, also while it stops, and it leaves one line.
func TestAHangupReadsTheFilesAgain(t *testing.T) {
	t.Parallel()
	const line = "read again on request"
	file := mountSecret(t, "whsec_FirstSecretOfTheEndpoint\n")
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr, "STRIPE_WEBHOOK_SECRET=", "STRIPE_WEBHOOK_SECRET_FILE="+file.path, "DRAIN_TIMEOUT=10s"))
	client, sent := rig.NewHTTPClient(t), 0
	send := func(secret string) int {
		t.Helper()
		sent++
		e := rig.NewEvent(fmt.Sprintf("evt_%d", sent), "processing", "vs_hangup", time.Now().Unix()-100, nil, rig.Fields{"status": "processing"})
		response, _, err := rig.Post(client, p.Webhook, rig.Sign(time.Now(), secret, e.Body), e.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode
	}
	p.Signal(syscall.SIGHUP)
	p.Await("a line about the hangup", func() bool { return strings.Count(p.Stderr.String(), line) == 1 })
	if text := p.Stderr.String(); !strings.Contains(text, `"files":1,"changed":"","refused":""`) {
		t.Errorf("nothing has changed: log\n%s", text)
	}
	file.swap("whsec_SecondSecretOfTheEndpoint")
	p.Signal(syscall.SIGHUP)
	p.Await("a second line", func() bool { return strings.Count(p.Stderr.String(), line) == 2 })
	if got := send("whsec_SecondSecretOfTheEndpoint"); got != http.StatusOK {
		t.Errorf("signed by the new secret, after the line about the hangup: %d, want 200", got)
	}
	file.swap("Malformed")
	p.Signal(syscall.SIGHUP)
	p.Await("a refusal in the line", func() bool { return strings.Contains(p.Stderr.String(), `"refused":"STRIPE_WEBHOOK_SECRET_FILE"`) })
	if got := send("whsec_SecondSecretOfTheEndpoint"); got != http.StatusOK {
		t.Errorf("signed by the secret that stays in use: %d, want 200", got)
	}

	redis.Pause() // so that the stop takes its time
	held := make(chan error, 1)
	go func() {
		e := rig.NewEvent("evt_held", "processing", "vs_held", time.Now().Unix()-100, nil, rig.Fields{"status": "processing"})
		_, _, err := rig.Post(client, p.Webhook, rig.Sign(time.Now(), "whsec_SecondSecretOfTheEndpoint", e.Body), e.Body)
		held <- err
	}()
	p.Signal(syscall.SIGTERM)
	p.Await("the begin of the stop", func() bool { return strings.Contains(p.Stderr.String(), `"stopping"`) })
	p.Signal(syscall.SIGHUP)
	if code := p.Exit(rig.Soon); code != 0 || !strings.Contains(p.Stderr.String(), `"stopped"`) {
		t.Errorf("a hangup during the stop: exit code %d, want 0 and the line of an orderly stop:\n%s", code, rig.Tail(p.Stderr.String()))
	}
	await.One(t, held)
}

package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestG16_GoingLiveThin follows the guide for thin events: register a destination, give its secret to the server, check. Then an endpoint
// for snapshot events comes at the same URL.
func TestG16_GoingLiveThin(t *testing.T) {
	t.Parallel()
	stripe, redis, gateway := rig.StartFakeStripe(t), redistest.Start(t), newGateway(t)
	thin, id := stripe.CreateEndpoint("--url", gateway.url, "--thin", "--description", "status")
	if !strings.HasPrefix(id, "ed_") {
		t.Errorf("create --thin made %s", id)
	}
	if _, stderr := stripe.EndpointCommand(1, "create", "--url", gateway.url, "--thin"); !strings.Contains(stderr, id+" has this URL already") {
		t.Errorf("create --thin, repeated, wrote %q", stderr)
	}
	if _, stderr := stripe.EndpointCommand(1, "create", "--url", gateway.url, "--thin", "--api-version=2023-10-16"); !strings.Contains(stderr, "--api-version is for snapshot events only") {
		t.Errorf("create --thin with a version wrote %q", stderr)
	}
	snapshot, other := stripe.CreateEndpoint("--url", gateway.url)
	server := rig.Serve(t, stripe.Settings(redis.Addr, "STRIPE_WEBHOOK_SECRET="+thin+","+snapshot))
	gateway.sendTo(server)
	client := rig.ClientOf(t, server)
	session := stripe.NewSession("person-thin")
	stripe.SubmitAndFinish(session, "document_expired")
	stripe.SubmitAndFinish(session, stripesim.OutcomeVerified)
	v := rig.GetStatus(t, client, session).GetVerification()
	if v.GetStatus() != verificationv1.Status_STATUS_VERIFIED || v.GetRetry().GetFailedAttempts() != 1 {
		t.Errorf("arrived: %v", v)
	}
	if stats := stripe.Stats(); stats.Failed != 0 {
		t.Errorf("deliveries: %+v", stats)
	}

	stdout, stderr := stripe.EndpointCommand(0, "check", "--url", gateway.url)
	for _, want := range []string{"ok: ", id + ": its events are thin", other + ": the API version", " with both styles of events. That is fine"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("check does not say %q:\n%s%s", want, stdout, stderr)
		}
	}
	list, _ := stripe.EndpointCommand(0, "list")
	if lines := strings.Split(list, "\n"); len(lines) != 4 || strings.Count(list, "6 of 6") != 2 || strings.Count(list, "thin") != 1 || strings.Contains(list, "whsec_") {
		t.Errorf("list wrote:\n%s", list)
	}
	// The commands that check prints correct what they name, in a real shell.
	rig.NeedProgram(t, "curl")
	stripe.Destination(http.MethodPost, "/"+id+"/disable", struct{}{})
	stripe.Destination(http.MethodPost, "/"+id, map[string]any{"enabled_events": []string{"v1.identity.verification_session.verified", "v2.core.account.updated"}})
	stdout, _ = stripe.EndpointCommand(1, "check", "--url", gateway.url)
	ran := 0
	for line := range strings.Lines(stdout) {
		_, command, found := strings.Cut(line, ": printf ")
		if !found {
			continue
		}
		ran++
		shell := exec.CommandContext(rig.Within(t, rig.Soon), "sh", "-c", "printf "+strings.Replace(command, "| curl ", "| curl -sS --fail-with-body ", 1))
		shell.Env = []string{"PATH=" + os.Getenv("PATH"), "STRIPE_API_KEY=" + rig.APIKey}
		if out, err := shell.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", line, err, out)
		}
	}
	stdout, _ = stripe.EndpointCommand(0, "check", "--url", gateway.url)
	if shown := stripe.Destination(http.MethodGet, "/"+id, nil); ran != 2 || len(shown["enabled_events"].([]any)) != 7 {
		t.Errorf("after %d commands: %v\n%s", ran, shown, stdout)
	}
}

// TestServerLooksAtItsEndpoint: the server itself says that its endpoint has a path that it answers 404, and shows it.
func TestServerLooksAtItsEndpoint(t *testing.T) {
	t.Parallel()
	stripe, redis := rig.StartFakeStripe(t), redistest.Start(t)
	_, stderr := stripe.EndpointCommand(0, "create", "--url", "https://verification.example.com/webhook/")
	if !strings.Contains(stderr, "warning: the path of this URL is not /webhook") {
		t.Errorf("create wrote %q", stderr)
	}
	server := rig.Serve(t, stripe.Settings(redis.Addr))
	server.Await("the problem is logged", func() bool {
		return strings.Contains(server.Stderr.String(), "the webhook endpoint at Stripe has a problem")
	})
	if log := server.Stderr.String(); !strings.Contains(log, "https://verification.example.com/webhook/") {
		t.Errorf("the log does not name the endpoint: %s", log)
	}
	server.Await("the problem is shown", func() bool {
		return metric(t, server, `verification_endpoint_problem{problem="wrong_path"}`) == "1"
	})
	if got := metric(t, server, `verification_endpoint_problem{problem="disabled"}`); got != "0" {
		t.Errorf("disabled is %s", got)
	}
}

// TestWebhookPathIsASetting: events come to the path of the setting, and to no other one.
func TestWebhookPathIsASetting(t *testing.T) {
	t.Parallel()
	stripe, redis := rig.StartFakeStripe(t), redistest.Start(t)
	server := rig.Serve(t, stripe.Settings(redis.Addr, "WEBHOOK_PATH=/stripe/identity"))
	base := strings.TrimSuffix(server.Webhook, "/webhook")
	stripe.CatchUp()
	for path, code := range map[string]int{"/stripe/identity": 0, "/stripe/identity?connect=1": 0, "/stripe/identity/": 1, "/webhook": 1} {
		p := rig.Launch(t, []string{"STRIPE_WEBHOOK_SECRET=" + rig.WebhookSecret}, "trigger", "verified", "--session=vs_path", "--url", base+path)
		if got := p.Exit(rig.Soon); got != code {
			t.Errorf("%s: exit code %d, want %d: %s%s", path, got, code, p.Stdout.String(), p.Stderr.String())
		}
		if out := p.Stdout.String() + p.Stderr.String(); strings.Contains(out, rig.WebhookSecret) || code == 1 && !strings.Contains(out, "404 Not Found") {
			t.Errorf("%s: wrote %q", path, out)
		}
	}
	if v := rig.GetStatus(t, rig.ClientOf(t, server), "vs_path").GetVerification(); v.GetStatus() != verificationv1.Status_STATUS_VERIFIED {
		t.Errorf("arrived: %v", v)
	}
}

// TestTriggeredEventsAreKept: each event that trigger sends is answered as Stripe's would be.
func TestTriggeredEventsAreKept(t *testing.T) {
	t.Parallel()
	stripe, redis := rig.StartFakeStripe(t), redistest.Start(t)
	server := rig.Serve(t, stripe.Settings(redis.Addr))
	session := stripe.NewSession("person-trigger")
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"requires_input", "--session=vs_try", "--reference=person-try"}, 0, `200 OK {"received":true}`},
		{[]string{"verified", "--style=both", "--session=" + session}, 0, "thin v1.identity.verification_session.verified"},
		{[]string{"canceled", "--style=thin", "--session=" + session}, 0, "200 OK"},
		{[]string{"ping"}, 0, "thin v2.core.event_destination.ping"},
		{[]string{"deauthorized", "--account=acct_1Gone"}, 0, "account.application.deauthorized"},
		{[]string{"invoice.paid"}, 0, "200 OK"},
		{[]string{"v2.core.account.updated"}, 0, "200 OK"},
		{[]string{"verified", "--live"}, 0, "200 OK"}, // of the other mode: ignored
		{[]string{"verified", "--secret=whsec_another1"}, 1, "400 Bad Request"},
		{[]string{"verify", "--style=fat"}, 1, "--style must be snapshot, thin or both"},
	} {
		p := rig.Launch(t, []string{"STRIPE_WEBHOOK_SECRET=" + rig.WebhookSecret}, append([]string{"trigger", "--url", server.Webhook}, test.args...)...)
		if got := p.Exit(rig.Soon); got != test.code {
			t.Errorf("%v: exit code %d, want %d", test.args, got, test.code)
		}
		if out := p.Stdout.String() + p.Stderr.String(); !strings.Contains(out, test.says) || strings.Contains(out, rig.WebhookSecret) {
			t.Errorf("%v: wrote %q, want %q in it", test.args, out, test.says)
		}
	}
	if v := rig.GetStatus(t, rig.ClientOf(t, server), "vs_try").GetVerification(); v.GetRetry().GetFailedAttempts() != 1 || v.GetClientReferenceId() != "person-try" {
		t.Errorf("arrived: %v", v)
	}
}

// TestGoLive: the command ends well if every check that it can make holds, and names each problem with its correction otherwise.
func TestGoLive(t *testing.T) {
	t.Parallel()
	stripe := rig.StartFakeStripe(t)
	redis := redistest.Start(t, "--appendonly", "yes")
	const hook = "https://verification.example.com/webhook"
	secret, id := stripe.CreateEndpoint("--url", hook, "--thin")
	stripe.CatchUp()
	if _, err := stripe.Create(stripesim.NewSession{}); err != nil {
		t.Fatal(err)
	}
	run := func(code int, more ...string) string {
		t.Helper()
		p := rig.Launch(t, stripe.Settings(redis.Addr, append([]string{"STRIPE_WEBHOOK_SECRET=" + secret}, more...)...), "go-live")
		if got := p.Exit(rig.Soon); got != code {
			t.Errorf("exit code %d, want %d: %s%s", got, code, p.Stdout.String(), p.Stderr.String())
		}
		if out := p.Stdout.String() + p.Stderr.String(); strings.Contains(out, secret) || strings.Contains(out, rig.APIKey) {
			t.Errorf("a secret is shown: %s", out)
		}
		return p.Stdout.String()
	}
	ready := run(0)
	for _, want := range []string{"ok       key", "Verification Sessions and Reports: Write", "Events: Read", "ok       endpoint     enabled, with all types of events: " + id, "thin events cost a read each; the account had 1 Identity",
		"ok       clock", "ok       redis", "[ ] "} {
		if !strings.Contains(ready, want) {
			t.Errorf("no %q in:\n%s", want, ready)
		}
	}
	stripe.Destination(http.MethodPost, "/"+id+"/disable", struct{}{})
	redis.MustAsk("CONFIG", "SET", "appendonly", "no")
	unready := run(1, "WEBHOOK_URL="+hook)
	for _, want := range []string{"problem  endpoint     " + id + " " + hook + " is disabled", "problem  redis        appendonly is off"} {
		if !strings.Contains(unready, want) {
			t.Errorf("no %q in:\n%s", want, unready)
		}
	}
	if elsewhere := run(1, "STRIPE_API_KEY=sk_test_NotAKeyOfThisStripe"); !strings.Contains(elsewhere, "problem  key          Stripe refuses the API key") {
		t.Errorf("with another key:\n%s", elsewhere)
	}
	redis.MustAsk("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	if evicts := run(1); !strings.Contains(evicts, "maxmemory-policy is allkeys-lru") {
		t.Errorf("with a policy that evicts:\n%s", evicts)
	}
}

package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// gateway is the proxy between the internet and the servers. Its URL is known before they start.
type gateway struct {
	url string
	to  atomic.Pointer[url.URL]
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	f := &gateway{}
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(f.to.Load()) }}
	server := httptest.NewServer(proxy)
	f.url = server.URL + "/webhook"
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return f
}

func (f *gateway) sendTo(p *rig.Process) {
	f.to.Store(&url.URL{Scheme: "http", Host: strings.TrimSuffix(strings.TrimPrefix(p.Webhook, "http://"), "/webhook")})
}

// TestGoingLive follows the guide: register an endpoint, give its secret to the server, check. The events of a connected
// account come over a second endpoint.
func TestGoingLive(t *testing.T) {
	t.Parallel()
	stripe, redis, gateway := rig.StartFakeStripe(t), redistest.Start(t), newGateway(t)
	own, id := stripe.CreateEndpoint("--url", gateway.url)
	connected, _ := stripe.CreateEndpoint("--url", gateway.url+"?connect=1", "--connect", "--api-version=2023-10-16", "--description=accounts")
	for range 2 {
		stdout, stderr := stripe.EndpointCommand(1, "create", "--url="+gateway.url)
		if stdout != "" || !strings.Contains(stderr, id+" has this URL already (enabled, test mode)") || !strings.Contains(stderr, "webhook-endpoint check --url") {
			t.Errorf("create, repeated, wrote %q and %q", stdout, stderr)
		}
	}
	server := rig.Serve(t, stripe.Settings(redis.Addr, "STRIPE_WEBHOOK_SECRET="+own+","+connected, "LOG_LEVEL=debug"))
	gateway.sendTo(server)

	client := rig.ClientOf(t, server)
	session := stripe.NewSession("person-live")
	stripe.SubmitAndFinish(session, "document_expired")
	stripe.SubmitAndFinish(session, stripesim.OutcomeVerified)
	stripe.Do(stripe.Redact, session)
	stripe.Do(stripe.FinishRedaction, session) // comes to those alone who ask for it by name
	v := rig.GetStatus(t, client, session).GetVerification()
	if v.GetStatus() != verificationv1.Status_STATUS_VERIFIED || v.GetRetry().GetFailedAttempts() != 1 ||
		v.GetRedaction() != verificationv1.Redaction_REDACTION_REDACTED {
		t.Errorf("arrived: %v", v)
	}
	stripe.Tick()
	other, err := stripe.Create(stripesim.NewSession{Account: "acct_1Abc"})
	if err != nil {
		t.Fatal(err)
	}
	stripe.AwaitDelivered()
	if v := rig.GetStatus(t, client, other.ID).GetVerification(); v.GetStatus() != verificationv1.Status_STATUS_REQUIRES_INPUT {
		t.Errorf("of the connected account arrived: %v", v)
	}
	if stats := stripe.Stats(); stats.Failed != 0 || stats.Delivered != 7 {
		t.Errorf("deliveries: %+v", stats)
	}

	for _, address := range []string{gateway.url, gateway.url + "?connect=1"} {
		if stdout, stderr := stripe.EndpointCommand(0, "check", "--url", address); !strings.HasPrefix(stdout, "ok: we_") || stderr != "" {
			t.Errorf("check wrote %q and %q", stdout, stderr)
		}
	}
	list, _ := stripe.EndpointCommand(0, "list")
	if lines := strings.Split(list, "\n"); len(lines) != 4 || !strings.Contains(lines[1], "2023-10-16") || !strings.Contains(lines[2], id) ||
		strings.Count(list, "6 of 6") != 2 || strings.Contains(list, "whsec_") {
		t.Errorf("list wrote:\n%s", list)
	}
	if log := server.Stderr.String(); strings.Contains(log, own) || strings.Contains(log, connected) {
		t.Error("the server logs a webhook secret")
	}
}

// TestCheckTellsWhatIsMissing breaks an endpoint in every way at once, and fixes it by the commands that check prints.
func TestCheckTellsWhatIsMissing(t *testing.T) {
	stripe := rig.StartFakeStripe(t)
	const hook = "https://verification.example.com/webhook"
	if stdout, _ := stripe.EndpointCommand(1, "check", "--url", hook); !strings.Contains(stdout, "webhook-endpoint create --url '"+hook+"'") {
		t.Errorf("check without an endpoint wrote %q", stdout)
	}
	_, id := stripe.CreateEndpoint("--url", hook)
	stdout, _ := stripe.EndpointCommand(1, "check", "--url", hook+"s")
	if !strings.Contains(stdout, "no webhook endpoint with this URL") || !strings.Contains(stdout, id+" "+hook) {
		t.Errorf("check of another URL wrote %q", stdout)
	}

	target := stripe.URL + "/v1/webhook_endpoints"
	stripe.Change(http.MethodPost, target+"/"+id, url.Values{"disabled": {"true"}, "enabled_events[]": {
		"charge.succeeded", "identity.verification_session.created", "identity.verification_session.verified",
	}})
	stripe.Change(http.MethodPost, target, url.Values{"url": {hook}, "enabled_events[]": {"*"}})
	stdout, stderr := stripe.EndpointCommand(1, "check", "--url", hook)
	for _, want := range []string{
		id + " is disabled", "\n" + id + " does not send identity.verification_session.processing, identity.verification_session.requires_input, identity.verification_session.canceled, identity.verification_session.redacted: ",
		`does not send identity.verification_session.redacted ("*" does not include it`, " and " + id + " have the same URL", "API version",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("check does not say %q:\n%s", want, stdout)
		}
	}
	if !strings.Contains(stderr, "3 problems") || strings.Contains(stdout, "ok:") {
		t.Errorf("check wrote %q and %q", stdout, stderr)
	}
	for line := range strings.Lines(stdout) {
		if _, command, found := strings.Cut(line, "curl "); found {
			first, _, _ := strings.Cut(command, " or printf ")
			stripe.Curl(strings.TrimSpace(first))
		}
	}
	stdout, _ = stripe.EndpointCommand(0, "check", "--url", hook)
	if !strings.HasPrefix(stdout, "ok: ") || strings.Contains(stdout, "DELETE") {
		t.Errorf("check of what was fixed wrote %q", stdout)
	}
}

// TestEndpointCommandsRefuse: a command names what is wrong before it creates anything, and does not show the key.
func TestEndpointCommandsRefuse(t *testing.T) {
	t.Parallel()
	stripe := rig.StartFakeStripe(t)
	const hook = "--url=https://verification.example.com/webhook"
	for name, c := range map[string]struct {
		key  string
		args []string
		want []string
	}{
		"no key":       {"", []string{"create", hook}, []string{"STRIPE_API_KEY is not set"}},
		"another key":  {"sk_test_NotAKeyOfThisStripe", []string{"create", hook}, []string{"Stripe refuses the API key"}},
		"another mode": {rig.APIKey, []string{"check", hook, "--livemode=true"}, []string{"LIVEMODE", "other mode"}},
		"bad values": {rig.APIKey, []string{"create", "--url=http://verification.example.com", "--api-version=newest"},
			[]string{"--url must begin with https://", "--api-version"}},
		"refused":     {rig.APIKey, []string{"create", hook, "--description=" + strings.Repeat("x", 5001)}, []string{"--description"}},
		"a bad check": {rig.APIKey, []string{"check", "--url=/webhook"}, []string{"--url must be"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := rig.Launch(t, []string{"STRIPE_API_KEY=" + c.key, "STRIPE_API_BASE=" + stripe.URL}, append([]string{"webhook-endpoint"}, c.args...)...)
			code, text := p.Exit(rig.Soon), p.Stderr.String()
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("nothing is said of %q: %s", want, text)
				}
			}
			if code == 0 || p.Stdout.String() != "" || c.key != "" && strings.Contains(text, c.key) {
				t.Errorf("exit code %d, wrote %q and %q", code, p.Stdout.String(), text)
			}
		})
	}
	if stdout, _ := stripe.EndpointCommand(0, "list"); !strings.Contains(stdout, "no webhook endpoint") {
		t.Errorf("list wrote %q", stdout)
	}
}

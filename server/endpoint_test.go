package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/store/redistest"
	"example.com/verification-status/server/internal/stripesim"
)

// front is what stands between the internet and the servers: its URL is known before they start.
type front struct {
	url string
	to  atomic.Pointer[url.URL]
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{}
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

func (f *front) sendTo(p *process) {
	f.to.Store(&url.URL{Scheme: "http", Host: strings.TrimSuffix(strings.TrimPrefix(p.webhook, "http://"), "/webhook")})
}

// endpointCommand runs a webhook-endpoint command without any setting but the API's.
func (s *stripe) endpointCommand(code int, args ...string) (stdout, stderr string) {
	s.t.Helper()
	p := launch(s.t, []string{"STRIPE_API_KEY=" + apiKey, "STRIPE_API_BASE=" + s.url}, append([]string{"webhook-endpoint"}, args...)...)
	if got := p.exit(soon); got != code {
		s.t.Fatalf("%v: exit code %d, want %d: %s%s", args, got, code, p.stdout.String(), p.stderr.String())
	}
	stdout, stderr = p.stdout.String(), p.stderr.String()
	if strings.Contains(stdout+stderr, apiKey) {
		s.t.Errorf("%v shows the API key", args)
	}
	return stdout, stderr
}

var secretLine = regexp.MustCompile(`^STRIPE_WEBHOOK_SECRET=(whsec_[A-Za-z0-9]+)\n$`)

// createEndpoint registers an endpoint by command and returns its secret and its id.
func (s *stripe) createEndpoint(args ...string) (secret, id string) {
	s.t.Helper()
	stdout, stderr := s.endpointCommand(0, append([]string{"create"}, args...)...)
	match := secretLine.FindStringSubmatch(stdout)
	id = regexp.MustCompile(`we_[A-Za-z0-9]+`).FindString(stderr)
	if match == nil || id == "" || strings.Contains(stderr, "whsec_") {
		s.t.Fatalf("create wrote %q and %q", stdout, stderr)
	}
	return match[1], id
}

// TestGoingLive does what the guide says: register, give the secret to the server, check. A connected
// account's events come by a second endpoint.
func TestGoingLive(t *testing.T) {
	t.Parallel()
	stripe, redis, front := startStripe(t), redistest.Start(t), newFront(t)
	own, id := stripe.createEndpoint("--url", front.url)
	connected, _ := stripe.createEndpoint("--url", front.url+"?connect=1", "--connect", "--api-version=2023-10-16", "--description=accounts")
	for range 2 {
		stdout, stderr := stripe.endpointCommand(1, "create", "--url="+front.url)
		if stdout != "" || !strings.Contains(stderr, id+" has this URL already (enabled, test mode)") || !strings.Contains(stderr, "webhook-endpoint check --url") {
			t.Errorf("create, repeated, wrote %q and %q", stdout, stderr)
		}
	}
	server := serve(t, stripe.settings(redis.Addr, "STRIPE_WEBHOOK_SECRET="+own+","+connected, "LOG_LEVEL=debug"))
	front.sendTo(server)

	client := dialed(t, server)
	session := stripe.newSession("person-live")
	stripe.submit(session, "document_expired")
	stripe.submit(session, stripesim.OutcomeVerified)
	stripe.do(stripe.Redact, session)
	stripe.do(stripe.FinishRedaction, session) // comes to those alone who ask for it by name
	v := getStatus(t, client, session).GetVerification()
	if v.GetStatus() != verificationv1.Status_STATUS_VERIFIED || v.GetRetry().GetFailedAttempts() != 1 ||
		v.GetRedaction() != verificationv1.Redaction_REDACTION_REDACTED {
		t.Errorf("arrived: %v", v)
	}
	stripe.tick()
	other, err := stripe.Create(stripesim.NewSession{Account: "acct_1Abc"})
	if err != nil {
		t.Fatal(err)
	}
	stripe.settle()
	if v := getStatus(t, client, other.ID).GetVerification(); v.GetStatus() != verificationv1.Status_STATUS_REQUIRES_INPUT {
		t.Errorf("of the connected account arrived: %v", v)
	}
	if stats := stripe.Stats(); stats.Failed != 0 || stats.Delivered != 7 {
		t.Errorf("deliveries: %+v", stats)
	}

	for _, address := range []string{front.url, front.url + "?connect=1"} {
		if stdout, stderr := stripe.endpointCommand(0, "check", "--url", address); !strings.HasPrefix(stdout, "ok: we_") || stderr != "" {
			t.Errorf("check wrote %q and %q", stdout, stderr)
		}
	}
	list, _ := stripe.endpointCommand(0, "list")
	if lines := strings.Split(list, "\n"); len(lines) != 4 || !strings.Contains(lines[1], "2023-10-16") || !strings.Contains(lines[2], id) ||
		strings.Count(list, "6 of 6") != 2 || strings.Contains(list, "whsec_") {
		t.Errorf("list wrote:\n%s", list)
	}
	if log := server.stderr.String(); strings.Contains(log, own) || strings.Contains(log, connected) {
		t.Error("the server logs a webhook secret")
	}
}

// TestCheckTellsWhatIsMissing spoils an endpoint in every way at once, and mends it by the commands that
// check prints.
func TestCheckTellsWhatIsMissing(t *testing.T) {
	stripe := startStripe(t)
	const hook = "https://verification.example.com/webhook"
	if stdout, _ := stripe.endpointCommand(1, "check", "--url", hook); !strings.Contains(stdout, "webhook-endpoint create --url '"+hook+"'") {
		t.Errorf("check without an endpoint wrote %q", stdout)
	}
	_, id := stripe.createEndpoint("--url", hook)
	stdout, _ := stripe.endpointCommand(1, "check", "--url", hook+"s")
	if !strings.Contains(stdout, "no webhook endpoint with this URL") || !strings.Contains(stdout, id+" "+hook) {
		t.Errorf("check of another URL wrote %q", stdout)
	}

	target := stripe.url + "/v1/webhook_endpoints"
	stripe.change(http.MethodPost, target+"/"+id, url.Values{"disabled": {"true"}, "enabled_events[]": {
		"charge.succeeded", "identity.verification_session.created", "identity.verification_session.verified",
	}})
	stripe.change(http.MethodPost, target, url.Values{"url": {hook}, "enabled_events[]": {"*"}})
	stdout, stderr := stripe.endpointCommand(1, "check", "--url", hook)
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
			first, _, _ := strings.Cut(command, " or curl ")
			stripe.curl(strings.TrimSpace(first))
		}
	}
	stdout, _ = stripe.endpointCommand(0, "check", "--url", hook)
	if !strings.HasPrefix(stdout, "ok: ") || strings.Contains(stdout, "DELETE") {
		t.Errorf("check of what was mended wrote %q", stdout)
	}
}

// TestEndpointCommandsRefuse: what is wrong is said before anything is created, and without the key.
func TestEndpointCommandsRefuse(t *testing.T) {
	t.Parallel()
	stripe := startStripe(t)
	const hook = "--url=https://verification.example.com/webhook"
	for name, c := range map[string]struct {
		key  string
		args []string
		want []string
	}{
		"no key":       {"", []string{"create", hook}, []string{"STRIPE_API_KEY is not set"}},
		"another key":  {"sk_test_NotAKeyOfThisStripe", []string{"create", hook}, []string{"Stripe refuses the API key"}},
		"another mode": {apiKey, []string{"check", hook, "--livemode=true"}, []string{"LIVEMODE", "other mode"}},
		"bad values": {apiKey, []string{"create", "--url=http://verification.example.com", "--api-version=newest"},
			[]string{"--url must begin with https://", "--api-version"}},
		"refused":     {apiKey, []string{"create", hook, "--description=" + strings.Repeat("x", 5001)}, []string{"--description"}},
		"a bad check": {apiKey, []string{"check", "--url=/webhook"}, []string{"--url must be"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := launch(t, []string{"STRIPE_API_KEY=" + c.key, "STRIPE_API_BASE=" + stripe.url}, append([]string{"webhook-endpoint"}, c.args...)...)
			code, text := p.exit(soon), p.stderr.String()
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("nothing is said of %q: %s", want, text)
				}
			}
			if code == 0 || p.stdout.String() != "" || c.key != "" && strings.Contains(text, c.key) {
				t.Errorf("exit code %d, wrote %q and %q", code, p.stdout.String(), text)
			}
		})
	}
	if stdout, _ := stripe.endpointCommand(0, "list"); !strings.Contains(stdout, "no webhook endpoint") {
		t.Errorf("list wrote %q", stdout)
	}
}

// curl does what curl would do with a line that check prints: -u, -X, -d and a URL.
func (s *stripe) curl(line string) {
	s.t.Helper()
	method, target, form := http.MethodPost, "", url.Values{}
	line = strings.Replace(line, `"${STRIPE_API_KEY:-$(cat "$STRIPE_API_KEY_FILE")}:"`, "KEY", 1)
	args := regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`).FindAllString(line, -1)
	for i := 0; i < len(args); i++ {
		option, word := args[i], ""
		if slices.Contains([]string{"-u", "-X", "-d"}, option) {
			i++
			word = strings.Trim(args[i], `'"`)
		}
		switch option {
		case "-u":
			if word != "KEY" {
				s.t.Fatalf("not to be understood: %s", line)
			}
		case "-X":
			method = word
		case "-d":
			name, value, _ := strings.Cut(word, "=")
			form.Add(name, value)
		default:
			target = option
		}
	}
	s.change(method, target, form)
}

// change is a call of Stripe's API that must succeed.
func (s *stripe) change(method, target string, form url.Values) {
	s.t.Helper()
	request, err := http.NewRequest(method, target, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	request.SetBasicAuth(apiKey, "")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := s.http.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	if text, err := readAll(response); err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %s %s, %v", method, target, response.Status, text, err)
	}
}

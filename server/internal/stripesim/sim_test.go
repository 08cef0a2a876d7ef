package stripesim

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	stripe "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/identity/verificationsession"
	"go.uber.org/goleak"

	"example.com/verification-status/server/internal/testing/await"
)

const (
	testKey = "sk_test_simulated"
	liveKey = "sk_live_simulated"
	secret  = "whsec_first"
	patient = 10 * time.Second // the deadline of every wait
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a simulator behind a server, driven by the real client and by plain HTTP.
type bench struct {
	*Sim
	t      *testing.T
	url    string
	client verificationsession.Client
	http   *http.Client
}

// newBench starts a simulator with everything immediate unless cfg says otherwise.
func newBench(t *testing.T, cfg Config) *bench {
	t.Helper()
	if cfg.APIKeys == nil {
		cfg.APIKeys = []string{testKey, liveKey}
	}
	if cfg.ProcessingDelay == 0 {
		cfg.ProcessingDelay = Immediately
	}
	if cfg.Seed == 0 {
		cfg.Seed = 7
	}
	sim, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(sim.Handler())
	plain := &http.Client{
		Transport:     &http.Transport{},
		Timeout:       patient,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		plain.CloseIdleConnections()
		srv.Close()
	})
	return &bench{Sim: sim, t: t, url: srv.URL, http: plain, client: stripeClient(plain, srv.URL, testKey)}
}

func stripeClient(c *http.Client, url, key string) verificationsession.Client {
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		URL: stripe.String(url), HTTPClient: c, MaxNetworkRetries: stripe.Int64(0), EnableTelemetry: stripe.Bool(false),
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	return verificationsession.Client{B: backend, Key: key}
}

// run starts delivery for the length of the test.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := await.One(b.t, done); err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
}

func (b *bench) settle() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if err := b.Settle(ctx); err != nil {
		b.t.Fatal(err)
	}
}

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) errorOf(t *testing.T) Error {
	t.Helper()
	var out struct{ Error Error }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("no error body: %v in %q", err, a.body)
	}
	return out.Error
}

func (a answer) session(t *testing.T) sessionObject {
	t.Helper()
	var out sessionObject
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("no session: %v in %q", err, a.body)
	}
	return out
}

// call sends a form with the test key; headers come in pairs and an empty one takes a header away.
func (b *bench) call(method, path string, form url.Values, headers ...string) answer {
	b.t.Helper()
	target := path
	if !strings.HasPrefix(path, "http") {
		target = b.url + path
	}
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, target, body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	req.Host = cmp.Or(req.Header.Get("Host"), req.Host)
	return b.send(req)
}

func (b *bench) send(req *http.Request) answer {
	b.t.Helper()
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(raw)}
}

// create makes a session through the API, of type document unless the parameters say otherwise; an empty one is left out.
func (b *bench) create(pairs ...string) sessionObject {
	b.t.Helper()
	form := url.Values{"type": {"document"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			form.Del(pairs[i])
		}
	}
	a := b.call("POST", sessionsPath, form)
	if a.status != 200 {
		b.t.Fatalf("create: %d %s", a.status, a.body)
	}
	return a.session(b.t)
}

func (b *bench) truth(id string) Session {
	b.t.Helper()
	sess, ok := b.Session(id)
	if !ok {
		b.t.Fatalf("no session %s", id)
	}
	return sess
}

// types returns the events' types without their common beginning.
func (b *bench) types() []string {
	var out []string
	for _, e := range b.Events() {
		out = append(out, strings.TrimPrefix(e.Type, "identity.verification_session."))
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	endpoint := Endpoint{URL: "http://127.0.0.1:1/hook", Secrets: []string{secret}}
	many := make([]Endpoint, 17)
	for name, tc := range map[string]struct {
		cfg  Config
		want string
	}{
		"no key":       {Config{}, "APIKeys is empty"},
		"odd key":      {Config{APIKeys: []string{"pk_test_1"}}, "APIKeys[0]"},
		"relative url": {Config{Endpoints: []Endpoint{{URL: "/hook", Secrets: []string{secret}}}}, "URL must be"},
		"no secret":    {Config{Endpoints: []Endpoint{{URL: endpoint.URL}}}, "Secrets"},
		"empty secret": {Config{Endpoints: []Endpoint{{URL: endpoint.URL, Secrets: []string{secret, ""}}}}, "Secrets"},
		"a duplicate":  {Config{Endpoints: []Endpoint{endpoint, endpoint}}, "duplicate"},
		"odd event":    {Config{Endpoints: []Endpoint{{URL: endpoint.URL, Secrets: []string{secret}, EnabledEvents: []string{"identity.verification_session.updated"}}}}, "EnabledEvents"},
		"too many":     {Config{Endpoints: many}, "too many"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.cfg.APIKeys == nil && name != "no key" {
				tc.cfg.APIKeys = []string{testKey}
			}
			_, err := New(tc.cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want an error with %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "pk_test_1") || strings.Contains(err.Error(), secret) {
				t.Fatalf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestIDsHaveStripesFormAndFollowTheSeed(t *testing.T) {
	life := func(seed uint64) []string {
		s, err := New(Config{APIKeys: []string{testKey}, Seed: seed, ProcessingDelay: Immediately})
		must(t, err)
		sess, err := s.Create(NewSession{})
		must(t, err)
		must(t, s.Submit(sess.ID, OutcomeVerified))
		truth, _ := s.Session(sess.ID)
		return []string{truth.ID, truth.LastVerificationReport, s.Events()[0].ID}
	}
	first, same, other := life(3), life(3), life(4)
	for i, prefix := range []string{"vs", "vr", "evt"} {
		if !regexp.MustCompile(`^` + prefix + `_[A-Za-z0-9]{24}$`).MatchString(first[i]) {
			t.Errorf("%q is not like Stripe's", first[i])
		}
		if first[i] != same[i] || first[i] == other[i] {
			t.Errorf("seed 3: %q and %q, seed 4: %q", first[i], same[i], other[i])
		}
	}
	if life(0)[0] == life(0)[0] {
		t.Error("without a seed two simulators make the same ids")
	}
}

func TestRunTwiceAtOnceIsRefused(t *testing.T) {
	b := newBench(t, Config{ProcessingDelay: time.Millisecond})
	b.run()
	sess, err := b.Create(NewSession{})
	must(t, err)
	must(t, b.Submit(sess.ID, OutcomeVerified))
	b.settle() // so that the first one surely runs
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Run(ctx); err == nil {
		t.Fatal("a second Run was taken")
	}
}

func TestSettleSaysWhatIsLeft(t *testing.T) {
	b := newBench(t, Config{ProcessingDelay: time.Hour})
	sess, err := b.Create(NewSession{})
	must(t, err)
	b.settle() // nothing is open
	must(t, b.Submit(sess.ID, OutcomeVerified))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Settle(ctx); err == nil || !strings.Contains(err.Error(), "1 webhooks or delays") {
		t.Fatalf("got %v", err)
	}
}

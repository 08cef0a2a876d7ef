package golive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// fakeStripe answers with fixed values. The zero value is a Stripe without endpoints and events.
type fakeStripe struct {
	endpoints, destinations       []stripeapi.Endpoint
	errEndpoints, errDestinations error
	pages, perPage                int // of events; perPage 0: 100
	errEvents, errFind, errWrite  error
	errAccounts                   map[string]error
	skew                          time.Duration
	errSkew                       error
	calls                         int
}

func (f *fakeStripe) Endpoints(context.Context) ([]stripeapi.Endpoint, error) {
	return f.endpoints, f.errEndpoints
}

func (f *fakeStripe) Destinations(context.Context) ([]stripeapi.Endpoint, error) {
	return f.destinations, f.errDestinations
}

func (f *fakeStripe) Events(_ context.Context, account string, query verification.EventQuery) (verification.EventPage, error) {
	if account != "" {
		return verification.EventPage{}, f.errAccounts[account]
	}
	if f.calls++; f.errEvents != nil || f.pages == 0 {
		return verification.EventPage{}, f.errEvents
	}
	if from := now.Add(-24 * time.Hour).Unix(); query.From != from {
		return verification.EventPage{}, fmt.Errorf("events from %d, want %d", query.From, from)
	}
	return verification.EventPage{Events: make([]verification.Event, cmp.Or(f.perPage, 100)), More: f.calls < f.pages, Last: "evt_1"}, nil
}

func (f *fakeStripe) FindByReference(context.Context, string) (verification.Retrieved, error) {
	if f.errFind != nil {
		return verification.Retrieved{}, f.errFind
	}
	return verification.Retrieved{}, verification.ErrStripeUnknown
}

func (f *fakeStripe) ProbeWrite(context.Context) error { return f.errWrite }

func (f *fakeStripe) Skew(context.Context) (time.Duration, error) { return f.skew, f.errSkew }

var now = time.Unix(1_790_000_000, 0)

const hook = "https://verification.example.com/webhook"

func snapshot(id string) stripeapi.Endpoint {
	return stripeapi.Endpoint{ID: id, URL: hook, Enabled: true, EnabledEvents: verification.EventTypes}
}

const staging = "https://staging.example.com/webhook"

func change(e stripeapi.Endpoint, how func(*stripeapi.Endpoint)) stripeapi.Endpoint {
	how(&e)
	return e
}

func thin(id string) stripeapi.Endpoint {
	e := stripeapi.Endpoint{ID: id, URL: hook, Enabled: true, Thin: true, V2: true}
	for _, eventType := range verification.EventTypes {
		e.EnabledEvents = append(e.EnabledEvents, stripeapi.ThinType(eventType))
	}
	return e
}

func TestRun(t *testing.T) {
	withKeys := func(c *config.Config) {
		c.StripeAPIKey, c.StripeAPIKeyFile = "", filepath.Join(t.TempDir(), "keys")
		if err := os.WriteFile(c.StripeAPIKeyFile, []byte("rk_test_planted\nacct_3 rk_test_planted3\nacct_4 rk_test_planted4\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused, away := verification.ErrStripeUnauthorized, verification.ErrStripeUnavailable
	for name, tc := range map[string]struct {
		set      func(*config.Config)
		stripe   *fakeStripe // nil: no key
		risks    []string
		errRedis error
		problems int
		says     []string // lines begin so
		not      string   // no line contains it
	}{
		"all is well": {nil, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}, pages: 1}, nil, nil, 0, []string{
			"ok       mode         events of test mode", "ok       key          Stripe accepts the restricted key",
			"ok       permission   Verification Sessions and Reports: Read", "ok       permission   Verification Sessions and Reports: Write",
			"ok       permission   Events: Read", "ok       clock ", "ok       endpoint     enabled, with all types of events: we_1 " + hook, "ok       account      the API key and the endpoint",
			"ok       reads        snapshot events cost no read at Stripe; the account had 100 Identity events", "ok       secrets      STRIPE_WEBHOOK_SECRET has 1 signing secret in",
			"ok       redis ", "[ ] Each endpoint's signing secret", "[ ] Stripe Identity is activated",
		}, "problem"},
		"thin": {nil, &fakeStripe{destinations: []stripeapi.Endpoint{thin("ed_1")}, pages: 3}, nil, nil, 0,
			[]string{"ok       reads        thin events cost a read each; the account had 300 Identity events"}, "problem"},
		"thin, very many": {nil, &fakeStripe{destinations: []stripeapi.Endpoint{thin("ed_1")}, pages: 100}, nil, nil, 0,
			[]string{"ok       reads        thin events cost a read each; the account had over 2000 Identity events"}, "problem"},
		"both styles": {func(c *config.Config) { c.StripeWebhookSecret = "whsec_planted01,whsec_planted02" },
			&fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}, destinations: []stripeapi.Endpoint{thin("ed_1")}}, nil, nil, 0,
			[]string{"ok       reads        both styles come", "ok       secrets      STRIPE_WEBHOOK_SECRET has 2 signing secrets"}, "problem"},
		"a secret too few": {nil, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}, destinations: []stripeapi.Endpoint{thin("ed_1")}}, nil, nil, 1,
			[]string{"problem  secrets      STRIPE_WEBHOOK_SECRET has 1 signing secret, and 2 endpoints"}, ""},
		"no key": {func(c *config.Config) { c.StripeAPIKey = "" }, nil, nil, nil, 2,
			[]string{"problem  mode         live events and test events are both accepted", "problem  key          STRIPE_API_KEY is not set", "ok       redis"}, "permission  "},
		"live": {func(c *config.Config) { c.StripeAPIKey = "sk_live_planted" }, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}}, nil, nil, 0,
			[]string{"ok       mode         events of live mode", "ok       key          Stripe accepts the secret key"}, "problem"},
		"no permission to write": {nil, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}, errWrite: refused}, nil, nil, 1,
			[]string{"ok       permission   Verification Sessions and Reports: Read", "problem  permission   Verification Sessions and Reports: Write is missing"}, ""},
		"no permission but to write": {nil, &fakeStripe{errFind: refused, errEvents: verification.ErrStripeUnavailable, errEndpoints: refused, errDestinations: refused}, nil, nil, 2, []string{
			"problem  permission   Verification Sessions and Reports: Read is missing", "problem  permission   Events: Read: Stripe gave no usable answer",
			"skipped  endpoint ", "skipped  reads ", "[ ] The webhook endpoint at Stripe is enabled",
		}, ""},
		"refused": {nil, &fakeStripe{errFind: refused, errEvents: refused, errWrite: refused}, nil, nil, 1,
			[]string{"problem  key          Stripe refuses the API key"}, "permission  "},
		"away": {nil, &fakeStripe{errFind: away}, nil, nil, 1, []string{"problem  key          Stripe gives no answer"}, "permission  "},
		"the clock": {nil, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}, skew: -150 * time.Second}, nil, nil, 1,
			[]string{"problem  clock        this machine's clock differs from Stripe's by -2m30s"}, ""},
		"a clock of no answer": {nil, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}, errSkew: away}, nil, nil, 1, []string{"problem  clock"}, ""},
		"no endpoint": {nil, &fakeStripe{}, nil, nil, 1,
			[]string{"problem  endpoint     the API key sees no webhook endpoint", "skipped  reads        no endpoint that is enabled is known"}, "ok       account"},
		"one event": {nil, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}, pages: 1, perPage: 1}, nil, nil, 0, []string{"ok       reads        snapshot events cost no read at Stripe; the account had 1 Identity event in"}, "problem"},
		"a disabled thin endpoint": {nil, &fakeStripe{destinations: []stripeapi.Endpoint{change(thin("ed_1"), func(e *stripeapi.Endpoint) { e.Enabled = false })}}, nil, nil, 1,
			[]string{"problem  endpoint     ed_1 " + hook + " is disabled", "skipped  reads        no endpoint that is enabled is known"}, "cost no read"},
		"endpoints of two hosts": {nil, &fakeStripe{endpoints: []stripeapi.Endpoint{change(snapshot("we_1"), func(e *stripeapi.Endpoint) { e.Enabled = false }),
			change(snapshot("we_2"), func(e *stripeapi.Endpoint) { e.URL = staging })}, destinations: []stripeapi.Endpoint{change(thin("ed_1"), func(e *stripeapi.Endpoint) { e.URL = staging })}}, nil, nil, 0,
			[]string{"skipped  endpoint     endpoints of several hosts have the path /webhook (verification.example.com, staging.example.com): set WEBHOOK_URL",
				"skipped  endpoint     we_1 " + hook + " is disabled", "skipped  reads        the style of the endpoint is not known", "ok       secrets"}, "problem"},
		"endpoints of two hosts, and the URL is said": {func(c *config.Config) { c.WebhookURL = hook },
			&fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1"), change(snapshot("we_2"), func(e *stripeapi.Endpoint) { e.URL = staging })}}, nil, nil, 0,
			[]string{"ok       endpoint     enabled, with all types of events: we_1 " + hook}, "staging"},
		"through EventBridge": {nil, &fakeStripe{destinations: []stripeapi.Endpoint{change(thin("ed_1"), func(e *stripeapi.Endpoint) { e.URL, e.Transport = "", "amazon_eventbridge" })}}, nil, nil, 0,
			[]string{"skipped  endpoint     Stripe sends the events through a destination", "skipped  reads", "[ ] The events of the destination reach"}, "problem"},
		"accounts with a key of their own": {withKeys, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}, errAccounts: map[string]error{"acct_4": errors.New("refused")}}, nil, nil, 1,
			[]string{"ok       account      acct_3 gives access", "problem  account      the key of acct_4 in STRIPE_API_KEY_FILE gives no access"}, "STRIPE_ACCOUNTS"},
		"v2 is not permitted": {nil, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}, errDestinations: refused}, nil, nil, 0,
			[]string{"skipped  endpoint     the event destinations of API v2 cannot be listed", "ok       endpoint     enabled, with all types of events: we_1"}, "problem"},
		"no endpoint in the half that is permitted": {nil, &fakeStripe{errDestinations: refused}, nil, nil, 0,
			[]string{"skipped  endpoint ", "[ ] The webhook endpoint at Stripe is enabled"}, "problem"},
		"the other path": {func(c *config.Config) { c.WebhookPath = "/stripe" }, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}}, nil, nil, 1,
			[]string{"problem  endpoint     the server answers only /stripe"}, ""},
		"accounts": {func(c *config.Config) { c.StripeAccounts = "acct_1,acct_2" },
			&fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}, errAccounts: map[string]error{"acct_2": errors.New("refused")}}, nil, nil, 1,
			[]string{"ok       account      acct_1 gives access", "problem  account      acct_2 gives no access"}, ""},
		"an organization": {func(c *config.Config) { c.StripeAPIKey, c.StripeAccounts = "sk_org_test_planted", "acct_1" }, &fakeStripe{}, nil, nil, 0,
			[]string{"skipped  key          the key is of an organization", "ok       account      acct_1 gives access"}, "permission  "},
		"Redis is risky":  {nil, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}}, []string{"appendonly is off"}, nil, 1, []string{"problem  redis        appendonly is off"}, "ok       redis"},
		"Redis is wrong":  {nil, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}}, nil, errors.New("it evicts"), 1, []string{"problem  redis        it evicts"}, "ok       redis"},
		"Redis is afar":   {func(c *config.Config) { c.RedisURL = "redis://192.0.2.1" }, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}}, nil, nil, 1, []string{"problem  settings     REDIS_URL leads to another machine in plain text"}, ""},
		"all goes wrong":  {nil, &fakeStripe{errWrite: refused, skew: time.Hour}, []string{"risky"}, nil, 4, []string{"problem  permission", "problem  clock", "problem  endpoint", "problem  redis"}, ""},
		"the URL is said": {func(c *config.Config) { c.WebhookURL = hook }, &fakeStripe{endpoints: []stripeapi.Endpoint{snapshot("we_1")}}, nil, nil, 0, []string{"ok       endpoint     enabled, with all types of events: we_1"}, "problem"},
	} {
		t.Run(name, func(t *testing.T) {
			c := config.Defaults()
			c.RedisURL, c.StripeAPIKey, c.StripeWebhookSecret = "redis://127.0.0.1", "rk_test_planted", "whsec_planted01"
			if tc.set != nil {
				tc.set(c)
			}
			if err := c.Load(); err != nil {
				t.Fatal(err)
			}
			checks := Config{Settings: c, Clock: func() time.Time { return now }, Redis: func(context.Context) ([]string, error) { return tc.risks, tc.errRedis }}
			if tc.stripe != nil {
				checks.Stripe = tc.stripe
			}
			var out bytes.Buffer
			err := Run(t.Context(), checks, &out)
			text := out.String()
			if n := strings.Count("\n"+text, "\nproblem "); n != tc.problems || (err != nil) != (n > 0) {
				t.Errorf("%d problems, %v; want %d", n, err, tc.problems)
			}
			if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("%d problem", tc.problems)) {
				t.Errorf("error: %v", err)
			}
			for _, want := range tc.says {
				if !strings.Contains("\n"+text, "\n"+want) {
					t.Errorf("no line begins with %q", want)
				}
			}
			checked, _, _ := strings.Cut(text, "\n\n")
			if tc.not != "" && strings.Contains(checked, tc.not) {
				t.Errorf("a line contains %q", tc.not)
			}
			if strings.Contains(text, "planted") {
				t.Error("a secret is shown")
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

package endpoints

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

func TestExamine(t *testing.T) {
	const hook, path, base = "https://verification.example.com/webhook", "/webhook", "https://api.stripe.com/"
	live, test := true, false
	with := func(change func(*stripeapi.Endpoint)) stripeapi.Endpoint {
		e := stripeapi.Endpoint{ID: "we_1", URL: hook, EnabledEvents: slices.Clone(verification.EventTypes), Enabled: true}
		if change != nil {
			change(&e)
		}
		return e
	}
	thin := func(change func(*stripeapi.Endpoint)) stripeapi.Endpoint {
		e := with(func(e *stripeapi.Endpoint) { e.ID, e.Thin, e.V2, e.EnabledEvents = "ed_1", true, true, thinTypes() })
		if change != nil {
			change(&e)
		}
		return e
	}
	other := with(func(e *stripeapi.Endpoint) { e.ID, e.URL = "we_2", hook+"/" })
	for name, tc := range map[string]struct {
		all      []stripeapi.Endpoint
		live     *bool
		problems []string // a part of each, in order
		notes    []string
	}{
		"fine":         {[]stripeapi.Endpoint{other, with(nil)}, &test, nil, []string{"ok: we_1 sends all 6", "we_1: the API version of its events is the account's"}},
		"of no matter": {[]stripeapi.Endpoint{with(func(e *stripeapi.Endpoint) { e.Livemode = true })}, nil, nil, []string{"ok: we_1", "takes any"}},
		"more than asked": {[]stripeapi.Endpoint{with(func(e *stripeapi.Endpoint) {
			e.EnabledEvents, e.APIVersion = []string{"*", verification.EventRedacted}, "2019-02-19"
		})}, &test, nil, []string{"ok: we_1", "is 2019-02-19; the server takes any"}},
		"written otherwise": {[]stripeapi.Endpoint{with(func(e *stripeapi.Endpoint) { e.URL = "HTTPS://Verification.Example.com:443/webhook" })}, &test, nil,
			[]string{"ok: we_1", "takes any"}},
		"nothing":      {nil, &test, []string{"no webhook endpoint with this URL (it has no other one): server webhook-endpoint create --url '" + hook + "'"}, nil},
		"only another": {[]stripeapi.Endpoint{other}, &test, []string{"(it has we_2 " + hook + "/)"}, nil},
		"disabled": {[]stripeapi.Endpoint{with(func(e *stripeapi.Endpoint) { e.Enabled = false })}, &test,
			[]string{`we_1 is disabled, so that Stripe sends it nothing: ` + curlWithKey + ` -d disabled=false https://api.stripe.com/v1/webhook_endpoints/we_1`}, []string{"takes any"}},
		"without a type": {[]stripeapi.Endpoint{with(func(e *stripeapi.Endpoint) {
			e.EnabledEvents = append(slices.DeleteFunc(e.EnabledEvents, func(t string) bool { return t == verification.EventCanceled }), "charge.failed")
		})}, &test, []string{"we_1 does not send identity.verification_session.canceled: printf"}, []string{"takes any"}},
		"with the star": {[]stripeapi.Endpoint{with(func(e *stripeapi.Endpoint) { e.EnabledEvents = []string{"*"} })}, &test,
			[]string{`we_1 does not send identity.verification_session.redacted ("*" does not include it`}, []string{"takes any"}},
		"of the other mode": {[]stripeapi.Endpoint{with(nil)}, &live, []string{"we_1 is of test mode, but events of live mode are expected"}, []string{"takes any"}},
		"three times": {[]stripeapi.Endpoint{with(nil), with(func(e *stripeapi.Endpoint) { e.ID = "we_3" }), with(func(e *stripeapi.Endpoint) { e.ID = "we_4" })}, &test,
			nil, []string{"ok: we_1", "we_1", "we_3", "we_4", "we_1 and we_3 and we_4 have the same URL"}},
		"thin": {[]stripeapi.Endpoint{thin(nil)}, &test, nil, []string{"ok: ed_1 sends all 6", "ed_1: its events are thin: each costs the server one read"}},
		"both styles": {[]stripeapi.Endpoint{with(nil), thin(nil)}, &test, nil,
			[]string{"ok: we_1", "we_1: the API version", "ed_1: its events are thin", "we_1 and ed_1 have the same URL, with both styles of events. That is fine"}},
		"both styles and a copy": {[]stripeapi.Endpoint{with(nil), thin(nil), with(func(e *stripeapi.Endpoint) { e.ID = "we_5" })}, &test, nil,
			[]string{"ok: we_1", "we_1", "ed_1", "we_5", "with both styles", "every event arrives twice"}},
		"thin, disabled, with the star": {[]stripeapi.Endpoint{thin(func(e *stripeapi.Endpoint) { e.Enabled, e.EnabledEvents = false, []string{"*"} })}, &test, []string{
			`ed_1 is disabled, so that Stripe sends it nothing: ` + curlWithKey + ` -X POST -H 'Stripe-Version: ` + stripeapi.DestinationsVersion + `' https://api.stripe.com/v2/core/event_destinations/ed_1/enable`,
			`ed_1 does not send v1.identity.verification_session.redacted ("*" does not include it`,
		}, []string{"its events are thin"}},
		"thin, with the names of snapshot events": {[]stripeapi.Endpoint{thin(func(e *stripeapi.Endpoint) { e.EnabledEvents = verification.EventTypes })}, &test,
			[]string{"ed_1 does not send v1.identity.verification_session.created, v1.identity"}, []string{"its events are thin"}},
		"of another transport": {[]stripeapi.Endpoint{with(func(e *stripeapi.Endpoint) { e.URL, e.Transport = "", "amazon_eventbridge" })}, &test,
			[]string{"(it has we_1 amazon_eventbridge)"}, nil},
		"everything at once": {[]stripeapi.Endpoint{with(func(e *stripeapi.Endpoint) { e.Enabled, e.EnabledEvents = false, nil }), with(func(e *stripeapi.Endpoint) { e.ID = "we_3" })}, &live,
			[]string{"we_1 is of test mode", "we_1 is disabled", "we_1 does not send", "we_3 is of test mode"}, []string{"we_1", "we_3", "we_1 and we_3"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := examine(tc.all, hook, tc.live, "", path, base)
			for kind, lines := range map[string][2][]string{"problems": {f.problems, tc.problems}, "notes": {f.notes, tc.notes}} {
				got, want := lines[0], lines[1]
				if len(got) != len(want) {
					t.Fatalf("%s: %q, want %q", kind, got, want)
				}
				for i := range got {
					if !strings.Contains(got[i], want[i]) || strings.Contains(got[i], "\n") {
						t.Errorf("%s: %q, want %q in it", kind, got[i], want[i])
					}
				}
			}
		})
	}
}

// The command that fixes the types keeps those of other products, names each once, and removes "*".
func TestExamineFixesTypes(t *testing.T) {
	for name, tc := range map[string]struct {
		has   []string
		count int
	}{
		"others": {[]string{"charge.failed", verification.EventVerified}, 7},
		"star":   {[]string{"*"}, 6},
	} {
		e := stripeapi.Endpoint{ID: "we_1", URL: "https://a.example/", EnabledEvents: tc.has, Enabled: true}
		line := examine([]stripeapi.Endpoint{e}, "https://a.example", nil, "", "/webhook", "https://api.stripe.com").problems[0]
		if n := strings.Count(line, "enabled_events[]="); n != tc.count || strings.Contains(line, "=*") ||
			strings.Count(line, "-d 'enabled_events[]="+verification.EventVerified+"'") != 1 {
			t.Errorf("%s: %s", name, line)
		}
	}
}

// A shell that runs a printed command sees each value as one word, also if the API that was asked is not Stripe's.
func TestPrintedCommandsKeepTheirValues(t *testing.T) {
	const odd = `a';echo pwned;'$(echo pwned)`
	const hook, base = "https://a.example/" + odd, "http://127.0.0.1:1/" + odd
	e := stripeapi.Endpoint{ID: "we_1", URL: hook, EnabledEvents: []string{odd}}
	thin := stripeapi.Endpoint{ID: "ed_1", URL: hook, EnabledEvents: []string{odd}, Thin: true}
	for _, line := range slices.Concat(examine([]stripeapi.Endpoint{e, thin}, hook, nil, hook, "/webhook", base).problems, examine(nil, hook, nil, hook, "/webhook", base).problems) {
		_, command, _ := strings.Cut(line, ": ")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		shell := exec.CommandContext(ctx, "sh", "-c", `curl() { printf '%s\n' "$@"; read -r header; test "$header" = 'Authorization: Bearer planted'; }; server() { printf '%s\n' "$@"; }; `+command)
		shell.Env = []string{"STRIPE_API_KEY=planted"}
		out, err := shell.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", command, err, out)
		}
		if strings.Contains(string(out), "planted") {
			t.Errorf("%s\nthe key is an argument: %s", command, out)
		}
		for word := range strings.Lines(string(out)) {
			if strings.Contains(word, "pwned") && !strings.Contains(word, odd) {
				t.Errorf("%s\nthe shell ran a value: %s", command, out)
			}
		}
	}
}

func TestQuote(t *testing.T) {
	if got := quote("https://a.example/?a=b&c='d'"); got != `'https://a.example/?a=b&c='\''d'\'''` {
		t.Errorf("%s", got)
	}
}

// A base can end with the version, as in Stripe's documentation.
func TestExamineBase(t *testing.T) {
	for _, base := range []string{"http://127.0.0.1:1", "http://127.0.0.1:1/", "http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/"} {
		if got := curl(base, "we_1"); !strings.HasSuffix(got, " http://127.0.0.1:1/v1/webhook_endpoints/we_1") {
			t.Errorf("%s: %s", base, got)
		}
	}
}

// A path that the server does not answer is a problem. It gives a note if WEBHOOK_URL says that a proxy changes it.
func TestExaminePath(t *testing.T) {
	for _, tc := range []struct {
		target, own string
		noted, bad  bool
	}{
		{"https://a.example/webhook", "", false, false},
		{"https://a.example/webhook?connect=1", "", false, false},
		{"https://a.example/stripe", "", false, true},
		{"https://a.example", "", false, true},
		{"https://a.example/stripe", "https://a.example/other", false, true},
		{"https://a.example/stripe", "https://a.example/stripe", true, false},
		{"https://a.example/stripe?connect=1", "https://A.example/stripe", true, false},
	} {
		e := stripeapi.Endpoint{ID: "we_1", URL: tc.target, EnabledEvents: verification.EventTypes, Enabled: true}
		f := examine([]stripeapi.Endpoint{e}, tc.target, nil, tc.own, "/webhook", "")
		problems, notes := strings.Join(f.problems, " "), strings.Join(f.notes, " ")
		if strings.Contains(notes, "is not /webhook") != tc.noted || strings.Contains(problems, "is not /webhook") != tc.bad || strings.Contains(notes, "ok: ") == tc.bad {
			t.Errorf("%s with WEBHOOK_URL %q: problems %q, notes %q", tc.target, tc.own, problems, notes)
		}
	}
}

// thinTypes returns the types of thin events of Identity sessions.
func thinTypes() (types []string) {
	for _, eventType := range verification.EventTypes {
		types = append(types, stripeapi.ThinType(eventType))
	}
	return types
}

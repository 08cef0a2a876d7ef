package endpoints

import (
	"slices"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

func TestJudge(t *testing.T) {
	const hook = "https://verification.example.com/webhook"
	with := func(id string, change func(*stripeapi.Endpoint)) stripeapi.Endpoint {
		e := stripeapi.Endpoint{ID: id, URL: hook, EnabledEvents: slices.Clone(verification.EventTypes), Enabled: true}
		if change != nil {
			change(&e)
		}
		return e
	}
	at := func(url string) func(*stripeapi.Endpoint) { return func(e *stripeapi.Endpoint) { e.URL = url } }
	disabled := func(e *stripeapi.Endpoint) { e.Enabled = false }
	star := func(e *stripeapi.Endpoint) { e.EnabledEvents = []string{"*"} }
	thin := func(e *stripeapi.Endpoint) { e.Thin, e.V2, e.EnabledEvents = true, true, thinTypes() }
	both := func(changes ...func(*stripeapi.Endpoint)) func(*stripeapi.Endpoint) {
		return func(e *stripeapi.Endpoint) {
			for _, change := range changes {
				change(e)
			}
		}
	}
	bridge := func(e *stripeapi.Endpoint) { e.URL, e.Transport = "", "amazon_eventbridge" }
	invoices := with("we_9", func(e *stripeapi.Endpoint) {
		e.URL, e.EnabledEvents = "https://shop.example/hooks", []string{"invoice.paid"}
	})
	for name, tc := range map[string]struct {
		all  []stripeapi.Endpoint
		own  string // WEBHOOK_URL
		path string // WEBHOOK_PATH; empty: /webhook
		want Problems
		says string // a part of the first line
	}{
		"fine":                                  {[]stripeapi.Endpoint{invoices, with("we_1", nil)}, hook, "", 0, ""},
		"fine, without a URL":                   {[]stripeapi.Endpoint{invoices, with("we_1", nil)}, "", "", 0, ""},
		"thin":                                  {[]stripeapi.Endpoint{with("ed_1", thin)}, hook, "", 0, ""},
		"nothing":                               {nil, hook, "", ProblemMissing, "it sees none"},
		"nothing, without a URL":                {nil, "", "", ProblemMissing, "no webhook endpoint for Identity events; it sees none"},
		"only of another product":               {[]stripeapi.Endpoint{invoices}, "", "", ProblemMissing, "it sees we_9 https://shop.example/hooks"},
		"of another account":                    {[]stripeapi.Endpoint{with("we_1", at("https://other.example/webhook"))}, hook, "", ProblemMissing, "the endpoint's account and mode"},
		"through EventBridge only":              {[]stripeapi.Endpoint{with("ed_1", bridge)}, "", "", 0, ""},
		"through EventBridge, with a URL":       {[]stripeapi.Endpoint{with("ed_1", bridge)}, hook, "", ProblemMissing, "ed_1 amazon_eventbridge"},
		"through EventBridge, without redacted": {[]stripeapi.Endpoint{with("ed_1", both(bridge, star))}, "", "", ProblemMissing, "ed_1 amazon_eventbridge"},
		"through EventBridge, disabled":         {[]stripeapi.Endpoint{with("ed_1", both(bridge, disabled))}, "", "", ProblemMissing, "ed_1 amazon_eventbridge"},
		"a URL that is not shown":               {[]stripeapi.Endpoint{with("ed_1", both(thin, at("")))}, hook, "", 0, ""},
		"disabled":                              {[]stripeapi.Endpoint{with("we_1", disabled)}, hook, "", ProblemDisabled, "we_1 " + hook + " is disabled"},
		"disabled, without a URL":               {[]stripeapi.Endpoint{with("we_1", disabled)}, "", "", ProblemDisabled, "we_1 " + hook + " is disabled"},
		"a slash too many":                      {[]stripeapi.Endpoint{with("we_1", at(hook+"/"))}, hook, "", ProblemPath, "we_1 " + hook + "/"},
		"a slash, without a URL":                {[]stripeapi.Endpoint{with("we_1", at(hook+"/"))}, "", "", ProblemPath, "the server answers only /webhook"},
		"another path is set":                   {[]stripeapi.Endpoint{with("we_1", nil)}, "", "/stripe", ProblemPath, "the server answers only /stripe"},
		"a proxy changes the path":              {[]stripeapi.Endpoint{with("we_1", at("https://a.example/stripe/hook"))}, "https://a.example/stripe/hook", "", 0, ""},
		"lacks redacted":                        {[]stripeapi.Endpoint{with("we_1", star)}, hook, "", ProblemTypes, "does not send identity.verification_session.redacted: "},
		"thin lacks redacted":                   {[]stripeapi.Endpoint{with("ed_1", both(thin, star))}, hook, "", ProblemTypes, "redacted"},
		"the styles share the types":            {[]stripeapi.Endpoint{with("we_1", star), with("ed_1", both(thin, func(e *stripeapi.Endpoint) { e.EnabledEvents = e.EnabledEvents[5:] }))}, hook, "", 0, ""},
		"a disabled one beside it":              {[]stripeapi.Endpoint{with("we_1", disabled), with("ed_1", thin)}, hook, "", 0, ""},
		"that of the accounts is disabled": {[]stripeapi.Endpoint{with("we_1", nil), with("we_2", both(disabled, at(hook+"?connect=1")))}, hook, "", ProblemDisabled,
			"we_2 " + hook + "?connect=1 is disabled"},
		"another service's is disabled": {[]stripeapi.Endpoint{with("we_2", both(disabled, at("https://b.example/webhook"))), with("we_1", nil)}, hook, "", 0, ""},
		"one of two is good, without a URL": {[]stripeapi.Endpoint{with("we_1", disabled), with("we_2", at("https://staging.example/webhook"))}, "", "", ProblemDisabled,
			"If this endpoint is not the server's, set WEBHOOK_URL"},
		"two are good, without a URL": {[]stripeapi.Endpoint{with("we_1", nil), with("we_2", at("https://staging.example/webhook"))}, "", "", 0, ""},
		"that of the accounts is disabled, without a URL": {[]stripeapi.Endpoint{with("we_1", nil), with("we_2", both(disabled, at(hook+"?connect=1")))}, "", "", ProblemDisabled,
			"prints the command that enables it"},
		"two are bad in two ways, without a URL":    {[]stripeapi.Endpoint{with("we_2", both(disabled, at("https://b.example/webhook"))), with("we_1", star)}, "", "", ProblemDisabled | ProblemTypes, "we_2"},
		"the scheme and host are written otherwise": {[]stripeapi.Endpoint{with("we_1", at("HTTPS://Verification.Example.com:443/webhook"))}, hook, "", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := tc.path
			if path == "" {
				path = "/webhook"
			}
			got, lines := Judge(tc.all, tc.own, path)
			if got != tc.want {
				t.Errorf("problems: got %b, want %b: %q", got, tc.want, lines)
			}
			if (len(lines) == 0) != (tc.want == 0) {
				t.Fatalf("lines: %q", lines)
			}
			if tc.want != 0 && !strings.Contains(lines[0], tc.says) {
				t.Errorf("line: got %q, want %q in it", lines[0], tc.says)
			}
		})
	}
}

// Each problem has a name, and each name one problem.
func TestEveryProblemHasAName(t *testing.T) {
	seen := map[string]bool{}
	for problem, name := range ProblemNames() {
		if problem&(problem-1) != 0 || seen[name] {
			t.Errorf("%b %q", problem, name)
		}
		seen[name] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d names", len(seen))
	}
}

package endpoints

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// findings are the result of a check, one line each.
type findings struct {
	problems []string // each says what to do
	notes    []string
}

func (f *findings) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// examine checks the endpoints with the URL target. live is the expected mode, or nil for both. base is the URL of the API, for the
// commands that fix a problem.
func examine(all []stripeapi.Endpoint, target string, live *bool, base string) findings {
	var f findings
	var ours, ids, others []string
	for _, e := range all {
		if !sameURL(e.URL, target) {
			others = append(others, e.ID+" "+e.URL)
			continue
		}
		problems := len(f.problems)
		f.examineOne(e, live, base)
		f.notes = append(f.notes, fmt.Sprintf("%s: the API version of its events is %s; the server takes any", e.ID, version(e)))
		if ids = append(ids, e.ID); problems == len(f.problems) {
			ours = append(ours, e.ID)
		}
	}
	switch len(ids) {
	case 0:
		other := "it has no other one"
		if len(others) > 0 {
			other = "it has " + strings.Join(others, ", ")
		}
		f.problem("Stripe has no webhook endpoint with this URL (%s): server webhook-endpoint create --url %s", other, quote(target))
	case 1:
	default:
		f.notes = append(f.notes, fmt.Sprintf("%s have the same URL. If one is for connected accounts, which only the Dashboard shows, list the signing secrets of both in STRIPE_WEBHOOK_SECRET. If both are of the same kind, every event arrives twice: in the Dashboard, delete the one whose secret is not in STRIPE_WEBHOOK_SECRET",
			strings.Join(ids, " and ")))
	}
	if u, err := url.Parse(target); err == nil && u.Path != webhook.Path {
		f.notes = append(f.notes, fmt.Sprintf("the path of this URL is not %s, the only one that the server answers: a proxy in front of the server must change it", webhook.Path))
	}
	if len(f.problems) == 0 {
		f.notes = append([]string{fmt.Sprintf("ok: %s sends all %d types of identity.verification_session events to this URL", ours[0], len(verification.EventTypes))}, f.notes...)
	}
	return f
}

func (f *findings) examineOne(e stripeapi.Endpoint, live *bool, base string) {
	if live != nil && *live != e.Livemode {
		f.problem("%s is of %s, but events of %s are expected: use the API key of that mode, or change LIVEMODE", e.ID, mode(e.Livemode), mode(*live))
	}
	if !e.Enabled {
		f.problem("%s is disabled, so that Stripe sends it nothing: %s", e.ID, curl(base, e.ID, "-d disabled=false"))
	}
	missing := missingEvents(e)
	if len(missing) == 0 {
		return
	}
	why, wanted := "", slices.Clone(e.EnabledEvents)
	if slices.Contains(wanted, "*") {
		why, wanted = ` ("*" does not include it; if another product needs "*", add the type in the Dashboard)`, nil
	}
	var fields []string
	for _, eventType := range append(wanted, verification.EventTypes...) {
		field := "-d " + quote("enabled_events[]="+eventType)
		if !slices.Contains(fields, field) {
			fields = append(fields, field)
		}
	}
	f.problem("%s does not send %s%s: %s", e.ID, strings.Join(missing, ", "), why, curl(base, e.ID, fields...))
}

// missingEvents returns the types that the server needs and the endpoint does not get. "*" does not include redacted:
// https://docs.stripe.com/api/events/types.
func missingEvents(e stripeapi.Endpoint) []string {
	var missing []string
	for _, eventType := range verification.EventTypes {
		all := slices.Contains(e.EnabledEvents, "*") && eventType != verification.EventRedacted
		if !all && !slices.Contains(e.EnabledEvents, eventType) {
			missing = append(missing, eventType)
		}
	}
	return missing
}

// sameURL reports whether two URLs address the same endpoint. A slash at the end makes a different URL.
func sameURL(a, b string) bool {
	return a == b || normal(a) == normal(b)
}

func normal(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if u.Scheme == "https" {
		u.Host = strings.TrimSuffix(u.Host, ":443")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String()
}

// curl returns a command that changes an endpoint, for a shell with the key in STRIPE_API_KEY or its file in STRIPE_API_KEY_FILE.
func curl(base, id string, args ...string) string {
	target := strings.TrimSuffix(strings.TrimSuffix(base, "/"), "/v1") + "/v1/webhook_endpoints/" + id
	if !plainWord.MatchString(target) {
		target = quote(target)
	}
	return fmt.Sprintf(`curl -u "${STRIPE_API_KEY:-$(cat "$STRIPE_API_KEY_FILE")}:" %s %s`, strings.Join(args, " "), target)
}

// plainWord matches a text that is one word of a shell without quotes, such as most URLs.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:%@+-]+$`)

// quote returns the text as one quoted word of a shell. Every value in a printed command is quoted or a plainWord: a person copies
// the line, and the API that was asked might not be Stripe's.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func status(enabled bool) string {
	if enabled {
		return "enabled"
	}
	return "disabled"
}

func mode(live bool) string {
	if live {
		return "live mode"
	}
	return "test mode"
}

func version(e stripeapi.Endpoint) string {
	if e.APIVersion == "" {
		return "the account's"
	}
	return e.APIVersion
}

package endpoints

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// findings are the result of a check, one line each.
type findings struct {
	problems []string // each says what to do
	notes    []string
}

func (f *findings) problem(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// examine checks the endpoints with the URL target. live is the expected mode, or nil for both. path is the path that the server
// answers. own is WEBHOOK_URL: if it is the target, a proxy in front of the server changes the path. base is the URL of the API, for the
// commands that fix a problem.
func examine(all []stripeapi.Endpoint, target string, live *bool, own, path, base string) findings {
	var f findings
	var ours, others []stripeapi.Endpoint
	fine := ""
	for _, e := range all {
		if !sameURL(e.URL, target) {
			others = append(others, e)
			continue
		}
		problems := len(f.problems)
		f.examineOne(e, live, base)
		if ours = append(ours, e); problems == len(f.problems) && fine == "" {
			fine = e.ID
		}
	}
	switch len(ours) {
	case 0:
		other := "it has no other one"
		if len(others) > 0 {
			other = "it has " + named(others)
		}
		f.problem("In the account and mode of the API key, Stripe has no webhook endpoint with this URL (%s): server webhook-endpoint create --url %s", other, quote(target))
	case 1:
	default:
		f.noteSameURL(ours)
	}
	switch mismatch := config.PathMismatch(target, path); {
	case mismatch == "":
	case own != "" && withoutQuery(own) == withoutQuery(target):
		f.notes = append(f.notes, mismatch+". WEBHOOK_URL is this URL, so that one is expected")
	default:
		f.problem("%s. If one does, set WEBHOOK_URL to this URL", mismatch)
	}
	if len(f.problems) == 0 {
		f.notes = append([]string{fmt.Sprintf("ok: %s sends all %d types of identity.verification_session events to this URL", fine, len(verification.EventTypes))}, f.notes...)
	}
	return f
}

func (f *findings) examineOne(e stripeapi.Endpoint, live *bool, base string) {
	if live != nil && *live != e.Livemode {
		f.problem("%s is of %s, but events of %s are expected: use the API key of that mode, or change LIVEMODE", e.ID, mode(e.Livemode), mode(*live))
	}
	if !e.Enabled {
		f.problem("%s is disabled, so that Stripe sends it nothing: %s", e.ID, enable(base, e))
	}
	if missing := missingEvents(e); len(missing) > 0 {
		why, wanted := "", slices.Clone(e.EnabledEvents)
		if slices.Contains(wanted, "*") {
			why, wanted = ` ("*" does not include it; if another product needs "*", add the type in the Dashboard)`, nil
		}
		for _, eventType := range verification.EventTypes {
			wanted = append(wanted, nameOf(e, eventType))
		}
		f.problem("%s does not send %s%s: %s", e.ID, strings.Join(missing, ", "), why, setEvents(base, e, unique(wanted)))
	}
	if e.Thin {
		f.notes = append(f.notes, fmt.Sprintf("%s: %s", e.ID, thinCost))
		return
	}
	f.notes = append(f.notes, fmt.Sprintf("%s: the API version of its events is %s; the server takes any", e.ID, version(e)))
}

// thinCost says what an endpoint for thin events costs.
const thinCost = "its events are thin: each costs the server one read at Stripe, where a snapshot event costs none. Stripe permits 25 reads a second for an endpoint, and counts them in the account's allowance"

// noteSameURL says what several endpoints with one URL mean.
func (f *findings) noteSameURL(ours []stripeapi.Endpoint) {
	var ids []string
	styles := map[bool]bool{}
	for _, e := range ours {
		ids = append(ids, e.ID)
		styles[e.Thin] = true
	}
	list := strings.Join(ids, " and ")
	if len(styles) == 2 {
		f.notes = append(f.notes, list+" have the same URL, with both styles of events. That is fine: the server counts each change once. A thin event that arrives before the snapshot event of its change can cost a read. List the signing secrets of all in STRIPE_WEBHOOK_SECRET")
	}
	if len(ours) > len(styles) {
		f.notes = append(f.notes, list+" have the same URL. If one is for connected accounts, which only the Dashboard shows, list the signing secrets of both in STRIPE_WEBHOOK_SECRET. If both are of the same kind, every event arrives twice: in the Dashboard, delete the one whose secret is not in STRIPE_WEBHOOK_SECRET")
	}
}

func unique(texts []string) []string {
	var kept []string
	for _, text := range texts {
		if !slices.Contains(kept, text) {
			kept = append(kept, text)
		}
	}
	return kept
}

// enable returns a command that enables an endpoint.
func enable(base string, e stripeapi.Endpoint) string {
	if byV2(e) {
		return curlV2(base, e.ID+"/enable")
	}
	return curl(base, e.ID, "-d disabled=false")
}

// setEvents returns a command that sets the types of events of an endpoint.
func setEvents(base string, e stripeapi.Endpoint, types []string) string {
	if byV2(e) {
		body, _ := json.Marshal(map[string][]string{"enabled_events": types}) // texts always encode
		return curlV2(base, e.ID, "-H 'Content-Type: application/json'", "-d "+quote(string(body)))
	}
	var fields []string
	for _, eventType := range types {
		fields = append(fields, "-d "+quote("enabled_events[]="+eventType))
	}
	return curl(base, e.ID, fields...)
}

// byV2 reports whether an endpoint is changed through API v2: v1 does not show it, or does not know its style.
func byV2(e stripeapi.Endpoint) bool { return e.V2 || e.Thin }

// curl returns a command that changes an endpoint, for a shell with the key in STRIPE_API_KEY or its file in STRIPE_API_KEY_FILE.
func curl(base, id string, args ...string) string {
	return curlWithKey + " " + strings.Join(args, " ") + " " + address(base, "/v1/webhook_endpoints/"+id)
}

// curlV2 does the same through API v2.
func curlV2(base, path string, args ...string) string {
	args = append([]string{"-X POST", "-H 'Stripe-Version: " + stripeapi.DestinationsVersion + "'"}, args...)
	return curlWithKey + " " + strings.Join(args, " ") + " " + address(base, stripeapi.DestinationsPath+"/"+path)
}

// curlWithKey gives curl the key on its standard input. Every user of the machine can see a command line, but not what the shell's own
// printf writes.
const curlWithKey = `printf 'Authorization: Bearer %s' "${STRIPE_API_KEY:-$(cat "$STRIPE_API_KEY_FILE")}" | curl -H @-`

// address returns a URL of the API as one word of a shell. base can end with the version, as in Stripe's documentation.
func address(base, path string) string {
	target := strings.TrimSuffix(strings.TrimSuffix(base, "/"), "/v1") + path
	if !plainWord.MatchString(target) {
		return quote(target)
	}
	return target
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
	switch {
	case e.Thin:
		return "none"
	case e.APIVersion == "":
		return "the account's"
	default:
		return e.APIVersion
	}
}

func style(e stripeapi.Endpoint) string {
	if e.Thin {
		return "thin"
	}
	return "snapshot"
}

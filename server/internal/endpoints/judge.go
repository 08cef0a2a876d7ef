package endpoints

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// Problems is a set of Problem. Its number is stored, so the values stay.
type Problems int64

// Problem is a reason why Stripe's events do not reach the server.
type Problem = Problems

// The problems. Each is one bit.
const (
	// ProblemMissing: the key sees no endpoint of the server. There is none, or it is of another account or mode than the key.
	ProblemMissing Problem = 1 << iota
	// ProblemDisabled: Stripe sends nothing to the endpoint.
	ProblemDisabled
	// ProblemPath: the server answers 404 at the path of the endpoint's URL.
	ProblemPath
	// ProblemTypes: the endpoint does not get all types of events.
	ProblemTypes
)

// ProblemNames returns the name of each problem, for a metric.
func ProblemNames() map[Problem]string {
	return map[Problem]string{
		ProblemMissing: "missing", ProblemDisabled: "disabled", ProblemPath: "wrong_path", ProblemTypes: "missing_types",
	}
}

// verdict collects what Judge finds: the problems, and a line for each.
type verdict struct {
	found Problems
	lines []string
}

func (v *verdict) add(p Problem, format string, args ...any) {
	v.found |= p
	v.lines = append(v.lines, fmt.Sprintf(format, args...))
}

func (v *verdict) join(other verdict) {
	v.found |= other.found
	v.lines = append(v.lines, other.lines...)
}

// maxNamed bounds the endpoints that a line names.
const maxNamed = 5

// Judge returns what keeps Stripe's events from the server, and a line for each problem, which says what to do. own is the URL of the
// server's endpoint, or empty if it is not known. path is the path that the server answers.
//
// Endpoints whose URLs differ in the query only are all the server's: one of them is for connected accounts. Endpoints with the same
// URL are judged together, so that a disabled one beside a good one is no problem. Without own, every endpoint with the path of the
// server is judged, because any of them can be the server's: the lines name WEBHOOK_URL if they have several hosts. Without own, an
// enabled destination of EventBridge with all types is a way too, which Stripe does not show to its end.
func Judge(all []stripeapi.Endpoint, own, path string) (Problems, []string) {
	var v verdict
	if own != "" {
		v = judgeOwn(all, own, path)
	} else {
		v = judgeAny(all, path)
	}
	return v.found, v.lines
}

func judgeOwn(all []stripeapi.Endpoint, own, path string) (v verdict) {
	var mine, near []stripeapi.Endpoint
	for _, e := range all {
		switch {
		case e.URL == "":
		case withoutQuery(e.URL) == withoutQuery(own):
			mine = append(mine, e)
		case hostOf(e.URL) == hostOf(own) && ofIdentity(e):
			near = append(near, e)
		}
	}
	switch {
	case len(mine) > 0:
		for _, group := range grouped(mine) {
			v.join(judgeGroup(group))
		}
	case len(near) > 0:
		v.add(ProblemPath, "no endpoint at Stripe has the URL %s (WEBHOOK_URL); %s, and the server answers only %s: correct the URL of the endpoint, or WEBHOOK_URL and WEBHOOK_PATH", own, named(near), path)
	case !hidden(all):
		v.add(ProblemMissing, "the API key sees no endpoint with the URL %s (WEBHOOK_URL); it sees %s: register one with server webhook-endpoint create, or give STRIPE_API_KEY the key of the endpoint's account and mode", own, named(all))
	}
	return v
}

func judgeAny(all []stripeapi.Endpoint, path string) (v verdict) {
	var ours, others []stripeapi.Endpoint
	for _, e := range all {
		switch {
		case !ofIdentity(e) || e.URL == "":
		case config.PathMismatch(e.URL, path) == "":
			ours = append(ours, e)
		default:
			others = append(others, e)
		}
	}
	switch {
	case len(ours) > 0:
		for _, group := range grouped(ours) {
			v.join(judgeGroup(group))
		}
		if len(Hosts(all, path)) > 1 {
			for i := range v.lines {
				v.lines[i] += ". If this endpoint is not the server's, set WEBHOOK_URL to the URL of the one that is"
			}
		}
	case len(others) > 0:
		v.add(ProblemPath, "the server answers only %s, and the endpoints at Stripe have other paths: %s. Correct the URL of the endpoint, or WEBHOOK_PATH. If a proxy in front of the server changes the path, set WEBHOOK_URL", path, named(others))
	case !hidden(all) && !slices.ContainsFunc(all, bridges):
		v.add(ProblemMissing, "the API key sees no webhook endpoint for Identity events; it sees %s: register one with server webhook-endpoint create, or give STRIPE_API_KEY the key of the endpoint's account and mode", named(all))
	}
	return v
}

// hidden reports whether an endpoint for Identity events has a URL that Stripe does not show. It can be the server's.
func hidden(all []stripeapi.Endpoint) bool {
	return slices.ContainsFunc(all, func(e stripeapi.Endpoint) bool {
		return e.URL == "" && e.Transport == "" && e.Enabled && ofIdentity(e)
	})
}

// bridges reports whether the endpoint is an enabled destination of EventBridge that gets all types.
func bridges(e stripeapi.Endpoint) bool {
	return e.Transport == "amazon_eventbridge" && e.Enabled && len(missingEvents(e)) == 0
}

// Hosts returns the hosts of the endpoints for Identity events that have the path, each once. If there are several and WEBHOOK_URL is
// not set, it is not known which endpoints are the server's.
func Hosts(all []stripeapi.Endpoint, path string) (hosts []string) {
	for _, e := range all {
		if ofIdentity(e) && e.URL != "" && config.PathMismatch(e.URL, path) == "" {
			hosts = append(hosts, hostOf(e.URL))
		}
	}
	return unique(hosts)
}

// grouped returns the endpoints by URL, in the order of their first ones.
func grouped(endpoints []stripeapi.Endpoint) (groups [][]stripeapi.Endpoint) {
	for _, e := range endpoints {
		i := slices.IndexFunc(groups, func(group []stripeapi.Endpoint) bool { return sameURL(group[0].URL, e.URL) })
		if i < 0 {
			groups = append(groups, []stripeapi.Endpoint{e})
			continue
		}
		groups[i] = append(groups[i], e)
	}
	return groups
}

// judgeGroup judges the endpoints with one URL. Together, the enabled ones must get all types, each in either style.
func judgeGroup(group []stripeapi.Endpoint) (v verdict) {
	enabled := slices.DeleteFunc(slices.Clone(group), func(e stripeapi.Endpoint) bool { return !e.Enabled })
	if len(enabled) == 0 {
		v.add(ProblemDisabled, "%s is disabled, so that Stripe sends it nothing: server webhook-endpoint check --url %s prints the command that enables it", named(group), quote(group[0].URL))
		return v
	}
	var missing []string
	for i, eventType := range verification.EventTypes {
		sent := slices.ContainsFunc(enabled, func(e stripeapi.Endpoint) bool {
			return !slices.Contains(missingEvents(e), nameOf(e, eventType))
		})
		if !sent {
			missing = append(missing, verification.EventTypes[i])
		}
	}
	if len(missing) > 0 {
		v.add(ProblemTypes, "%s does not send %s: server webhook-endpoint check --url %s prints the command that adds them", named(enabled), strings.Join(missing, ", "), quote(enabled[0].URL))
	}
	return v
}

// named returns the ids and URLs of endpoints.
func named(endpoints []stripeapi.Endpoint) string {
	if len(endpoints) == 0 {
		return "none"
	}
	var names []string
	for _, e := range endpoints[:min(len(endpoints), maxNamed)] {
		names = append(names, strings.TrimSpace(e.ID+" "+target(e)))
	}
	if more := len(endpoints) - maxNamed; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// target returns the URL of the endpoint, or its other transport.
func target(e stripeapi.Endpoint) string {
	if e.Transport != "" {
		return e.Transport
	}
	return e.URL
}

func hostOf(text string) string {
	u, err := url.Parse(normal(text))
	if err != nil {
		return ""
	}
	return u.Host
}

// Own describes the enabled endpoints that send to the server.
type Own struct {
	// Enabled is the number of the endpoints, Thin and Snapshot those of each style.
	Enabled, Thin, Snapshot int
	names                   string
}

// String returns the ids and URLs.
func (o Own) String() string { return o.names }

// Mine returns the enabled endpoints that send Identity events to the server. own and path are those of Judge.
func Mine(all []stripeapi.Endpoint, own, path string) Own {
	var o Own
	var mine []stripeapi.Endpoint
	for _, e := range all {
		here := config.PathMismatch(e.URL, path) == ""
		if own != "" {
			here = withoutQuery(e.URL) == withoutQuery(own)
		}
		if !e.Enabled || e.URL == "" || !here || !ofIdentity(e) {
			continue
		}
		mine = append(mine, e)
		if o.Enabled++; e.Thin {
			o.Thin++
		} else {
			o.Snapshot++
		}
	}
	o.names = named(mine)
	return o
}

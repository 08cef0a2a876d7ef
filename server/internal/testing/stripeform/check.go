package stripeform

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Request is one request to Stripe's API.
type Request struct {
	Method, Path string
	Query        string // encoded
	Header       http.Header
	Body         string
}

// parameter is one parameter of a request: its name as it was sent, its name in the form of the reference, and its values.
type parameter struct {
	sent, form string
	values     []string
}

// Check returns what Stripe would refuse in a request, a sentence for each problem. It returns nothing for a request that the
// reference allows.
func Check(r Request) (problems []string) {
	op, ok := find(r)
	if !ok {
		return []string{fmt.Sprintf("%s %s is no operation of the reference", r.Method, r.Path)}
	}
	say := func(format string, arguments ...any) {
		problems = append(problems, r.Method+" "+op.path+": "+fmt.Sprintf(format, arguments...))
	}
	if op.versioned && r.Header.Get("Stripe-Version") == "" {
		say("the header Stripe-Version is missing")
	}
	parameters, err := read(r)
	if err != nil {
		say("%v", err)
		return problems
	}
	tops := map[string]bool{}
	for _, p := range parameters {
		top, _, _ := strings.Cut(p.form, "[")
		tops[top] = true
		if !slices.ContainsFunc(op.names, func(name string) bool { return matches(name, p.form) }) {
			say("the reference lists no parameter %s", p.sent)
			continue
		}
		for _, value := range p.values {
			if wrong := misvalued(op, p.form, value); wrong {
				say("%s cannot be %q", p.sent, value)
			}
		}
	}
	for _, group := range op.required {
		given := 0
		for name := range strings.SplitSeq(group, "|") {
			if tops[name] {
				given++
			}
		}
		if given != 1 {
			say("%d of the parameters %s are given, want one", given, group)
		}
	}
	for _, pair := range op.excludes {
		if tops[pair[0]] && tops[pair[1]] {
			say("%s and %s exclude each other", pair[0], pair[1])
		}
	}
	return problems
}

// find returns the operation of a request.
func find(r Request) (operation, bool) {
	segments := strings.Split(r.Path, "/")
	for _, op := range reference {
		pattern := strings.Split(op.path, "/")
		same := op.method == r.Method && slices.EqualFunc(pattern, segments, func(pattern, segment string) bool {
			return pattern == segment || pattern == "{id}" && segment != ""
		})
		if same {
			return op, true
		}
	}
	return operation{}, false
}

// read returns the parameters of the query and of the body.
func read(r Request) ([]parameter, error) {
	all, err := readForm(r.Query)
	if err != nil || r.Body == "" {
		return all, err
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if r.Method == http.MethodGet {
		return nil, fmt.Errorf("a GET has a body")
	}
	if !strings.HasPrefix(r.Path, "/v2/") {
		if kind != "application/x-www-form-urlencoded" {
			return nil, fmt.Errorf("the Content-Type is %q, want a form", kind)
		}
		more, err := readForm(r.Body)
		return append(all, more...), err
	}
	if kind != "application/json" {
		return nil, fmt.Errorf("the Content-Type is %q, want JSON", kind)
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(r.Body), &object); err != nil {
		return nil, fmt.Errorf("the body is no JSON object: %w", err)
	}
	return flatten(all, "", object)
}

func readForm(encoded string) (all []parameter, err error) {
	form, err := url.ParseQuery(encoded)
	if err != nil {
		return nil, err
	}
	for name, values := range form {
		all = append(all, parameter{sent: name, form: normal(name), values: values})
	}
	slices.SortFunc(all, func(a, b parameter) int { return strings.Compare(a.sent, b.sent) })
	return all, nil
}

// flatten writes JSON as a form writes it. All leaves of /v2 are strings.
func flatten(all []parameter, name string, value any) ([]parameter, error) {
	var err error
	switch value := value.(type) {
	case map[string]any:
		keys := make([]string, 0, len(value))
		for key := range value {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			below := key
			if name != "" {
				below = name + "[" + key + "]"
			}
			if all, err = flatten(all, below, value[key]); err != nil {
				return nil, err
			}
		}
		return all, nil
	case []any:
		for i, item := range value {
			if all, err = flatten(all, name+"["+strconv.Itoa(i)+"]", item); err != nil {
				return nil, err
			}
		}
		return all, nil
	case string:
		return append(all, parameter{sent: name, form: normal(name), values: []string{value}}), nil
	default:
		return nil, fmt.Errorf("%s is %v, want a string, an array or an object", name, value)
	}
}

// normal replaces the indexes of a name by [].
func normal(name string) string {
	parts := strings.Split(name, "[")
	for i, part := range parts[1:] {
		if _, err := strconv.Atoi(strings.TrimSuffix(part, "]")); err == nil {
			parts[i+1] = "]"
		}
	}
	return strings.Join(parts, "[")
}

// matches compares a name of the reference with one of a request.
func matches(listed, given string) bool {
	if listed == given {
		return true
	}
	before, free := strings.CutSuffix(listed, "[*]")
	key, inside := strings.CutPrefix(given, before+"[")
	key, closed := strings.CutSuffix(key, "]")
	return free && inside && closed && key != "" && !strings.ContainsAny(key, "[]")
}

// misvalued returns whether the reference lists the values of a parameter without this one.
func misvalued(op operation, form, value string) bool {
	if form == "enabled_events[]" {
		return !eventName(op, value)
	}
	known, listed := values[form]
	if form == "type" && strings.HasSuffix(op.path, "/events") {
		return false // a type of events
	}
	return listed && !slices.Contains(known, value)
}

// eventName accepts * and all types of other products. A type of an Identity session must exist.
func eventName(op operation, name string) bool {
	if !strings.Contains(name, "identity.verification_session") {
		return name != ""
	}
	if strings.HasPrefix(op.path, "/v2/") {
		name = strings.TrimPrefix(name, "v1.")
	}
	kind, ok := strings.CutPrefix(name, "identity.verification_session.")
	return ok && slices.Contains(identityEvents, kind)
}

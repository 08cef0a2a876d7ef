package rig

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// EndpointCommand runs a webhook-endpoint command with the settings of Stripe's API alone. Its exit code must be code, and it
// must not show the API key.
func (s *FakeStripe) EndpointCommand(code int, args ...string) (stdout, stderr string) {
	s.t.Helper()
	p := Launch(s.t, []string{"STRIPE_API_KEY=" + APIKey, "STRIPE_API_BASE=" + s.URL}, append([]string{"webhook-endpoint"}, args...)...)
	if got := p.Exit(Soon); got != code {
		s.t.Fatalf("%v: exit code %d, want %d: %s%s", args, got, code, p.Stdout.String(), p.Stderr.String())
	}
	stdout, stderr = p.Stdout.String(), p.Stderr.String()
	if strings.Contains(stdout+stderr, APIKey) {
		s.t.Errorf("%v shows the API key", args)
	}
	return stdout, stderr
}

var secretLine = regexp.MustCompile(`^STRIPE_WEBHOOK_SECRET=(whsec_[A-Za-z0-9]+)\n$`)

// CreateEndpoint registers an endpoint by command, and returns its secret and its id.
func (s *FakeStripe) CreateEndpoint(args ...string) (secret, id string) {
	s.t.Helper()
	stdout, stderr := s.EndpointCommand(0, append([]string{"create"}, args...)...)
	match := secretLine.FindStringSubmatch(stdout)
	id = regexp.MustCompile(`(we|ed)_[A-Za-z0-9_]+`).FindString(stderr)
	if match == nil || id == "" || strings.Contains(stderr, "whsec_") {
		s.t.Fatalf("create wrote %q and %q", stdout, stderr)
	}
	return match[1], id
}

// Curl sends the request of a curl command that webhook-endpoint check prints. It understands -H, -X, -d and a URL.
func (s *FakeStripe) Curl(line string) {
	s.t.Helper()
	method, target, form := http.MethodPost, "", url.Values{}
	args := regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`).FindAllString(line, -1)
	for i := 0; i < len(args); i++ {
		option, word := args[i], ""
		if slices.Contains([]string{"-H", "-X", "-d"}, option) {
			i++
			word = strings.Trim(args[i], `'"`)
		}
		switch option {
		case "-H":
			if word != "@-" { // the key, from the standard input
				s.t.Fatalf("Curl does not understand %s", line)
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
	s.Change(method, target, form)
}

// Change sends a request to Stripe's API. It must succeed.
func (s *FakeStripe) Change(method, target string, form url.Values) {
	s.t.Helper()
	s.request(method, target, form.Encode(), "application/x-www-form-urlencoded")
}

// Destination sends a request to Stripe's /v2/core/event_destinations, or to a path below it, and decodes the answer. body is sent as
// JSON. It must succeed.
func (s *FakeStripe) Destination(method, path string, body any) Fields {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	answer := Fields{}
	if err := json.Unmarshal([]byte(s.request(method, s.URL+"/v2/core/event_destinations"+path, string(text), "application/json")), &answer); err != nil {
		s.t.Fatal(err)
	}
	return answer
}

// request sends a request with the API key and a version, and returns the answer. It must succeed.
func (s *FakeStripe) request(method, target, body, kind string) string {
	s.t.Helper()
	request, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.SetBasicAuth(APIKey, "")
	request.Header.Set("Content-Type", kind)
	request.Header.Set("Stripe-Version", "2026-09-30.endive")
	response, err := s.http.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := ReadAll(response)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %s %s, %v", method, target, response.Status, text, err)
	}
	return text
}

package stripeapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/testing/stripeform"
	"example.com/verification-status/server/internal/verification"
)

// sent is a request as the client made it, and the answer of stripe-mock. Of /v2, which stripe-mock does not know, package stripeform
// alone judges.
type sent struct {
	method, path string
	header       http.Header
	query, form  string // form is the body: JSON in /v2
	status       int
}

// problems returns what Stripe's reference does not allow in the request.
func (s sent) problems() []string {
	return stripeform.Check(stripeform.Request{Method: s.method, Path: s.path, Query: s.query, Header: s.header, Body: s.form})
}

func (s sent) v2() bool { return strings.HasPrefix(s.path, "/v2/") }

// relay is between the client and stripe-mock. It records each request, and replaces a 200 if the fixture in it is of
// no use.
type relay struct {
	mock    string
	http    *http.Client
	answers map[string]string // by method, path and, after a ?, query

	mu    sync.Mutex
	notes []sent
}

func newRelay(t *testing.T, mock string, answers map[string]string) (*relay, *httptest.Server) {
	t.Helper()
	transport := &http.Transport{}
	r := &relay{mock: mock, http: &http.Client{Transport: transport}, answers: answers}
	server := httptest.NewServer(r)
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return r, server
}

func (r *relay) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	form, _ := io.ReadAll(in.Body)
	note := sent{method: in.Method, path: in.URL.Path, header: in.Header, query: in.URL.RawQuery, form: string(form)}
	body, err := r.send(in.Context(), &note)
	if err != nil {
		panic(http.ErrAbortHandler) // the client fails, and the test with it
	}
	r.mu.Lock()
	r.notes = append(r.notes, note)
	r.mu.Unlock()
	if other, ok := r.answers[in.Method+" "+in.URL.RequestURI()]; ok && note.status == http.StatusOK {
		body = other
	}
	w.WriteHeader(note.status)
	_, _ = io.WriteString(w, body)
}

// send sends a request to stripe-mock and records the status.
func (r *relay) send(ctx context.Context, s *sent) (string, error) {
	if s.v2() {
		if s.status = http.StatusOK; len(s.problems()) > 0 {
			s.status = http.StatusBadRequest
		}
		return "{}", nil
	}
	target := r.mock + s.path
	if s.query != "" {
		target += "?" + s.query
	}
	out, err := http.NewRequestWithContext(ctx, s.method, target, strings.NewReader(s.form))
	if err != nil {
		return "", err
	}
	out.Header = s.header.Clone()
	response, err := r.http.Do(out)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	s.status = response.StatusCode
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// TestRequestsAreStripes sends every request of the client to stripe-mock, which checks it against Stripe's OpenAPI
// spec. Package stripeform checks it against Stripe's reference, which lists fewer names below options, and /v2. Then the test
// changes each parameter name in turn, and both must refuse it. Otherwise only Stripe itself would find a wrong name.
func TestRequestsAreStripes(t *testing.T) {
	mock := startMock(t, "/v1/identity/verification_sessions", "/v1/identity/verification_sessions/{session}", "/v1/identity/verification_sessions/{session}/cancel", "/v1/events", "/v1/events/{id}", "/v1/webhook_endpoints", "/v1/ephemeral_keys")
	get := "GET /v1/identity/verification_sessions/" + id
	document := fields{"allowed_types": []string{"passport", "id_card"}, "require_id_number": true, "require_live_capture": false, "require_matching_selfie": true}
	// Of options Stripe's spec knows document alone at a creation, but more in answers.
	options := fields{"document": document, "id_number": fields{}, "email": fields{"require_verification": true}, "phone": fields{"require_verification": true}, "matching": fields{"dob": "similar", "name": "similar"}}
	rich := fields{
		"status": "canceled", "options": options, "metadata": fields{"team": "a&b"}, "provided_details": fields{"email": "a@example.com", "phone": "+15550100"},
		"related_customer": "cus_42", "related_customer_account": "acct_42", "related_person": fields{"account": "acct_1", "person": "person_1"},
	}
	flow := fields{"status": "canceled", "type": "verification_flow", "verification_flow": "vf_1", "options": options}
	for name, test := range map[string]struct {
		answers map[string]string
		call    func(context.Context, *client) error
		names   []string // of the parameters, sorted
	}{
		"retrieve": {call: func(ctx context.Context, c *client) error {
			_, err := c.Retrieve(ctx, "acct_1Abc", id)
			return err
		}},
		"look up": {call: func(ctx context.Context, c *client) error {
			_, err := c.Read(ctx, verification.PurposeLookup, "", id)
			return err
		}},
		"find by reference": {
			answers: map[string]string{"GET /v1/identity/verification_sessions?client_reference_id=case-17&limit=10": listOf(false, session(nil))},
			call: func(ctx context.Context, c *client) error {
				_, err := c.FindByReference(ctx, "case-17")
				return err
			},
			names: []string{"client_reference_id", "limit"},
		},
		"create like another": {
			answers: map[string]string{get: encode(session(rich))},
			call: func(ctx context.Context, c *client) error {
				_, err := c.CreateLike(ctx, "", id, "https://shop.example/back")
				return err
			},
			names: []string{
				"client_reference_id", "metadata[team]", "metadata[verification_status_replaces]", "options[document][allowed_types][0]", "options[document][allowed_types][1]",
				"options[document][require_id_number]", "options[document][require_live_capture]", "options[document][require_matching_selfie]",
				"provided_details[email]", "provided_details[phone]", "related_customer", "related_customer_account",
				"related_person[account]", "related_person[person]", "return_url", "type",
			},
		},
		"create like another of a flow": {
			answers: map[string]string{get: encode(session(flow))},
			call: func(ctx context.Context, c *client) error {
				_, err := c.CreateLike(ctx, "", id, "")
				return err
			},
			names: []string{"client_reference_id", "metadata[verification_status_replaces]", "verification_flow"},
		},
		"create like stripe-mock's own": {
			call: func(ctx context.Context, c *client) error {
				_, err := c.CreateLike(ctx, "", id, "")
				return err
			},
			names: []string{"metadata[verification_status_replaces]", "options[document][require_matching_selfie]", "type"},
		},
		"create an ephemeral key": {
			answers: map[string]string{"POST /v1/ephemeral_keys": ephemeralKey(id, "ek_test_planted")},
			call: func(ctx context.Context, c *client) error {
				_, err := c.EphemeralKey(ctx, "acct_1Abc", id, "2026-09-30.endive")
				return err
			},
			names: []string{"verification_session"},
		},
		"list events": {
			call: func(ctx context.Context, c *client) error {
				_, err := c.Events(ctx, "acct_1Abc", verification.EventQuery{From: 1790000100, Before: 1790000500, After: "evt_5"})
				return err
			},
			names: []string{"created[gte]", "created[lt]", "limit", "starting_after", "types[]"},
		},
		"list sessions": {
			call: func(ctx context.Context, c *client) error {
				_, err := c.Sessions(ctx, "acct_1Abc", verification.SessionQuery{From: 1790000100, Before: 1790000500, After: "vs_5"})
				return err
			},
			names: []string{"created[gte]", "created[lt]", "limit", "starting_after"},
		},
		"read an event": {
			answers: map[string]string{"GET /v1/events/evt_1Old": encode(event("evt_1Old", 1790000100, nil))},
			call: func(ctx context.Context, c *client) error {
				_, err := c.Event(ctx, verification.PurposeAmbiguous, "acct_1Abc", id, "evt_1Old")
				return err
			},
		},
		"list webhook endpoints": {
			answers: map[string]string{"GET /v1/webhook_endpoints?limit=100": listOf(true, endpoint("we_1", nil))},
			call: func(ctx context.Context, c *client) error {
				_, err := c.Endpoints(ctx)
				return err
			},
			names: []string{"limit", "limit", "starting_after"},
		},
		"list event destinations": {
			answers: map[string]string{
				"GET /v2/core/event_destinations?include[0]=webhook_endpoint.url&limit=100": pageOf("/v2/core/event_destinations?page=two", destination("ed_1", nil)),
				"GET /v2/core/event_destinations?include[0]=webhook_endpoint.url&page=two":  pageOf(nil),
			},
			call: func(ctx context.Context, c *client) error {
				_, err := c.Destinations(ctx)
				return err
			},
			names: []string{"include[0]", "include[0]", "limit", "page"},
		},
		"create an event destination": {
			answers: map[string]string{"POST /v2/core/event_destinations": encode(destination("ed_1", fields{"webhook_endpoint": fields{"url": hookURL, "signing_secret": "whsec_planted"}}))},
			call: func(ctx context.Context, c *client) error {
				_, _, err := c.CreateDestination(ctx, stripeapi.NewDestination{URL: hookURL, Name: "status", Connect: true})
				return err
			},
			names: []string{"enabled_events[]", "event_payload", "events_from[]", "include[]", "name", "type", "webhook_endpoint[url]"},
		},
		"probe the permission to write": {
			call: func(ctx context.Context, c *client) error { return c.ProbeWrite(ctx) },
		},
		"create a webhook endpoint": {
			answers: map[string]string{"POST /v1/webhook_endpoints": encode(endpoint("we_1", fields{"secret": "whsec_planted"}))},
			call: func(ctx context.Context, c *client) error {
				_, _, err := c.CreateEndpoint(ctx, stripeapi.NewEndpoint{URL: hookURL, Connect: true, APIVersion: "2023-10-16", Description: "status"})
				return err
			},
			names: []string{"api_version", "connect", "description", "enabled_events[]", "url"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, server := newRelay(t, mock, test.answers)
			// stripe-mock takes no underscores behind sk_test_.
			c := dial(t, server.URL, func(config *stripeapi.Config) { config.Key = func() verification.Secret { return "sk_test_planted" } })
			if err := test.call(context.Background(), c); err != nil {
				t.Errorf("the call fails: %v", err)
			}
			var names []string
			for _, s := range r.notes {
				if s.status != http.StatusOK {
					t.Errorf("stripe-mock answers %d to %s %s?%s %s", s.status, s.method, s.path, s.query, s.form)
				}
				for _, problem := range s.problems() {
					t.Error(problem)
				}
				names = append(names, s.names(t)...)
			}
			// So that no parameter goes untested because the call did not send it.
			if slices.Sort(names); !slices.Equal(names, test.names) {
				t.Errorf("the call sends %v, want %v", names, test.names)
			}
			for _, s := range r.notes {
				r.spoil(t, s)
			}
		})
	}
}

// names returns the names of the request's parameters. Names below others are written as in a form, also those of JSON.
func (s sent) names(t *testing.T) []string {
	t.Helper()
	var names []string
	forms := []string{s.query, s.form}
	if s.v2() {
		forms = forms[:1]
		names = jsonNames("", s.json(t))
	}
	for _, encoded := range forms {
		values, err := url.ParseQuery(encoded)
		if err != nil {
			t.Fatal(err)
		}
		for name := range values {
			names = append(names, name)
		}
	}
	return names
}

// json returns the body of a request to /v2, or nil if it has none.
func (s sent) json(t *testing.T) (body map[string]any) {
	t.Helper()
	if s.form == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(s.form), &body); err != nil {
		t.Fatalf("%s %s: %v in %s", s.method, s.path, err, s.form)
	}
	return body
}

// jsonNames returns the names in a JSON object. A list is one name with [] at its end.
func jsonNames(under string, object map[string]any) (names []string) {
	for name, value := range object {
		if under != "" {
			name = under + "[" + name + "]"
		}
		switch value := value.(type) {
		case map[string]any:
			names = append(names, jsonNames(name, value)...)
		case []any:
			names = append(names, name+"[]")
		default:
			names = append(names, name)
		}
	}
	return names
}

// renameJSON gives a parameter of a JSON body another name.
func (s sent) renameJSON(t *testing.T, from, to string) string {
	t.Helper()
	body := s.json(t)
	if body == nil {
		return ""
	}
	object, path, spoiled := body, segment.FindAllString(from, -1), segment.FindAllString(to, -1)
	for i, name := range path {
		if name != spoiled[i] {
			object[spoiled[i]] = object[name]
			delete(object, name)
			break
		}
		object, _ = object[name].(map[string]any)
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// renamed returns the request with another name for a parameter.
func (s sent) renamed(t *testing.T, from, to string) sent {
	t.Helper()
	other := s
	other.query = rename(s.query, from, to)
	if s.v2() {
		other.form = s.renameJSON(t, from, to)
	} else {
		other.form = rename(s.form, from, to)
	}
	return other
}

var segment = regexp.MustCompile(`[^\[\]]+`)

// spoil sends the request repeatedly, each time with one wrong name.
func (r *relay) spoil(t *testing.T, s sent) {
	t.Helper()
	// Encoded again without a change it is still valid.
	r.answersWith(t, s.renamed(t, "", ""), http.StatusOK)
	for _, name := range s.names(t) {
		for _, at := range segment.FindAllStringIndex(name, -1) {
			if _, err := strconv.Atoi(name[at[0]:at[1]]); err == nil || at[0] > 0 && strings.HasPrefix(name, "metadata[") {
				continue // an index of a list, or a name that callers choose
			}
			spoiled := name[:at[1]] + "x" + name[at[1]:]
			t.Run(s.method+" "+spoiled, func(t *testing.T) {
				r.answersWith(t, s.renamed(t, name, spoiled), http.StatusBadRequest)
			})
		}
	}
	t.Run(s.method+" path", func(t *testing.T) {
		other := s
		other.path = strings.Replace(s.path, "s", "sx", 1)
		want := http.StatusNotFound
		if s.v2() {
			want = http.StatusBadRequest // stripeform's
		}
		r.answersWith(t, other, want)
	})
	if strings.Contains(s.form, "enabled_events") {
		t.Run(s.method+" a type of event", func(t *testing.T) {
			other := s
			other.form = strings.Replace(s.form, verification.EventRedacted, verification.EventRedacted+"x", 1)
			r.answersWith(t, other, http.StatusBadRequest)
		})
	}
}

func (r *relay) answersWith(t *testing.T, s sent, want int) {
	t.Helper()
	if body, err := r.send(context.Background(), &s); err != nil || s.status != want {
		t.Errorf("%s %s?%s %s: stripe-mock answers %d, want %d: %s %v", s.method, s.path, s.query, s.form, s.status, want, body, err)
	}
	if problems := s.problems(); len(problems) == 0 != (want == http.StatusOK) {
		t.Errorf("%s %s?%s %s: stripeform sees the problems %v; want them for %d", s.method, s.path, s.query, s.form, problems, want)
	}
}

// rename gives a parameter another name.
func rename(encoded, from, to string) string {
	values, _ := url.ParseQuery(encoded)
	if values.Has(from) {
		values[to] = values[from]
		values.Del(from)
	}
	return values.Encode()
}

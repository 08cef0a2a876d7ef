package stripeapi_test

import (
	"context"
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
	"example.com/verification-status/server/internal/verification"
)

// sent is a request as the client made it, and the answer of stripe-mock.
type sent struct {
	method, path string
	header       http.Header
	query, form  string
	status       int
}

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
// spec. Then it changes each parameter name in turn, and stripe-mock must refuse it. Otherwise only Stripe itself
// would find a wrong name.
func TestRequestsAreStripes(t *testing.T) {
	mock := startMock(t, "/v1/identity/verification_sessions", "/v1/identity/verification_sessions/{session}", "/v1/events", "/v1/webhook_endpoints")
	get := "GET /v1/identity/verification_sessions/" + id
	document := fields{"allowed_types": []string{"passport", "id_card"}, "require_id_number": true, "require_live_capture": false, "require_matching_selfie": true}
	// Of options Stripe's spec knows document alone at a creation, but more in answers (email, phone,
	// id_number, matching). A session that has one of those set would be refused here.
	rich := fields{"status": "canceled", "options": fields{"document": document, "id_number": fields{}}, "metadata": fields{"team": "a&b"}, "provided_details": fields{"email": "a@example.com", "phone": "+15550100"}}
	flow := fields{"status": "canceled", "type": "verification_flow", "verification_flow": "vf_1", "options": nil}
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
				"provided_details[email]", "provided_details[phone]", "return_url", "type",
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
		"list webhook endpoints": {
			answers: map[string]string{"GET /v1/webhook_endpoints?limit=100": listOf(true, endpoint("we_1", nil))},
			call: func(ctx context.Context, c *client) error {
				_, err := c.Endpoints(ctx)
				return err
			},
			names: []string{"limit", "limit", "starting_after"},
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

// names returns the names of the request's parameters.
func (s sent) names(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, encoded := range []string{s.query, s.form} {
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

var segment = regexp.MustCompile(`[^\[\]]+`)

// spoil sends the request repeatedly, each time with one wrong name.
func (r *relay) spoil(t *testing.T, s sent) {
	t.Helper()
	// Encoded again without a change it is still valid.
	r.answersWith(t, sent{method: s.method, path: s.path, header: s.header, query: rename(s.query, "", ""), form: rename(s.form, "", "")}, http.StatusOK)
	for _, name := range s.names(t) {
		for _, at := range segment.FindAllStringIndex(name, -1) {
			if _, err := strconv.Atoi(name[at[0]:at[1]]); err == nil || at[0] > 0 && strings.HasPrefix(name, "metadata[") {
				continue // an index of a list, or a name that callers choose
			}
			spoiled := name[:at[1]] + "x" + name[at[1]:]
			t.Run(s.method+" "+spoiled, func(t *testing.T) {
				other := s
				other.query, other.form = rename(s.query, name, spoiled), rename(s.form, name, spoiled)
				r.answersWith(t, other, http.StatusBadRequest)
			})
		}
	}
	t.Run(s.method+" path", func(t *testing.T) {
		other := s
		other.path = strings.Replace(s.path, "s", "sx", 1)
		r.answersWith(t, other, http.StatusNotFound)
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

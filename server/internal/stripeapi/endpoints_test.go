package stripeapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

const hookURL = "https://shop.example/webhook"

// endpoint returns a webhook endpoint as Stripe's API shows it.
func endpoint(endpointID string, change fields) fields {
	e := fields{
		"id": endpointID, "object": "webhook_endpoint", "api_version": nil, "application": nil, "created": 1790000000,
		"description": "planted description", "enabled_events": []string{"*"}, "livemode": true, "metadata": fields{"a": "planted"},
		"status": "enabled", "url": hookURL,
	}
	for name, value := range change {
		e[name] = value
	}
	return e
}

func TestEndpointsReadsAllPages(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, c call) {
		if c.query.Get("starting_after") == "" {
			always(200, listOf(true, endpoint("we_3", nil), endpoint("we_2", fields{"status": "disabled", "api_version": "2023-10-16"})))(w, c)
			return
		}
		always(200, listOf(false, endpoint("we_1", fields{"livemode": false, "status": "paused", "enabled_events": []string{verification.EventCreated}})))(w, c)
	})
	c := dial(t, s.URL, nil)
	got, err := c.Endpoints(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := []stripeapi.Endpoint{
		{ID: "we_3", URL: hookURL, EnabledEvents: []string{"*"}, Enabled: true, Livemode: true},
		{ID: "we_2", URL: hookURL, EnabledEvents: []string{"*"}, APIVersion: "2023-10-16", Livemode: true},
		{ID: "we_1", URL: hookURL, EnabledEvents: []string{verification.EventCreated}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	calls := s.seen()
	if len(calls) != 2 || calls[0].raw != "" || calls[0].path != "/v1/webhook_endpoints" ||
		calls[0].query.Encode() != "limit=100" || calls[1].query.Encode() != "limit=100&starting_after=we_2" {
		t.Errorf("calls %+v", calls)
	}
	if c.observed() != "endpoints:ok endpoints:ok" {
		t.Errorf("observed %s", c.observed())
	}
}

// An id of another form than we_ hides no endpoint, and the list continues behind it.
func TestEndpointsOfAnyID(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, c call) {
		if c.query.Get("starting_after") == "" {
			always(200, listOf(true, endpoint("ed_test_3", nil), endpoint("we_2", nil), endpoint("odd/../id", nil)))(w, c)
			return
		}
		always(200, listOf(false, endpoint("we_1", nil), endpoint("", nil), endpoint("ed_0", fields{"object": "v2.core.event_destination", "url": nil})))(w, c)
	})
	c := dial(t, s.URL, nil)
	got, err := c.Endpoints(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range got {
		ids = append(ids, e.ID)
	}
	if want := "ed_test_3 we_2 we_1 ed_0"; strings.Join(ids, " ") != want {
		t.Errorf("endpoints: got %q, want %q", ids, want)
	}
	if after := s.seen()[1].query.Get("starting_after"); after != "odd/../id" {
		t.Errorf("the list continues after %q", after)
	}
	if n := strings.Count(c.logs.String(), "cannot be used"); n != 2 {
		t.Errorf("%d lines about ids: %s", n, c.logs.String())
	}
}

func TestCreateEndpoint(t *testing.T) {
	secret := fields{"secret": "whsec_planted"}
	six := map[string][]string{"url": {hookURL}, "enabled_events[]": {
		verification.EventCreated, verification.EventProcessing, verification.EventRequiresInput,
		verification.EventVerified, verification.EventCanceled, verification.EventRedacted,
	}}
	for name, test := range map[string]struct {
		n    stripeapi.NewEndpoint
		more map[string][]string
	}{
		"the least": {stripeapi.NewEndpoint{URL: hookURL}, nil},
		"the most": {stripeapi.NewEndpoint{URL: hookURL, Connect: true, APIVersion: "2023-10-16", Description: "a&b"},
			map[string][]string{"connect": {"true"}, "api_version": {"2023-10-16"}, "description": {"a&b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, always(200, encode(endpoint("we_1", secret))))
			c := dial(t, s.URL, nil)
			made, got, err := c.CreateEndpoint(context.Background(), test.n)
			if err != nil || made.ID != "we_1" || got.Reveal() != "whsec_planted" {
				t.Fatalf("made %+v, error %v", made, err)
			}
			want := map[string][]string{}
			for _, part := range []map[string][]string{six, test.more} {
				for field, values := range part {
					want[field] = values
				}
			}
			call := s.seen()[0]
			if diff := cmp.Diff(want, map[string][]string(call.form)); diff != "" || call.method != http.MethodPost || call.path != "/v1/webhook_endpoints" {
				t.Errorf("%s %s (-want +got):\n%s", call.method, call.path, diff)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", got, made, got), "planted") {
				t.Error("the secret shows when printed")
			}
		})
	}
}

// What Stripe did although its answer was lost is asked for again, under the same key.
func TestCreateEndpointAsksForALostAnswer(t *testing.T) {
	sim, err := stripesim.New(stripesim.Config{APIKeys: []string{key}})
	if err != nil {
		t.Fatal(err)
	}
	lost := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && !lost {
			lost = true
			sim.Handler().ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		sim.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c, ctx := dial(t, server.URL, nil), context.Background()
	made, secret, err := c.CreateEndpoint(ctx, stripeapi.NewEndpoint{URL: hookURL})
	if err != nil || secret == "" {
		t.Fatalf("error %v", err)
	}
	all, err := c.Endpoints(ctx)
	if err != nil || len(all) != 1 || all[0].ID != made.ID || !lost {
		t.Errorf("endpoints %+v, error %v", all, err)
	}
	// Another call makes another endpoint.
	if again, _, err := c.CreateEndpoint(ctx, stripeapi.NewEndpoint{URL: hookURL}); err != nil || again.ID == made.ID {
		t.Errorf("again %+v, error %v", again, err)
	}
}

func TestEndpointErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status   int
		body     string
		want     error
		requests int // of a creation
	}{
		"no permission":       {403, refusal("invalid_request_error", "more_permissions_required"), verification.ErrStripeUnauthorized, 1},
		"down":                {503, refusal("api_error", ""), verification.ErrStripeUnavailable, 3},
		"no list, no secret":  {200, encode(endpoint("we_1", nil)), verification.ErrStripeUnavailable, 3},
		"a list of sessions":  {200, listOf(false, session(nil)), verification.ErrStripeUnavailable, 3},
		"another case":        {200, `{"Object":"list","Data":[],"id":"we_1","Secret":"whsec_planted","url":"https://a.example/"}`, verification.ErrStripeUnavailable, 3},
		"an empty list, more": {200, listOf(true), verification.ErrStripeUnavailable, 3},
		"escape codes":        {200, listOf(false, endpoint("we_1", fields{"url": "https://a/\x1b[2J"})), verification.ErrStripeUnavailable, 3},
		"refused":             {400, refusal("invalid_request_error", "url_invalid"), &verification.StripeRefusedError{Code: "url_invalid"}, 1},
		"missing":             {404, refusal("invalid_request_error", "resource_missing"), nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, always(test.status, test.body))
			c := dial(t, s.URL, nil)
			_, listed := c.Endpoints(context.Background())
			made, secret, created := c.CreateEndpoint(context.Background(), stripeapi.NewEndpoint{URL: hookURL})
			for call, err := range map[string]error{"list": listed, "create": created} {
				var refused, wanted *verification.StripeRefusedError
				switch {
				case err == nil, test.want != nil && !errors.As(test.want, &wanted) && !errors.Is(err, test.want):
					t.Errorf("%s: error %v, want %v", call, err, test.want)
				case wanted != nil && (!errors.As(err, &refused) || refused.Code != wanted.Code):
					t.Errorf("%s: error %v, want %v", call, err, test.want)
				case strings.Contains(err.Error(), "planted"):
					t.Errorf("%s: the error passes on Stripe's text: %v", call, err)
				}
			}
			if made.ID != "" || secret != "" {
				t.Error("an answer beside the error")
			}
			if n := len(s.seen()) - 1; n != test.requests {
				t.Errorf("%d requests to create", n)
			}
		})
	}
}

func TestEndpointListWithoutEnd(t *testing.T) {
	s := serve(t, always(200, listOf(true, endpoint("we_1", nil))))
	if _, err := dial(t, s.URL, nil).Endpoints(context.Background()); !errors.Is(err, verification.ErrStripeUnavailable) {
		t.Errorf("error %v", err)
	}
	if n := len(s.seen()); n != 10 {
		t.Errorf("%d requests", n)
	}
}

// The lists are reads like others: a day's budget holds for them.
func TestEndpointListUsesTheBudget(t *testing.T) {
	s := serve(t, always(200, listOf(false)))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.ReadsPerDay = 1 })
	if _, err := c.Endpoints(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Endpoints(context.Background()); !errors.Is(err, verification.ErrStripeBudget) || len(s.seen()) != 1 {
		t.Errorf("error %v", err)
	}
}

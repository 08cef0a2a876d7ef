package stripeapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// destination returns an event destination as Stripe's API v2 shows it.
func destination(id string, change fields) fields {
	e := fields{
		"id": id, "object": "v2.core.event_destination", "created": "2026-11-28T07:50:00.435Z", "description": "planted description",
		"enabled_events": []string{"v1.identity.verification_session.verified"}, "event_payload": "thin", "events_from": []string{"@self"},
		"livemode": true, "metadata": fields{"a": "planted"}, "name": "planted name", "status": "enabled", "status_details": nil,
		"type": "webhook_endpoint", "updated": "2026-11-28T07:50:00.435Z", "webhook_endpoint": fields{"url": hookURL},
	}
	for name, value := range change {
		e[name] = value
	}
	return e
}

// pageOf returns a page of a list of API v2. next is its next_page_url, or nil.
func pageOf(next any, items ...fields) string {
	if items == nil {
		items = []fields{}
	}
	return encode(fields{"data": items, "next_page_url": next, "previous_page_url": nil})
}

func TestDestinationsReadsAllPages(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, c call) {
		switch c.query.Get("page") {
		case "":
			always(200, pageOf("/v2/core/event_destinations?limit=100&page=two", destination("ed_4", nil),
				destination("we_3", fields{"event_payload": "snapshot", "snapshot_api_version": "2023-10-16", "enabled_events": []string{"*"}, "status": "disabled"})))(w, c)
		case "two":
			always(200, pageOf("https://api.stripe.example/v2/core/event_destinations?page=three&include[0]=webhook_endpoint.url", destination("ed_2", fields{
				"type": "amazon_eventbridge", "webhook_endpoint": nil, "amazon_eventbridge": fields{"aws_account_id": "1"}, "livemode": false})))(w, c)
		default:
			always(200, pageOf(nil, destination("odd/id", nil), destination("ed_test_1", fields{"webhook_endpoint": fields{}})))(w, c)
		}
	})
	c := dial(t, s.URL, nil)
	got, err := c.Destinations(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	verified := []string{"v1.identity.verification_session.verified"}
	want := []stripeapi.Endpoint{
		{ID: "ed_4", URL: hookURL, EnabledEvents: verified, Enabled: true, Livemode: true, Thin: true, V2: true},
		{ID: "we_3", URL: hookURL, EnabledEvents: []string{"*"}, APIVersion: "2023-10-16", Livemode: true, V2: true},
		{ID: "ed_2", Transport: "amazon_eventbridge", EnabledEvents: verified, Enabled: true, Thin: true, V2: true},
		{ID: "ed_test_1", EnabledEvents: verified, Enabled: true, Livemode: true, Thin: true, V2: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for i, query := range []string{
		"include%5B0%5D=webhook_endpoint.url&limit=100", "include%5B0%5D=webhook_endpoint.url&limit=100&page=two",
		"include%5B0%5D=webhook_endpoint.url&page=three",
	} {
		call := s.seen()[i]
		if call.path != "/v2/core/event_destinations" || call.query.Encode() != query || call.header.Get("Stripe-Version") != stripeapi.DestinationsVersion {
			t.Errorf("request %d: %s?%s of version %q, want %s", i, call.path, call.query.Encode(), call.header.Get("Stripe-Version"), query)
		}
	}
	if c.observed() != "destinations:ok destinations:ok destinations:ok" {
		t.Errorf("observed %s", c.observed())
	}
}

func TestCreateDestination(t *testing.T) {
	six := []any{
		"v1.identity.verification_session.created", "v1.identity.verification_session.processing", "v1.identity.verification_session.requires_input",
		"v1.identity.verification_session.verified", "v1.identity.verification_session.canceled", "v1.identity.verification_session.redacted",
	}
	for name, test := range map[string]struct {
		n    stripeapi.NewDestination
		more fields
	}{
		"own":       {stripeapi.NewDestination{URL: hookURL, Name: "status"}, nil},
		"connected": {stripeapi.NewDestination{URL: hookURL, Name: "status", Connect: true}, fields{"events_from": []any{"other_accounts"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, always(200, encode(destination("ed_1", fields{"webhook_endpoint": fields{"url": hookURL, "signing_secret": "whsec_planted"}}))))
			c := dial(t, s.URL, nil)
			made, secret, err := c.CreateDestination(context.Background(), test.n)
			if err != nil || made.ID != "ed_1" || !made.Thin || made.URL != hookURL || secret.Reveal() != "whsec_planted" {
				t.Fatalf("made %+v, error %v", made, err)
			}
			call := s.seen()[0]
			var got fields
			if err := json.Unmarshal([]byte(call.raw), &got); err != nil {
				t.Fatal(err)
			}
			want := fields{
				"name": "status", "type": "webhook_endpoint", "event_payload": "thin", "enabled_events": six,
				"webhook_endpoint": fields{"url": hookURL}, "include": []any{"webhook_endpoint.signing_secret", "webhook_endpoint.url"},
			}
			for field, value := range test.more {
				want[field] = value
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			for header, value := range map[string]string{"Content-Type": "application/json", "Stripe-Version": stripeapi.DestinationsVersion} {
				if call.header.Get(header) != value {
					t.Errorf("%s: got %q, want %q", header, call.header.Get(header), value)
				}
			}
			if call.method != http.MethodPost || call.path != "/v2/core/event_destinations" || call.header.Get("Idempotency-Key") == "" {
				t.Errorf("%s %s", call.method, call.path)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", secret, made, secret), "planted") {
				t.Error("the secret shows when printed")
			}
		})
	}
}

func TestDestinationErrors(t *testing.T) {
	for name, test := range map[string]struct {
		status   int
		body     string
		want     error
		requests int // of a creation
	}{
		"no permission":       {403, refusal("invalid_request_error", "more_permissions_required"), verification.ErrStripeUnauthorized, 1},
		"down":                {503, refusal("api_error", ""), verification.ErrStripeUnavailable, 3},
		"no list, no secret":  {200, encode(destination("ed_1", nil)), verification.ErrStripeUnavailable, 3},
		"a list of endpoints": {200, pageOf(nil, endpoint("we_1", nil)), verification.ErrStripeUnavailable, 3},
		"another case":        {200, `{"Data":[],"data":null,"Id":"ed_1","object":"v2.core.event_destination","webhook_endpoint":{"Signing_Secret":"whsec_planted"}}`, verification.ErrStripeUnavailable, 3},
		"another list":        {200, pageOf("/v1/webhook_endpoints?page=2", destination("ed_1", nil)), verification.ErrStripeUnavailable, 3},
		"a list without page": {200, pageOf("/v2/core/event_destinations", destination("ed_1", nil)), verification.ErrStripeUnavailable, 3},
		"escape codes":        {200, pageOf(nil, destination("ed_1", fields{"webhook_endpoint": fields{"url": "https://a/\x1b[2J"}})), verification.ErrStripeUnavailable, 3},
		"refused":             {400, refusal("invalid_request_error", "url_invalid"), &verification.StripeRefusedError{Code: "url_invalid"}, 1},
		"missing":             {404, refusal("invalid_request_error", "resource_missing"), nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, always(test.status, test.body))
			c := dial(t, s.URL, nil)
			_, listed := c.Destinations(context.Background())
			lists := len(s.seen())
			made, secret, created := c.CreateDestination(context.Background(), stripeapi.NewDestination{URL: hookURL, Name: "status"})
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
			if n := len(s.seen()) - lists; n != test.requests {
				t.Errorf("%d requests to create, want %d", n, test.requests)
			}
		})
	}
}

func TestDestinationListWithoutEnd(t *testing.T) {
	s := serve(t, always(200, pageOf("/v2/core/event_destinations?page=again", destination("ed_1", nil))))
	if _, err := dial(t, s.URL, nil).Destinations(context.Background()); !errors.Is(err, verification.ErrStripeUnavailable) {
		t.Errorf("error %v", err)
	}
	if n := len(s.seen()); n != 10 {
		t.Errorf("%d requests, want 10", n)
	}
}

// The permission to write is asked for by a request that changes nothing, whatever the answer.
func TestTheKeyOfAnOrganizationIsNotProbed(t *testing.T) {
	s := serve(t, always(404, refusal("invalid_request_error", "resource_missing")))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.Key = keyed("sk_org_test_planted") })
	if err := c.ProbeWrite(t.Context()); !errors.Is(err, stripeapi.ErrNotProbed) || errors.Is(err, verification.ErrStripeUnknown) || len(s.seen()) != 0 {
		t.Errorf("error %v after %d requests; want ErrNotProbed after none", err, len(s.seen()))
	}
}

func TestProbeWrite(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"permitted":     {404, refusal("invalid_request_error", "resource_missing"), nil},
		"not permitted": {403, refusal("invalid_request_error", "more_permissions_required"), verification.ErrStripeUnauthorized},
		"no key":        {401, refusal("invalid_request_error", ""), verification.ErrStripeUnauthorized},
		"down":          {503, refusal("api_error", ""), verification.ErrStripeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, always(test.status, test.body))
			if err := dial(t, s.URL, nil).ProbeWrite(context.Background()); !errors.Is(err, test.want) {
				t.Errorf("error: got %v, want %v", err, test.want)
			}
			call := s.seen()[0]
			if call.method != http.MethodPost || !strings.HasSuffix(call.path, "/cancel") || call.raw != "" || len(s.seen()) != 1 {
				t.Errorf("the request: %s %s %q", call.method, call.path, call.raw)
			}
		})
	}
}

// The clock is compared with the Date of any answer, without the key.
func TestSkew(t *testing.T) {
	s := serve(t, always(401, refusal("invalid_request_error", "")))
	for _, ahead := range []time.Duration{0, 7 * time.Second, -10 * time.Minute} {
		c := dial(t, s.URL+"/v1", func(config *stripeapi.Config) {
			config.Clock = func() time.Time { return date.Add(ahead + time.Second/2) }
		})
		got, err := c.Skew(context.Background())
		if err != nil || got != ahead {
			t.Errorf("skew: got %v, %v, want %v", got, err, ahead)
		}
	}
	for _, call := range s.seen() {
		if call.header.Get("Authorization") != "" || call.path != "/v1/events" {
			t.Errorf("the request: %s %v", call.path, call.header)
		}
	}
	odd := serve(t, func(w http.ResponseWriter, _ call) { w.Header().Set("Date", "today") })
	if _, err := dial(t, odd.URL, nil).Skew(context.Background()); !errors.Is(err, verification.ErrStripeUnavailable) {
		t.Errorf("an answer without a Date: %v", err)
	}
}

package stripeapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

// event returns an event as Stripe's list shows it.
func event(eventID string, created any, change fields) fields {
	e := fields{
		"id": eventID, "object": "event", "type": verification.EventRequiresInput, "created": created,
		"livemode": true, "data": fields{"object": session(nil)},
	}
	for name, value := range change {
		e[name] = value
	}
	return e
}

func listOf(more bool, data ...any) string {
	return encode(fields{"object": "list", "has_more": more, "data": data, "url": "/v1/events"})
}

func TestEvents(t *testing.T) {
	s := serve(t, always(200, listOf(true,
		event("evt_4", 1790000400, nil),
		event("evt_3", 1790000300, fields{"type": "charge.succeeded"}),
		event("evt_2", 1790000200, fields{"data": fields{"object": fields{"id": "vs_1Old"}}}),
		event("evt_1", "yesterday", nil))))
	c := dial(t, s.URL, nil)
	got, err := c.Events(context.Background(), "", verification.EventQuery{From: 1790000100, Before: 1790000500, After: "evt_5"})
	if err != nil {
		t.Fatal(err)
	}
	want := verification.EventPage{
		Events: []verification.Event{{
			ID: "evt_4", Type: verification.EventRequiresInput, Source: verification.SourceStripeAPI, Second: 1790000400,
			Object: verification.Object{
				ID: id, Livemode: true, Type: "document", Status: "requires_input", Report: "vr_1", Created: 1790000000,
				Reference: "case-17", Error: verification.Error{Code: "document_expired", Reason: "planted reason"},
			},
		}},
		Malformed: []string{"evt_2", "evt_1"},
		Oldest:    1790000200, Newest: 1790000400, Last: "evt_1", More: true, AsOf: got.AsOf,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	if age := date.Unix() - got.AsOf; age < 1 || age > 30 {
		t.Errorf("as of %d s before the Date", age)
	}
	call := s.seen()[0]
	if call.method != http.MethodGet || call.path != "/v1/events" || call.header.Get("Stripe-Account") != "" {
		t.Errorf("call %+v", call)
	}
	wantQuery := map[string][]string{
		"types[]": {
			verification.EventCreated, verification.EventProcessing, verification.EventRequiresInput,
			verification.EventVerified, verification.EventCanceled, verification.EventRedacted,
		},
		"limit": {"100"}, "created[gte]": {"1790000100"}, "created[lt]": {"1790000500"}, "starting_after": {"evt_5"},
	}
	if diff := cmp.Diff(wantQuery, map[string][]string(call.query)); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	if c.observed() != "events:ok" || strings.Count(c.logs.String(), "cannot be used") != 2 {
		t.Errorf("observed %s, log:\n%s", c.observed(), c.logs)
	}
}

func TestEventsWithoutBounds(t *testing.T) {
	s := serve(t, always(200, listOf(false)))
	got, err := dial(t, s.URL, nil).Events(context.Background(), "", verification.EventQuery{})
	if err != nil || got.More || got.Last != "" || got.Oldest != 0 || got.Newest != 0 || len(got.Events) != 0 || got.AsOf == 0 {
		t.Errorf("page %+v, error %v", got, err)
	}
	for name := range s.seen()[0].query {
		if name != "types[]" && name != "limit" {
			t.Errorf("%s is asked for", name)
		}
	}
}

// In a list that the account asked for, an event may not say whose it is.
func TestEventsOfAConnectedAccount(t *testing.T) {
	s := serve(t, always(200, listOf(false, event("evt_1", 1790000100, nil))))
	c := dial(t, s.URL, nil)
	got, err := c.Events(context.Background(), "acct_1Abc", verification.EventQuery{})
	if err != nil || len(got.Events) != 1 || got.Events[0].Object.Account != "acct_1Abc" {
		t.Errorf("page %+v, error %v", got, err)
	}
	if sent := s.seen()[0].header.Get("Stripe-Account"); sent != "acct_1Abc" {
		t.Errorf("Stripe-Account %q", sent)
	}
	if _, err := c.Events(context.Background(), "acct_1\r\nX: y", verification.EventQuery{}); !errors.Is(err, verification.ErrStripeUnknown) {
		t.Errorf("error %v", err)
	}
}

func TestEventErrors(t *testing.T) {
	many := make([]any, 100)
	for i := range many {
		many[i] = event("evt_1", 1790000100, fields{"pad": strings.Repeat("x", 20<<10)})
	}
	for name, test := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"cursor gone":         {400, refusal("invalid_request_error", "resource_missing"), verification.ErrStripeUnknown},
		"no permission":       {403, refusal("invalid_request_error", "more_permissions_required"), verification.ErrStripeUnauthorized},
		"rate limit":          {429, refusal("invalid_request_error", "rate_limit"), verification.ErrStripeUnavailable},
		"no list":             {200, encode(event("evt_1", 1, nil)), verification.ErrStripeUnavailable},
		"no way on":           {200, listOf(true), verification.ErrStripeUnavailable},
		"no way on from this": {200, listOf(true, fields{"object": "event"}), verification.ErrStripeUnavailable},
		"a full page":         {200, listOf(false, many...), nil},
		"over 16 MiB":         {200, listOf(false, fields{"pad": strings.Repeat("x", 16<<20)}), verification.ErrStripeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, always(test.status, test.body))
			got, err := dial(t, s.URL, nil).Events(context.Background(), "", verification.EventQuery{})
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if test.want != nil && !cmp.Equal(got, verification.EventPage{}) {
				t.Errorf("a page beside the error: %+v", got)
			}
		})
	}
}

func TestEventsUseTheBudget(t *testing.T) {
	s := serve(t, always(200, listOf(false)))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.ReadsPerDay = 1 })
	_, _ = c.Events(context.Background(), "", verification.EventQuery{})
	if _, err := c.Events(context.Background(), "", verification.EventQuery{}); !errors.Is(err, verification.ErrStripeBudget) {
		t.Errorf("error %v", err)
	}
	if len(s.seen()) != 1 {
		t.Errorf("%d requests", len(s.seen()))
	}
}

// All pages of the simulator, and none twice.
func TestEventsOfTheSimulator(t *testing.T) {
	sim, err := stripesim.New(stripesim.Config{APIKeys: []string{key}, ProcessingDelay: stripesim.Immediately})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	for range 70 {
		created, err := sim.Create(stripesim.NewSession{})
		if err == nil {
			err = sim.Submit(created.ID, stripesim.OutcomeVerified)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c, ctx := dial(t, server.URL, nil), context.Background()
	var got []string
	query := verification.EventQuery{From: time.Now().Unix() - 1000}
	for range 5 {
		page, err := c.Events(ctx, "", query)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			got = append([]string{e.ID}, got...)
		}
		if query.After = page.Last; !page.More {
			break
		}
	}
	var want []string
	for _, e := range sim.Events() {
		want = append(want, e.ID)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

package stripeapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

func TestSessions(t *testing.T) {
	s := serve(t, always(200, listOf(true,
		session(fields{"id": "vs_4", "created": 1790000400, "status": "verified", "last_error": nil}),
		session(fields{"id": "vs_3", "created": 1790000300, "status": nil}),
		session(fields{"id": "planted/../id", "created": 1790000200}),
		session(fields{"id": "vs_1", "created": 1790000100}))))
	c := dial(t, s.URL, nil)
	got, err := c.Sessions(context.Background(), "acct_1Abc", verification.SessionQuery{From: 1790000100, Before: 1790000500, After: "vs_5"})
	if err != nil {
		t.Fatal(err)
	}
	listed := verification.Object{
		ID: "vs_4", Account: "acct_1Abc", Livemode: true, Type: "document", Status: "verified", Report: "vr_1",
		Created: 1790000400, Reference: "case-17",
	}
	failed := listed
	failed.ID, failed.Created, failed.Status = "vs_1", 1790000100, "requires_input"
	failed.Error = verification.Error{Code: "document_expired", Reason: "planted reason"}
	want := verification.SessionPage{
		Objects: []verification.Object{listed, failed}, Malformed: []string{"vs_3", ""},
		Oldest: 1790000100, Newest: 1790000400, Last: "vs_1", More: true, AsOf: got.AsOf,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	if age := date.Unix() - got.AsOf; age < 1 || age > 30 {
		t.Errorf("as of %d s before the Date", age)
	}
	call := s.seen()[0]
	if call.method != http.MethodGet || call.path != "/v1/identity/verification_sessions" || call.header.Get("Stripe-Account") != "acct_1Abc" {
		t.Errorf("call %+v", call)
	}
	wantQuery := map[string][]string{
		"limit": {"100"}, "created[gte]": {"1790000100"}, "created[lt]": {"1790000500"}, "starting_after": {"vs_5"},
	}
	if diff := cmp.Diff(wantQuery, map[string][]string(call.query)); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	if c.observed() != "sessions:ok" || strings.Count(c.logs.String(), "cannot be used") != 2 {
		t.Errorf("observed %s, log:\n%s", c.observed(), c.logs)
	}
}

func TestSessionsWithoutBounds(t *testing.T) {
	s := serve(t, always(200, listOf(false)))
	got, err := dial(t, s.URL, nil).Sessions(context.Background(), "", verification.SessionQuery{})
	if err != nil || got.More || got.Last != "" || got.Oldest != 0 || got.Newest != 0 || len(got.Objects) != 0 || got.AsOf == 0 {
		t.Errorf("page %+v, error %v", got, err)
	}
	call := s.seen()[0]
	if diff := cmp.Diff(map[string][]string{"limit": {"100"}}, map[string][]string(call.query)); diff != "" || call.header.Get("Stripe-Account") != "" {
		t.Errorf("Stripe-Account %q, query (-want +got):\n%s", call.header.Get("Stripe-Account"), diff)
	}
}

// A page of a hundred sessions with as much metadata as Stripe allows is larger than any other answer.
func TestSessionsOfALargePage(t *testing.T) {
	metadata := fields{}
	for i := range 50 {
		metadata[strings.Repeat("k", 38)+string(rune('0'+i/10))+string(rune('0'+i%10))] = strings.Repeat("v", 500)
	}
	var sessions []any
	for range 100 {
		sessions = append(sessions, session(fields{"metadata": metadata}))
	}
	s := serve(t, always(200, listOf(false, sessions...)))
	got, err := dial(t, s.URL, nil).Sessions(context.Background(), "", verification.SessionQuery{})
	if err != nil || len(got.Objects) != 100 {
		t.Errorf("%d sessions, error %v", len(got.Objects), err)
	}
}

func TestSessionsThatCannotBeListed(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"not a list":                      {200, encode(session(nil)), verification.ErrStripeUnavailable},
		"a list that does not continue":   {200, listOf(true), verification.ErrStripeUnavailable},
		"a cursor that Stripe lacks":      {404, `{"error":{"code":"resource_missing"}}`, verification.ErrStripeUnknown},
		"a key that may not":              {403, `{"error":{}}`, verification.ErrStripeUnauthorized},
		"too many requests":               {429, `{"error":{}}`, verification.ErrStripeUnavailable},
		"an account of the wrong form":    {200, listOf(false), verification.ErrStripeUnknown},
		"an account that is not accepted": {200, listOf(false), verification.ErrStripeExcluded},
	} {
		t.Run(name, func(t *testing.T) {
			account := map[string]string{"an account of the wrong form": "x", "an account that is not accepted": "acct_2"}[name]
			s := serve(t, always(test.status, test.body))
			c := dial(t, s.URL, func(config *stripeapi.Config) { config.Accounts = verification.NewAccounts([]string{"acct_1"}) })
			if _, err := c.Sessions(context.Background(), account, verification.SessionQuery{After: "vs_1"}); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if sent := len(s.seen()); (account == "") != (sent == 1) {
				t.Errorf("%d requests for account %q", sent, account)
			}
		})
	}
}

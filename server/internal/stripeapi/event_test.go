package stripeapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

func TestEvent(t *testing.T) {
	s := serve(t, always(200, encode(event("evt_4", 1790000400, nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.ReadsPerDay = 1 })
	want := verification.Event{
		ID: "evt_4", Type: verification.EventRequiresInput, Source: verification.SourceStripeAPI, Second: 1790000400,
		Object: verification.Object{
			ID: id, Account: "acct_1Abc", Livemode: true, Type: "document", Status: "requires_input", Report: "vr_1", Created: 1790000000,
			Reference: "case-17", Error: verification.Error{Code: "document_expired", Reason: "planted reason"},
		},
	}
	for range 3 { // the reads do not count in the budget
		got, err := c.Event(context.Background(), verification.PurposeAmbiguous, "acct_1Abc", id, "evt_4")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("error %v, event (-want +got):\n%s", err, diff)
		}
	}
	call := s.seen()[0]
	if call.method != http.MethodGet || call.path != "/v1/events/evt_4" || call.header.Get("Stripe-Account") != "acct_1Abc" || len(call.query) > 0 {
		t.Errorf("call %+v", call)
	}
	if got := c.observed(); got != "event:ok event:ok event:ok" {
		t.Errorf("observed %s", got)
	}
}

// TestAnEventThatCannotBeHad: the error tells whether another try can help.
func TestAnEventThatCannotBeHad(t *testing.T) {
	const notFound = `{"error":{"type":"invalid_request_error","code":"resource_missing","message":"planted"}}`
	for name, test := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"gone":                {404, notFound, verification.ErrStripeUnknown},
		"another event":       {200, encode(event("evt_5", 1790000400, nil)), verification.ErrStripeUnknown},
		"of another session":  {200, encode(event("evt_4", 1790000400, fields{"data": fields{"object": session(fields{"id": "vs_2"})}})), verification.ErrStripeUnknown},
		"of another product":  {200, encode(event("evt_4", 1790000400, fields{"type": "charge.succeeded"})), verification.ErrStripeUnknown},
		"malformed":           {200, encode(event("evt_4", "yesterday", nil)), verification.ErrStripeUnknown},
		"a thin event":        {200, `{"id":"evt_4","type":"v1.identity.verification_session.verified","created":"2026-11-28T07:50:00Z","related_object":{"id":"vs_1Old"}}`, verification.ErrStripeUnknown},
		"Stripe is away":      {500, `{"error":{"type":"api_error"}}`, verification.ErrStripeUnavailable},
		"the rate is reached": {429, `{"error":{"type":"invalid_request_error","code":"rate_limit"}}`, verification.ErrStripeUnavailable},
		"the key is refused":  {401, `{"error":{"type":"invalid_request_error"}}`, verification.ErrStripeUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, serve(t, always(test.status, test.body)).URL, nil)
			got, err := c.Event(context.Background(), verification.PurposeAmbiguous, "", id, "evt_4")
			if !errors.Is(err, test.want) || got != (verification.Event{}) {
				t.Errorf("event %+v, error %v; want %v", got, err, test.want)
			}
		})
	}
	s := serve(t, always(200, "{}"))
	c := dial(t, s.URL, nil)
	for _, eventID := range []string{"", "evt_", "evt_1/x", "evt_1?x", "vs_1", "evt_" + strings.Repeat("a", 252)} {
		if _, err := c.Event(context.Background(), verification.PurposeAmbiguous, "", id, eventID); !errors.Is(err, verification.ErrStripeUnknown) {
			t.Errorf("%q: error %v, want ErrStripeUnknown", eventID, err)
		}
	}
	if seen := s.seen(); len(seen) > 0 {
		t.Errorf("sent %+v", seen)
	}
}

// TestOneStrangeEventDoesNotHideTheList: an event with a key that is there twice is malformed. The others are read.
func TestOneStrangeEventDoesNotHideTheList(t *testing.T) {
	strange := strings.Replace(encode(event("evt_2", 1790000200, nil)), `"status":"requires_input"`, `"status":"verified","status":"requires_input"`, 1)
	s := serve(t, func(w http.ResponseWriter, _ call) {
		_, _ = io.WriteString(w, `{"object":"list","has_more":false,"HAS_MORE":true,"data":[`+encode(event("evt_3", 1790000300, nil))+`,`+strange+`]}`)
	})
	page, err := dial(t, s.URL, nil).Events(context.Background(), "", verification.EventQuery{})
	if err != nil || len(page.Events) != 1 || len(page.Malformed) != 1 || page.Malformed[0] != "evt_2" || page.More || page.Oldest != 1790000200 {
		t.Errorf("error %v, page %+v", err, page)
	}
}

// TestAWishedPageDoesNotCount: neither an exhausted budget nor waiting lookups delay it.
func TestAWishedPageDoesNotCount(t *testing.T) {
	s := serve(t, always(200, listOf(false)))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.ReadsPerDay = 2 })
	for range 5 {
		if _, err := c.Events(context.Background(), "", verification.EventQuery{Wished: true}); err != nil {
			t.Errorf("a wished page: %v", err)
		}
	}
	if left := c.ReadsLeft(); left != 2 {
		t.Errorf("%d reads are left, want 2", left)
	}
}

// TestASessionIsReadByExactKeys: a GET and a list are decoded as strictly as a webhook.
func TestASessionIsReadByExactKeys(t *testing.T) {
	other := strings.Replace(encode(session(nil)), `"status":"requires_input"`, `"status":"requires_input","Status":"verified"`, 1)
	twice := strings.Replace(encode(session(nil)), `"status":"requires_input"`, `"status":"requires_input","status":"verified"`, 1)
	read, err := dial(t, serve(t, always(200, other)).URL, nil).Retrieve(context.Background(), "", id)
	if err != nil || read.Object.Status != "requires_input" {
		t.Errorf("another case: status %q, error %v", read.Object.Status, err)
	}
	if read, err := dial(t, serve(t, always(200, twice)).URL, nil).Retrieve(context.Background(), "", id); !errors.Is(err, verification.ErrStripeUnavailable) {
		t.Errorf("twice: read %+v, error %v; want ErrStripeUnavailable", read.Object, err)
	}
	links := strings.Replace(encode(session(nil)), `"url":"https://verify.stripe.com/start/planted"`, `"url":"https://verify.stripe.com/start/planted","URL":"https://example.com/planted"`, 1)
	read, err = dial(t, serve(t, always(200, links)).URL, nil).Retrieve(context.Background(), "", id)
	if err != nil || read.Link.URL.Reveal() != "https://verify.stripe.com/start/planted" {
		t.Errorf("link %s, error %v", read.Link.URL.Reveal(), err)
	}
	page := `{"object":"list","has_more":false,"Data":[],"data":[` + encode(session(nil)) + `]}`
	found, err := dial(t, serve(t, always(200, page)).URL, nil).FindByReference(context.Background(), "case-17")
	if err != nil || found.Object.ID != id {
		t.Errorf("found %+v, error %v", found.Object, err)
	}
}

// TestASuccessorIsCopiedByExactKeys: also what a replacement copies, and an ephemeral key, is decoded strictly.
func TestASuccessorIsCopiedByExactKeys(t *testing.T) {
	closed := encode(session(fields{"status": "canceled", "metadata": fields{"team": "a"}}))
	for name, test := range map[string]struct {
		old, new string
		refused  bool
	}{
		"another case": {`"type":"document"`, `"type":"document","Type":"id_number"`, false},
		"twice":        {`"type":"document"`, `"type":"id_number","type":"document"`, true},
		"metadata":     {`"team":"a"`, `"team":"b","team":"a"`, true},
	} {
		s := serve(t, func(w http.ResponseWriter, c call) {
			body := strings.Replace(closed, test.old, test.new, 1)
			if c.method == http.MethodPost {
				body = encode(session(fields{"id": "vs_2"}))
			}
			_, _ = io.WriteString(w, body)
		})
		_, err := dial(t, s.URL, nil).CreateLike(context.Background(), "", id, "")
		if (err != nil) != test.refused {
			t.Errorf("%s: error %v, want one: %v", name, err, test.refused)
		}
		for _, c := range s.seen() {
			if c.method == http.MethodPost && c.form.Get("type") != "document" {
				t.Errorf("%s: sent %v", name, c.form)
			}
		}
	}
	for key, ok := range map[string]bool{
		`{"object":"ephemeral_key","secret":"ek_1","Secret":"ek_planted"}`: true,
		`{"object":"ephemeral_key","secret":"ek_1","secret":"ek_2"}`:       false,
		`{"object":"ephemeral_key","SECRET":"ek_1"}`:                       false,
	} {
		secret, err := dial(t, serve(t, always(200, key)).URL, nil).EphemeralKey(context.Background(), "", id, "2026-09-30.endive")
		if (err == nil) != ok || ok && secret.Reveal() != "ek_1" {
			t.Errorf("%s: secret %q, error %v; want a key: %v", key, secret.Reveal(), err, ok)
		}
	}
}

package stripeapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

func TestRetrieve(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, nil)
	got, err := c.Retrieve(context.Background(), "", id)
	if err != nil {
		t.Fatal(err)
	}
	want := verification.Object{
		ID: id, Livemode: true, Type: "document", Status: "requires_input", Report: "vr_1", Created: 1790000000,
		Reference: "case-17", Error: verification.Error{Code: "document_expired", Reason: "planted reason"},
	}
	if diff := cmp.Diff(want, got.Object); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
	if got.Link.URL.Reveal() != "https://verify.stripe.com/start/planted" || got.Link.ClientSecret.Reveal() != "vs_1Old_secret_planted" {
		t.Errorf("link %q %q", got.Link.URL.Reveal(), got.Link.ClientSecret.Reveal())
	}
	calls := s.seen()
	if len(calls) != 1 || calls[0].method != http.MethodGet || calls[0].path != "/v1/identity/verification_sessions/"+id || len(calls[0].query) != 0 {
		t.Fatalf("calls %+v", calls)
	}
	header := calls[0].header
	if header.Get("Authorization") != "Bearer "+key || header.Get("Stripe-Account") != "" {
		t.Errorf("header %v", header)
	}
	if c.observed() != "retrieve:ok" {
		t.Errorf("observed %s", c.observed())
	}
}

// Telemetry would come with the call after the one that it tells of.
func TestNoTelemetry(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, nil)
	for range 2 {
		if _, err := c.Retrieve(context.Background(), "", id); err != nil {
			t.Fatal(err)
		}
	}
	if sent := s.seen()[1].header.Get("X-Stripe-Client-Telemetry"); sent != "" {
		t.Errorf("telemetry %s", sent)
	}
}

func TestRetrieveOfAConnectedAccount(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	got, err := dial(t, s.URL, nil).Retrieve(context.Background(), "acct_1Abc", id)
	if err != nil || got.Object.Account != "acct_1Abc" {
		t.Errorf("account %q, error %v", got.Object.Account, err)
	}
	if sent := s.seen()[0].header.Get("Stripe-Account"); sent != "acct_1Abc" {
		t.Errorf("Stripe-Account %q", sent)
	}
}

func TestReferenceFromMetadata(t *testing.T) {
	s := serve(t, always(200, encode(session(fields{"client_reference_id": nil, "metadata": fields{"person": "p-1"}}))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.ReferenceKey = "person" })
	if got, err := c.Retrieve(context.Background(), "", id); err != nil || got.Object.Reference != "p-1" {
		t.Errorf("reference %q, error %v", got.Object.Reference, err)
	}
}

func TestLinks(t *testing.T) {
	for name, test := range map[string]struct {
		change      fields
		url, secret string
	}{
		"none":                           {fields{"url": nil, "client_secret": nil}, "", ""},
		"client_secret alone":            {fields{"url": nil, "client_secret": "planted-s"}, "", "planted-s"},
		"not while processing":           {fields{"status": "processing"}, "", ""},
		"not when verified":              {fields{"status": "verified"}, "", ""},
		"of another shape, but a status": {fields{"url": 5}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, always(200, encode(session(test.change))))
			got, err := dial(t, s.URL, nil).Retrieve(context.Background(), "", id)
			if err != nil || got.Link.URL.Reveal() != test.url || got.Link.ClientSecret.Reveal() != test.secret {
				t.Errorf("link %q %q, error %v", got.Link.URL.Reveal(), got.Link.ClientSecret.Reveal(), err)
			}
		})
	}
}

// as_of is made from Stripe's clock and the call's duration; this machine's clock is years away.
func TestAsOf(t *testing.T) {
	for name, test := range map[string]struct {
		took time.Duration
		date string
		want int64
	}{
		"at once":                {0, date.Format(http.TimeFormat), date.Unix() - 1},
		"a nanosecond":           {1, date.Format(http.TimeFormat), date.Unix() - 2},
		"a second":               {time.Second, date.Format(http.TimeFormat), date.Unix() - 2},
		"a second and a bit":     {1001 * time.Millisecond, date.Format(http.TimeFormat), date.Unix() - 3},
		"our clock stepped back": {-time.Hour, date.Format(http.TimeFormat), date.Unix() - 1},
		"no Date":                {0, "", 0},
		"no usable Date":         {0, "yesterday", 0},
		"1970":                   {time.Second, time.Unix(1, 0).UTC().Format(http.TimeFormat), 0},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			local := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
			clock := func() time.Time {
				mu.Lock()
				defer mu.Unlock()
				return local
			}
			s := serve(t, func(w http.ResponseWriter, c call) {
				mu.Lock()
				local = local.Add(test.took)
				mu.Unlock()
				w.Header()["Date"] = nil // net/http sets none of its own then
				if test.date != "" {
					w.Header().Set("Date", test.date)
				}
				always(200, encode(session(nil)))(w, c)
			})
			c := dial(t, s.URL, func(config *stripeapi.Config) { config.Clock = clock })
			if got, err := c.Retrieve(context.Background(), "", id); err != nil || got.AsOf != test.want {
				t.Errorf("as of %d, error %v; want %d", got.AsOf, err, test.want)
			}
		})
	}
}

func TestRetrieveRefusesBadIDsWithoutAsking(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, nil)
	for _, bad := range []string{"", "vs_", "vr_1", "vs_1/cancel", "vs_1?expand[]=x", "../vs_1", "vs_1\n", "vs_" + strings.Repeat("a", 253)} {
		if _, err := c.Retrieve(context.Background(), "", bad); !errors.Is(err, verification.ErrStripeUnknown) {
			t.Errorf("%q: error %v", bad, err)
		}
	}
	for _, bad := range []string{"acct_", "1Abc", "acct_1\r\nX: y"} {
		if _, err := c.Retrieve(context.Background(), bad, id); !errors.Is(err, verification.ErrStripeUnknown) {
			t.Errorf("account %q: error %v", bad, err)
		}
	}
	if len(s.seen()) != 0 {
		t.Errorf("asked: %+v", s.seen())
	}
}

func TestFindByReference(t *testing.T) {
	reference := "case 17&limit=100/ü"
	list := func(data ...any) string { return encode(fields{"object": "list", "has_more": true, "data": data}) }
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"found":            {list(session(fields{"client_reference_id": reference})), nil},
		"none":             {list(), verification.ErrStripeUnknown},
		"data null":        {`{"object":"list","data":null}`, verification.ErrStripeUnknown},
		"of somebody else": {list(session(fields{"client_reference_id": "case-18"})), verification.ErrStripeUnknown},
		"behind redacted ones": {list(
			session(fields{"id": "vs_9", "client_reference_id": nil, "redaction": fields{"status": "redacted"}}),
			session(fields{"id": "vs_8", "client_reference_id": reference, "redaction": fields{"status": "processing"}}),
			session(fields{"client_reference_id": reference}),
			session(fields{"id": "vs_0", "client_reference_id": reference}),
		), nil},
		"redacted alone": {list(
			session(fields{"client_reference_id": reference, "redaction": fields{"status": "processing"}}),
			session(fields{"id": "vs_0", "client_reference_id": reference, "redaction": fields{"status": "redacted"}}),
		), nil},
		"wiped by redaction":  {list(session(fields{"client_reference_id": nil})), verification.ErrStripeUnknown},
		"no list":             {encode(session(nil)), verification.ErrStripeUnavailable},
		"a list of something": {list(fields{"id": "cus_1"}), verification.ErrStripeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, always(200, test.body))
			got, err := dial(t, s.URL, nil).FindByReference(context.Background(), reference)
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			query := s.seen()[0].query
			if len(query) != 2 || query.Get("client_reference_id") != reference || query.Get("limit") != "10" {
				t.Errorf("query %v", query)
			}
			if test.want == nil && (got.Object.ID != id || got.Object.Reference != reference || got.AsOf == 0) {
				t.Errorf("found %+v", got)
			}
			if got.Link != (verification.Link{}) {
				t.Error("a list gave a link")
			}
			if test.want != nil && got != (verification.Retrieved{}) {
				t.Errorf("a session beside the error: %+v", got)
			}
		})
	}
}

func TestFindRefusesBadReferencesWithoutAsking(t *testing.T) {
	s := serve(t, always(200, `{"object":"list","data":[]}`))
	c := dial(t, s.URL, nil)
	for _, bad := range []string{"", strings.Repeat("x", 256)} {
		if _, err := c.FindByReference(context.Background(), bad); !errors.Is(err, verification.ErrStripeUnknown) {
			t.Errorf("error %v", err)
		}
	}
	if len(s.seen()) != 0 {
		t.Errorf("asked: %+v", s.seen())
	}
}

// The key of a call is that of its moment.
func TestKeyIsAskedForEachCall(t *testing.T) {
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	current := verification.Secret("sk_test_planted_1")
	c := dial(t, server.URL, func(config *stripeapi.Config) { config.Key = func() verification.Secret { return current } })
	for _, key := range []verification.Secret{"sk_test_planted_1", "rk_test_planted_2", "sk_test_planted_1"} {
		current = key
		_, _ = c.Retrieve(t.Context(), "", id)
	}
	if want := []string{"Bearer sk_test_planted_1", "Bearer rk_test_planted_2", "Bearer sk_test_planted_1"}; !slices.Equal(sent, want) {
		t.Errorf("%d calls were made with other keys than those of their moment", len(sent))
	}
}

package stripeapi_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// ephemeralKey returns an ephemeral key as Stripe's API answers it.
func ephemeralKey(session, secret string) string {
	return encode(fields{
		"id": "ephkey_1", "object": "ephemeral_key", "created": 1790000000, "expires": 1790003600, "livemode": true, "secret": secret,
		"associated_objects": []fields{{"id": session, "type": "identity.verification_session"}},
	})
}

func TestEphemeralKey(t *testing.T) {
	s := serve(t, always(200, ephemeralKey(id, "ek_test_planted")))
	c := dial(t, s.URL, nil)
	secret, err := c.EphemeralKey(context.Background(), "acct_1Abc", id, "2026-09-30.endive")
	if err != nil || secret.Reveal() != "ek_test_planted" {
		t.Fatalf("secret %q, error %v", secret.Reveal(), err)
	}
	calls := s.seen()
	if len(calls) != 1 || calls[0].method != "POST" || calls[0].path != "/v1/ephemeral_keys" || calls[0].raw != "verification_session="+id {
		t.Fatalf("calls %+v", calls)
	}
	if versions := calls[0].header.Values("Stripe-Version"); len(versions) != 1 || versions[0] != "2026-09-30.endive" {
		t.Errorf("Stripe-Version %q", versions)
	}
	if got := calls[0].header.Get("Stripe-Account"); got != "acct_1Abc" {
		t.Errorf("Stripe-Account %q", got)
	}
	if c.observed() != "ephemeral_key:ok" {
		t.Errorf("observed %s", c.observed())
	}
}

// Only this request names a version of the caller's. The others have the version that this service was built for.
func TestOtherRequestsKeepTheirVersion(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	if _, err := dial(t, s.URL, nil).Retrieve(context.Background(), "", id); err != nil {
		t.Fatal(err)
	}
	if got := s.seen()[0].header.Values("Stripe-Version"); len(got) != 1 || got[0] == "" || got[0] == "2026-09-30.endive" {
		t.Errorf("Stripe-Version %q", got)
	}
}

func TestEphemeralKeyFails(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		body    string
		want    error
		refused string
	}{
		"a key of another session":        {200, ephemeralKey("vs_other", "ek_test_planted"), verification.ErrStripeUnavailable, ""},
		"a secret of another kind":        {200, ephemeralKey(id, "sk_test_planted"), verification.ErrStripeUnavailable, ""},
		"no secret":                       {200, ephemeralKey(id, ""), verification.ErrStripeUnavailable, ""},
		"no key":                          {200, encode(session(nil)), verification.ErrStripeUnavailable, ""},
		"a key whose sessions are a text": {200, `{"object":"ephemeral_key","secret":"ek_test_planted","associated_objects":"x"}`, verification.ErrStripeUnavailable, ""},
		"two secrets":                     {200, `{"object":"ephemeral_key","secret":"ek_test_planted","secret":"ek_test_planted2"}`, verification.ErrStripeUnavailable, ""},
		"names in another case":           {200, `{"Object":"ephemeral_key","Secret":"ek_test_planted"}`, verification.ErrStripeUnavailable, ""},
		"a version that Stripe lacks":     {400, refusal("invalid_request_error", "parameter_invalid"), nil, "parameter_invalid"},
		"the session is gone":             {404, refusal("invalid_request_error", "resource_missing"), nil, "resource_missing"},
		"the key may not":                 {403, refusal("invalid_request_error", ""), verification.ErrStripeUnauthorized, ""},
		"a fault":                         {500, refusal("api_error", ""), verification.ErrStripeUnavailable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, always(test.status, test.body))
			secret, err := dial(t, s.URL, nil).EphemeralKey(context.Background(), "", id, "2026-09-30.endive")
			var refused *verification.StripeRefusedError
			switch {
			case secret != "":
				t.Errorf("a secret: %q", secret.Reveal())
			case test.want != nil && !errors.Is(err, test.want):
				t.Errorf("error %v, want %v", err, test.want)
			case test.refused != "" && (!errors.As(err, &refused) || refused.Code != test.refused):
				t.Errorf("error %v, want refused: %s", err, test.refused)
			}
		})
	}
}

func TestEphemeralKeyNeedsAValidSessionAndAccount(t *testing.T) {
	s := serve(t, always(200, ephemeralKey(id, "ek_test_planted")))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.Accounts = verification.NewAccounts([]string{"acct_1Abc"}) })
	for _, test := range []struct {
		account, id string
		want        error
	}{
		{"", "vs_1&expand[]=x", verification.ErrStripeUnknown},
		{"acct_1\n", id, verification.ErrStripeUnknown},
		{"acct_2", id, verification.ErrStripeExcluded},
	} {
		if _, err := c.EphemeralKey(context.Background(), test.account, test.id, "2026-09-30.endive"); !errors.Is(err, test.want) {
			t.Errorf("%q of %q: error %v, want %v", test.id, test.account, err, test.want)
		}
	}
	if calls := s.seen(); len(calls) != 0 {
		t.Errorf("sent %+v", calls)
	}
}

// The log of dial is searched for what is planted. The error must not show it either.
func TestAnEphemeralKeyDoesNotShowItself(t *testing.T) {
	s := serve(t, always(200, ephemeralKey(id, "ek_test_planted")))
	secret, err := dial(t, s.URL, nil).EphemeralKey(context.Background(), "", id, "2026-09-30.endive")
	if err != nil || fmt.Sprintf("%v %+v %#v %s", secret, secret, secret, secret) != "[secret] [secret] [secret] [secret]" {
		t.Errorf("shows %v, error %v", secret, err)
	}
}

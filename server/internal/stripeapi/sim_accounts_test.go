package stripeapi_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/verification"
)

// TestAccountsAgainstTheSimulator: each kind of key reaches the sessions of its accounts and no others, as the simulator
// understands Stripe's rules.
func TestAccountsAgainstTheSimulator(t *testing.T) {
	const org, lacking, own = "sk_org_test_1", "rk_test_lacking", "sk_test_own"
	sim, err := stripesim.New(stripesim.Config{APIKeys: []string{key}, Keys: []stripesim.Key{
		{Value: org}, {Value: own, Account: "acct_own"},
		{Value: lacking, Lacks: []string{stripesim.PermissionReadSessions}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	ids := map[string]string{}
	for _, account := range []string{"", "acct_1", "acct_gone", "acct_own"} {
		made, err := sim.Create(stripesim.NewSession{Account: account})
		if err != nil {
			t.Fatal(err)
		}
		ids[account] = made.ID
	}
	if err := sim.Deauthorize("acct_gone"); err != nil {
		t.Fatal(err)
	}
	ownKey := func(account string) verification.Secret {
		return map[string]verification.Secret{"acct_own": own}[account]
	}
	byContext := func(_ context.Context, account string) (bool, error) { return account == "acct_1", nil }
	for name, test := range map[string]struct {
		key        verification.Secret
		accountKey func(string) verification.Secret
		byContext  func(context.Context, string) (bool, error)
		account    string
		want       error
	}{
		"the platform":                          {key: key},
		"a connected account":                   {key: key, account: "acct_1"},
		"an account that is named by context":   {key: key, byContext: byContext, account: "acct_1"},
		"an account that revoked its access":    {key: key, account: "acct_gone", want: verification.ErrStripeAccountRefused},
		"an account of an organization":         {key: org, account: "acct_1"},
		"an organization without an account":    {key: org, want: verification.ErrStripeUnknown},
		"an account with a key of its own":      {key: key, accountKey: ownKey, account: "acct_own"},
		"a key of another account":              {key: own, want: verification.ErrStripeUnknown},
		"a restricted key without a permission": {key: lacking, want: verification.ErrStripeUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, server.URL, func(config *stripeapi.Config) {
				config.Key, config.AccountKey, config.ByContext = keyed(test.key), test.accountKey, test.byContext
			})
			read, err := c.Retrieve(t.Context(), test.account, ids[test.account])
			if !errors.Is(err, test.want) {
				t.Errorf("error %v; want %v", err, test.want)
			}
			if err == nil && read.Object.Account != test.account {
				t.Errorf("account %q; want %q", read.Object.Account, test.account)
			}
			var lacks *verification.StripePermissionError
			if errors.Is(err, verification.ErrStripeUnauthorized) && (!errors.As(err, &lacks) || lacks.Permission != stripesim.PermissionReadSessions) {
				t.Errorf("error %v does not name %s", err, stripesim.PermissionReadSessions)
			}
			_, err = c.Events(t.Context(), test.account, verification.EventQuery{})
			if want := test.want; !errors.Is(err, want) && test.key != own {
				t.Errorf("events: error %v; want %v", err, want)
			}
		})
	}
}

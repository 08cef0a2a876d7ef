package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/reload"
	"example.com/verification-status/server/internal/verification"
)

func keyFile(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeysOfAccounts(t *testing.T) {
	for name, test := range map[string]struct {
		lines     []string
		wantFirst string
		wantOwn   []AccountKey
		wantKeyed []string
		platform  string
	}{
		"one key": {[]string{"sk_test_planted"}, "sk_test_planted", nil, nil, ""},
		"a default key and those of accounts": {[]string{"sk_test_planted", "acct_1 rk_test_planted1", "acct_2\tsk_test_planted2", ""},
			"sk_test_planted", []AccountKey{{"acct_1", "rk_test_planted1"}, {"acct_2", "sk_test_planted2"}}, []string{"acct_1", "acct_2"}, ""},
		"a default key with its account": {[]string{"", "acct_own sk_test_planted\r", "  acct_1   sk_test_planted1  \r"},
			"sk_test_planted", []AccountKey{{"acct_own", "sk_test_planted"}, {"acct_1", "sk_test_planted1"}}, []string{"acct_1"}, "acct_own"},
		"one account alone":  {[]string{"acct_own sk_test_planted"}, "sk_test_planted", []AccountKey{{"acct_own", "sk_test_planted"}}, nil, "acct_own"},
		"an organization":    {[]string{"sk_org_test_planted", "acct_1 sk_test_planted1"}, "sk_org_test_planted", []AccountKey{{"acct_1", "sk_test_planted1"}}, []string{"acct_1"}, ""},
		"keys without modes": {[]string{"sk_planted", "acct_1 sk_live_planted"}, "sk_planted", []AccountKey{{"acct_1", "sk_live_planted"}}, []string{"acct_1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := keyFile(t, test.lines...)
			c := valid(t, "STRIPE_API_KEY_FILE="+path)
			if err := c.Load(); err != nil {
				t.Fatal(err)
			}
			if c.StripeAPIKey != test.wantFirst {
				t.Errorf("the default key is %q; want %q", c.StripeAPIKey, test.wantFirst)
			}
			if diff := cmp.Diff(test.wantOwn, c.AccountKeys()); diff != "" {
				t.Errorf("keys of accounts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.wantKeyed, c.KeyedAccounts()); diff != "" {
				t.Errorf("accounts with a key of their own (-want +got):\n%s", diff)
			}
			for _, own := range append(c.AccountKeys(), AccountKey{"", c.StripeAPIKey}) {
				if !strings.Contains(strings.Join(c.Secrets(), " "), own.Key) {
					t.Errorf("the key of %q is not concealed", own.Account)
				}
			}
			if strings.Contains(fmt.Sprint(c.Redacted()), "planted") {
				t.Error("the settings for the log show a key")
			}
			api := API{StripeAPIKeyFile: path, StripeAPIBase: "https://api.stripe.com"}
			if err := api.Load(); err != nil || api.StripeAPIKey != test.wantFirst {
				t.Errorf("for a command: %v, %q; want the default key", err, api.StripeAPIKey)
			}
			values, err := NewCurrent(c)
			if err != nil {
				t.Fatal(err)
			}
			if got := values.APIKey().Reveal(); got != test.wantFirst {
				t.Errorf("current default key %q; want %q", got, test.wantFirst)
			}
			if got := values.PlatformAccount(); got != test.platform {
				t.Errorf("the account of the default key is %q; want %q", got, test.platform)
			}
			for _, own := range test.wantOwn {
				if got := values.AccountKey(own.Account).Reveal(); got != own.Key {
					t.Errorf("current key of %s: %q; want %q", own.Account, got, own.Key)
				}
			}
			if got := values.AccountKey("acct_unknown"); got != "" {
				t.Error("an account without a line has a key")
			}
		})
	}
}

// TestWrongKeysOfAccounts: each problem names its line and quotes no key.
func TestWrongKeysOfAccounts(t *testing.T) {
	for name, test := range map[string]struct {
		lines    []string
		settings string
		want     string
	}{
		"a second key without an account":     {[]string{"sk_test_planted", "sk_test_planted1", "acct_1 sk_test_planted2"}, "", "line 2 has no account"},
		"an account without a key":            {[]string{"sk_test_planted", "acct_1"}, "", "line 2 is not an account and its key"},
		"an account alone":                    {[]string{"acct_1"}, "", "line 1 is not an account and its key"},
		"a key before its account":            {[]string{"sk_test_planted", "sk_test_planted1 acct_1", "acct_2 sk_test_planted2"}, "", "line 2 is not an account and its key"},
		"three words":                         {[]string{"sk_test_planted", "acct_1 sk_test_planted1 planted"}, "", "line 2 is not an account and its key"},
		"an account of another form":          {[]string{"sk_test_planted", "acct_planted-1 sk_test_planted1"}, "", "line 2 is not an account and its key"},
		"an account twice":                    {[]string{"sk_test_planted", "acct_1 sk_test_planted1", "", "acct_1 sk_test_planted2"}, "", "line 4 names the account of line 2 again"},
		"a key twice":                         {[]string{"sk_test_planted", "acct_1 sk_test_planted"}, "", "line 2 has the key of line 1 again"},
		"a key of two accounts":               {[]string{"sk_test_planted", "acct_1 sk_test_planted1", "acct_2 sk_test_planted1"}, "", "line 3 has the key of line 2 again"},
		"a live key beside a test key":        {[]string{"sk_test_planted", "acct_1 sk_live_planted1"}, "", "line 2 has a key of another mode"},
		"a publishable key":                   {[]string{"sk_test_planted", "acct_1 pk_test_planted1"}, "", "line 2 is a publishable key"},
		"a first key that is none":            {[]string{"acct_1 planted", "acct_2 sk_test_planted"}, "", "line 1 is not a key of Stripe"},
		"quotes":                              {[]string{"sk_test_planted", `acct_1 "sk_test_planted1"`}, "", "line 2 has quotes"},
		"an account that is not kept":         {[]string{"sk_test_planted", "acct_1 sk_test_planted1"}, "STRIPE_ACCOUNTS=acct_2", "has a key of acct_1, but STRIPE_ACCOUNTS does not name this account"},
		"the platform among the others":       {[]string{"acct_own sk_test_planted"}, "STRIPE_ACCOUNTS=acct_1,acct_own", "STRIPE_ACCOUNTS names acct_own, the account of the first line"},
		"a mode that LIVEMODE does not allow": {[]string{"sk_test_planted", "acct_1 sk_test_planted1"}, "LIVEMODE=true", "key of the other mode"},
	} {
		t.Run(name, func(t *testing.T) {
			changes := []string{"STRIPE_API_KEY_FILE=" + keyFile(t, test.lines...)}
			if test.settings != "" {
				changes = append(changes, test.settings)
			}
			err := valid(t, changes...).Load()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v; want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("the error quotes the file: %v", err)
			}
			if got := strings.Count(err.Error(), "\n") + 1; got != 1 {
				t.Errorf("%d problems; want 1:\n%v", got, err)
			}
		})
	}
}

// TestKeysOfAccountsAreReadAgain: a changed file is used as a whole or not at all.
func TestKeysOfAccountsAreReadAgain(t *testing.T) {
	path := keyFile(t, "sk_test_planted", "acct_1 sk_test_planted1")
	c := valid(t, "STRIPE_API_KEY_FILE="+path)
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	values, err := NewCurrent(c)
	if err != nil {
		t.Fatal(err)
	}
	watcher := reload.New(reload.Config{})
	var hidden []string
	if err := values.Watch(c, watcher, func(secrets ...string) { hidden = append(hidden, secrets...) }); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		lines []string
		want  string // the default key, then those of acct_1 and acct_2
	}{
		{[]string{"sk_test_planted", "acct_1 sk_test_rolled1", "acct_2 sk_test_planted2"}, "sk_test_planted sk_test_rolled1 sk_test_planted2"},
		{[]string{"sk_test_rolled", "acct_1 sk_test_again1", "acct_2 sk_live_planted2"}, "sk_test_planted sk_test_rolled1 sk_test_planted2"},
		{[]string{"sk_live_rolled", "acct_1 sk_live_again1"}, "sk_test_planted sk_test_rolled1 sk_test_planted2"},
		{[]string{"sk_test_rolled", "acct_2 sk_test_again2"}, "sk_test_rolled  sk_test_again2"},
		{[]string{"sk_test_alone"}, "sk_test_alone  "},
	} {
		if err := os.WriteFile(path, []byte(strings.Join(step.lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		watcher.Look()
		watcher.Look()
		got := strings.Join([]string{values.APIKey().Reveal(), values.AccountKey("acct_1").Reveal(), values.AccountKey("acct_2").Reveal()}, " ")
		if got != step.want {
			t.Errorf("after %q: keys %q; want %q", step.lines, got, step.want)
		}
		for _, key := range strings.Fields(got) {
			if !strings.Contains(strings.Join(hidden, " "), key) {
				t.Errorf("%s is in use and not concealed", key)
			}
		}
	}
}

func TestSecretsOfAccounts(t *testing.T) {
	const setting = "STRIPE_WEBHOOK_SECRET=whsec_planted01, acct_1 whsec_planted02,acct_2  whsec_planted03"
	c := valid(t, setting)
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(c.WebhookSecrets(), " "), "whsec_planted01 whsec_planted02 whsec_planted03"; got != want {
		t.Errorf("secrets %q; want %q", got, want)
	}
	if got := strings.Join(c.Secrets(), " "); strings.Contains(got, "acct_") || !strings.Contains(got, "whsec_planted03") {
		t.Errorf("concealed: %q; want the secrets without the accounts", got)
	}
	values, err := NewCurrent(c)
	if err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string]string{"whsec_planted01": "", "whsec_planted02": "acct_1", "whsec_planted03": "acct_2", "whsec_planted": ""} {
		if got := values.WebhookAccount(verification.Secret(secret)); got != want {
			t.Errorf("the account of %s is %q; want %q", secret, got, want)
		}
	}
	for name, test := range map[string]struct{ changes, want string }{
		"an account that is not kept":         {setting + " STRIPE_ACCOUNTS=acct_2", "has a secret of acct_1, but STRIPE_ACCOUNTS does not name this account"},
		"an account without a secret":         {"STRIPE_WEBHOOK_SECRET=whsec_planted01,acct_1", "secret 2 of 2 does not begin with whsec_"},
		"another word":                        {"STRIPE_WEBHOOK_SECRET=planted whsec_planted01", "secret 1 of 1 has spaces"},
		"a secret of an account that is none": {"STRIPE_WEBHOOK_SECRET=acct_1 sk_test_plantedplanted", "secret 1 of 1 is an API key"},
	} {
		before, after, both := strings.Cut(test.changes, " STRIPE_ACCOUNTS")
		changes := []string{before}
		if both {
			changes = append(changes, "STRIPE_ACCOUNTS"+after)
		}
		if err := valid(t, changes...).Load(); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: error %v; want %q", name, err, test.want)
		}
	}
	platform := valid(t, "STRIPE_WEBHOOK_SECRET=acct_own whsec_planted01", "STRIPE_ACCOUNTS=acct_1", "STRIPE_API_KEY_FILE="+keyFile(t, "acct_own sk_test_planted"))
	if err := platform.Load(); err != nil {
		t.Errorf("a secret of the platform: %v", err)
	}
	if next, err := c.withWebhookSecret("acct_1 whsec_planted04"); err != nil || next.WebhookAccounts()["whsec_planted04"] != "acct_1" {
		t.Errorf("a changed file: %v", err)
	}
}

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// There is a warning about a Redis on another machine without TLS, with or without a password. It does not show the password.
func TestRedisInPlainTextIsWarnedAbout(t *testing.T) {
	sentinel := []string{"REDIS_MODE=sentinel", "REDIS_SENTINEL_MASTER=m"}
	for name, test := range map[string]struct {
		changes []string
		want    string // a part of the only warning; empty: no warning
	}{
		"password":                  {[]string{"REDIS_URL=redis://user:planted@192.0.2.1"}, "the password and personal data"},
		"password, by name":         {[]string{"REDIS_URL=redis://:planted@redis.example"}, "the password and personal data"},
		"password of the Sentinels": {append(sentinel, "REDIS_URL=redis://192.0.2.1", "REDIS_SENTINEL_PASSWORD=planted"), "the password and personal data"},
		"no password":               {[]string{"REDIS_URL=redis://192.0.2.1"}, "can read personal data"},
		"one of several away":       {[]string{"REDIS_MODE=cluster", "REDIS_URL=redis://:planted@127.0.0.1:1,192.0.2.1:2"}, "the password and personal data"},
		"any address":               {[]string{"REDIS_URL=redis://:planted@0.0.0.0"}, "the password and personal data"},
		"TLS":                       {[]string{"REDIS_URL=rediss://:planted@192.0.2.1"}, ""},
		"loopback":                  {[]string{"REDIS_URL=redis://:planted@127.0.0.2"}, ""},
		"loopback by name":          {[]string{"REDIS_URL=redis://:planted@localhost"}, ""},
		"loopback of IPv6":          {[]string{"REDIS_URL=redis://:planted@[::1]:6379"}, ""},
		"loopback Sentinels":        {append(sentinel, "REDIS_URL=redis://:planted@127.0.0.1"), "the Sentinels name the master, which can be on another machine"},
		"Sentinels, no password":    {append(sentinel, "REDIS_URL=redis://localhost,[::1]"), "can read personal data"},
		"Sentinels with TLS":        {append(sentinel, "REDIS_URL=rediss://:planted@127.0.0.1"), ""},
		"loopback cluster":          {[]string{"REDIS_MODE=cluster", "REDIS_URL=redis://:planted@127.0.0.1:1"}, "the nodes name the others, which can be on other machines"},
		"cluster with TLS":          {[]string{"REDIS_MODE=cluster", "REDIS_URL=rediss://:planted@127.0.0.1:1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := valid(t, test.changes...)
			if err := c.Load(); err != nil {
				t.Fatal(err)
			}
			checkWarnings(t, c.Warnings(), "REDIS_URL", test.want)
		})
	}
}

// TestASecretThatIsNotOfStripeIsWarnedAbout: Stripe's have letters and digits. A secret of one's own can have other characters, and one of
// Stripe with a character too many verifies no webhook.
func TestASecretThatIsNotOfStripeIsWarnedAbout(t *testing.T) {
	for secrets, want := range map[string]string{
		"whsec_planted01Az_":                        "",
		"whsec_planted01,acct_1 whsec_planted02":    "",
		"whsec_planted01;":                          "secret (1 of 1)",
		"whsec_planted01,acct_1 whsec_planted02==":  "secret (2 of 2)",
		"whsec_planted01...,acct_1 whsec_planted02": "secret (1 of 2)",
	} {
		c := valid(t, "REDIS_URL=redis://127.0.0.1", "STRIPE_WEBHOOK_SECRET="+secrets)
		if err := c.Load(); err != nil {
			t.Fatal(err)
		}
		checkWarnings(t, c.Warnings(), "STRIPE_WEBHOOK_SECRET", want)
	}
}

func TestAShareOfAllWatchesIsWarnedAbout(t *testing.T) {
	for each, want := range map[string]string{"0": "", "99": "", "100": "one caller can open all watches", "101": "one caller can open all watches"} {
		c := valid(t, "REDIS_URL=redis://127.0.0.1", "GRPC_MAX_STREAMS=100", "CALLER_MAX_STREAMS="+each)
		checkWarnings(t, c.Warnings(), "CALLER_MAX_STREAMS", want)
	}
}

// There is a warning about a URL whose path this server answers 404.
func TestAnotherPathIsWarnedAbout(t *testing.T) {
	for url, want := range map[string]string{
		"https://a.example/stripe":           "",
		"https://a.example/stripe?connect=1": "",
		"https://a.example/stripe/":          "every webhook gets 404",
		"https://a.example/":                 "is not /stripe (WEBHOOK_PATH)",
		"https://a.example":                  "is not /stripe (WEBHOOK_PATH)",
		"":                                   "",
	} {
		t.Run(url, func(t *testing.T) {
			c := valid(t, "REDIS_URL=redis://127.0.0.1", "WEBHOOK_PATH=/stripe", "WEBHOOK_URL="+url)
			if err := c.Load(); err != nil {
				t.Fatal(err)
			}
			checkWarnings(t, c.Warnings(), "WEBHOOK_URL", want)
		})
	}
	if got := PathMismatch("https://a.example", "/"); got != "" {
		t.Errorf("the root: %s", got)
	}
}

// There is a warning about a file that every user of the machine can change, and about a secret that they can read.
func TestFilesOpenToEveryUserAreWarnedAbout(t *testing.T) {
	for name, test := range map[string]struct {
		env, text string
		mode      os.FileMode
		want      string
	}{
		"key of the API, readable":  {"STRIPE_API_KEY_FILE", plantedKey, 0o644, "can read"},
		"key of the API, writable":  {"STRIPE_API_KEY_FILE", plantedKey, 0o622, "can change"},
		"key of the API, for group": {"STRIPE_API_KEY_FILE", plantedKey, 0o660, ""},
		"tokens, writable":          {"GRPC_TOKENS_FILE", "", 0o666, "can change"},
		"tokens, readable":          {"GRPC_TOKENS_FILE", "", 0o644, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, test.mode); err != nil { // past the umask
				t.Fatal(err)
			}
			c := valid(t, "REDIS_URL=redis://127.0.0.1", test.env+"="+path)
			if err := c.Load(); err != nil {
				t.Fatal(err)
			}
			checkWarnings(t, c.Warnings(), test.env, test.want)
		})
	}
}

// Every setting that names a file is checked.
func TestEveryFileIsLookedAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil { // past the umask
		t.Fatal(err)
	}
	for _, setting := range Table() {
		if !strings.HasSuffix(setting.Env, "_FILE") {
			continue
		}
		checkWarnings(t, valid(t, "REDIS_URL=redis://127.0.0.1", setting.Env+"="+path).Warnings(), setting.Env, "can change")
	}
}

// checkWarnings checks that there is one warning about a setting, with a text in it; none if the text is empty.
func checkWarnings(t *testing.T, got []string, env, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) != 0:
		t.Errorf("got %q, want no warning", got)
	case want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], env+" ") || !strings.Contains(got[0], want)):
		t.Errorf("got %q, want one that begins with %s and contains %q", got, env, want)
	}
	if strings.Contains(strings.Join(got, ""), "planted") {
		t.Errorf("a secret is in %q", got)
	}
}

// TestOrganizationWithoutAccountsIsWarnedAbout: its key alone does not say what to catch up.
func TestOrganizationWithoutAccountsIsWarnedAbout(t *testing.T) {
	for name, test := range map[string]struct {
		changes []string
		want    bool
	}{
		"an organization":              {[]string{"STRIPE_API_KEY=sk_org_test_planted"}, true},
		"an organization and accounts": {[]string{"STRIPE_API_KEY=sk_org_test_planted", "STRIPE_ACCOUNTS=acct_1"}, false},
		"an organization and a key":    {[]string{"STRIPE_API_KEY_FILE=" + keyFile(t, "sk_org_test_planted", "acct_1 sk_test_planted")}, false},
		"an account":                   {[]string{"STRIPE_API_KEY=sk_test_planted"}, false},
		"no key":                       {nil, false},
	} {
		c := valid(t, test.changes...)
		if err := c.Load(); err != nil {
			t.Fatal(err)
		}
		warnings := strings.Join(c.Warnings(), "\n")
		if got := strings.Contains(warnings, "a key of an organization, and STRIPE_ACCOUNTS names no account"); got != test.want || strings.Contains(warnings, "planted") {
			t.Errorf("%s: warned %v; want %v:\n%s", name, got, test.want, warnings)
		}
	}
}

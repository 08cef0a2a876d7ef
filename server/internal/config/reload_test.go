package config

import (
	"strings"
	"testing"
)

// The text of a changed file is checked by the rules of the start, and no error shows it.
func TestChangedFilesAreHeldToTheRulesOfTheStart(t *testing.T) {
	webhook := func(c *Config, text string) (*Config, error) { return c.withWebhookSecret(text) }
	key := func(c *Config, text string) (*Config, error) { return c.withAPIKey(text) }
	sensitive := func(c *Config, text string) (*Config, error) { return c.withSensitiveKey(text) }
	redis := func(c *Config, text string) (*Config, error) { return c.withRedisURL(text) }
	user := func(c *Config, text string) (*Config, error) { return c.withSentinelUsername(text) }
	password := func(c *Config, text string) (*Config, error) { return c.withSentinelPassword(text) }
	const test, live = "STRIPE_API_KEY=sk_test_start", "STRIPE_API_KEY=rk_live_start"
	for _, check := range []struct {
		name, start string
		change      func(*Config, string) (*Config, error)
		text, want  string // want: a part of the error; empty: accepted
	}{
		{"a secret more", "", webhook, "whsec_planted02,whsec_planted01", ""},
		{"a comma too much", "", webhook, "whsec_planted02,", "secret 2 of 2 is empty"},
		{"nothing but a space", "", webhook, " ", "is empty"},
		{"two lines", "", webhook, "whsec_planted\nwhsec_planted2", "line breaks"},
		{"an API key for a secret", "", webhook, "sk_test_plantedplanted", "is an API key"},
		{"too many", "", webhook, strings.Repeat("whsec_planted01,", 10) + "whsec_planted01", "over 10 secrets"},
		{"another key", test, key, "sk_test_planted", ""},
		{"a restricted key for a secret one", test, key, "rk_test_planted", ""},
		{"a live key for a test one", test, key, "sk_live_planted", "other mode"},
		{"a test key for a live one", live, key, "sk_test_planted", "other mode"},
		{"an organization's live key for a test one", test, key, "sk_org_live_planted", "other mode"},
		{"a key without a mode", test, key, "sk_planted", ""},
		{"a mode for a key without one", "STRIPE_API_KEY=sk_start", key, "sk_live_planted", ""},
		{"the mode that LIVEMODE rules out", "LIVEMODE=false", key, "sk_live_planted", "other mode"},
		{"a publishable key", test, key, "pk_test_planted", "publishable"},
		{"no key", test, key, "planted", "not a key of Stripe"},
		{"a key of two lines", test, key, "sk_test_planted\nsk_test_planted", "line breaks"},
		{"another sensitive key", test, sensitive, "rk_test_planted", ""},
		{"a secret key for sensitive results", test, sensitive, "sk_test_planted", "is a secret key"},
		{"a sensitive key of the other mode", test, sensitive, "rk_live_planted", "other mode"},
		{"another password", "", redis, "redis://app:planted2@redis.example:6379/0", ""},
		{"another user", "", redis, "redis://admin:planted2@redis.example:6379/0", ""},
		{"no password", "", redis, "redis://redis.example", ""},
		{"another host", "", redis, "redis://app:planted2@elsewhere.example:6379/0", "leads elsewhere"},
		{"another database", "", redis, "redis://app:planted2@redis.example:6379/1", "leads elsewhere"},
		{"TLS", "", redis, "rediss://app:planted2@redis.example:6379/0", "leads elsewhere"},
		{"another password of the Sentinels", "REDIS_MODE=sentinel", password, "planted 2", ""},
		{"a password of two lines", "REDIS_MODE=sentinel", password, "planted\nplanted2", "line break"},
		{"another user of the Sentinels", "REDIS_MODE=sentinel", user, "app2", ""},
		{"a user with a space", "REDIS_MODE=sentinel", user, "planted user", "without spaces"},
		{"no URL", "", redis, "planted", "must begin with redis://"},
	} {
		t.Run(check.name, func(t *testing.T) {
			var changes []string
			if check.start != "" {
				changes = append(changes, check.start)
			}
			if check.start == "REDIS_MODE=sentinel" {
				changes = append(changes, "REDIS_SENTINEL_MASTER=m", "REDIS_SENTINEL_USERNAME=app", "REDIS_SENTINEL_PASSWORD=start")
			}
			c := valid(t, changes...)
			if err := c.Load(); err != nil {
				t.Fatal(err)
			}
			before := *c
			next, err := check.change(c, check.text)
			if *c != before {
				t.Error("the settings of the start have changed")
			}
			if check.want == "" {
				if err != nil || !strings.Contains(next.StripeWebhookSecret+next.StripeAPIKey+next.StripeSensitiveAPIKey+next.RedisURL+next.RedisSentinelUsername+next.RedisSentinelPassword, check.text) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), check.want) || strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, check.want)
			}
		})
	}
}

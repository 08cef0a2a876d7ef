package config

import "errors"

// withWebhookSecret returns the settings with the text that STRIPE_WEBHOOK_SECRET_FILE has now. As with Load, the error
// names every problem and contains no secret.
func (c *Config) withWebhookSecret(text string) (*Config, error) {
	next, found := *c, problems{}
	next.StripeWebhookSecret = text
	next.checkWebhookSecrets(&found)
	next.checkKeyedAccounts(&found)
	return &next, errors.Join(found...)
}

// withAPIKey returns the settings with the text that STRIPE_API_KEY_FILE has now. It refuses keys of the other mode, because
// the key at the start decided which events are accepted.
func (c *Config) withAPIKey(text string) (*Config, error) {
	next, found := *c, problems{}
	next.StripeAPIKey, next.StripeAccountKeys = parseKeys(&found, text)
	if len(found) == 0 {
		checkAPIKey(&found, "STRIPE_API_KEY", next.StripeAPIKey)
		next.checkKeyedAccounts(&found)
	}
	accepted, _ := c.EffectiveLivemode()
	if live, known := keyMode(next.StripeAPIKey); known && accepted != nil && live != *accepted {
		found.add("STRIPE_API_KEY is a key of another mode than at the start: give a key of the same mode, or restart the server")
	}
	return &next, errors.Join(found...)
}

// withSensitiveKey returns the settings with the text that STRIPE_SENSITIVE_API_KEY_FILE has now.
func (c *Config) withSensitiveKey(text string) (*Config, error) {
	next, found := *c, problems{}
	next.StripeSensitiveAPIKey = text
	next.checkSensitiveKey(&found)
	return &next, errors.Join(found...)
}

// withRedisURL returns the settings with the text that REDIS_URL_FILE has now. Only the user and password may differ:
// connections go to the addresses of the start.
func (c *Config) withRedisURL(text string) (*Config, error) {
	next, found := *c, problems{}
	next.RedisURL = text
	next.checkRedis(&found, false)
	if len(found) == 0 && !sameRedis(c, &next) {
		found.add("REDIS_URL leads elsewhere than at the start: change only the user and password, or restart the server")
	}
	return &next, errors.Join(found...)
}

// withSentinelUsername returns the settings with the text that REDIS_SENTINEL_USERNAME_FILE has now.
func (c *Config) withSentinelUsername(text string) (*Config, error) {
	next, found := *c, problems{}
	next.RedisSentinelUsername = text
	next.checkSentinel(&found, false)
	return &next, errors.Join(found...)
}

// withSentinelPassword returns the settings with the text that REDIS_SENTINEL_PASSWORD_FILE has now.
func (c *Config) withSentinelPassword(text string) (*Config, error) {
	next, found := *c, problems{}
	next.RedisSentinelPassword = text
	next.checkSentinel(&found, false)
	return &next, errors.Join(found...)
}

// sameRedis reports whether the URLs are the same apart from the user and password.
func sameRedis(a, b *Config) bool {
	before, errBefore := a.RedisTarget()
	after, errAfter := b.RedisTarget()
	before.Username, before.Password = after.Username, after.Password
	return errors.Join(errBefore, errAfter) == nil && before.redacted() == after.redacted()
}

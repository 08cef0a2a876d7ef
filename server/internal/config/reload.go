package config

import "errors"

// withWebhookSecret is the settings with what STRIPE_WEBHOOK_SECRET_FILE holds now. The error names
// every problem, as Load's, and holds no secret.
func (c *Config) withWebhookSecret(text string) (*Config, error) {
	next, found := *c, problems{}
	next.StripeWebhookSecret = text
	next.checkWebhookSecrets(&found)
	return &next, errors.Join(found...)
}

// withAPIKey is the settings with what STRIPE_API_KEY_FILE holds now. A key of the other mode is
// refused: which events are accepted was settled by the key of the start.
func (c *Config) withAPIKey(text string) (*Config, error) {
	next, found := *c, problems{}
	next.StripeAPIKey = text
	checkAPIKey(&found, text)
	accepted, _ := c.EffectiveLivemode()
	if live, known := keyMode(text); known && accepted != nil && live != *accepted {
		found.add("STRIPE_API_KEY is a key of the other mode than at the start: give one of the same mode, or restart the server")
	}
	return &next, errors.Join(found...)
}

// withRedisURL is the settings with what REDIS_URL_FILE holds now. Only the user and password may
// differ: connections lead to where they led at the start.
func (c *Config) withRedisURL(text string) (*Config, error) {
	next, found := *c, problems{}
	next.RedisURL = text
	next.checkRedis(&found, false)
	if len(found) == 0 && !sameRedis(c, &next) {
		found.add("REDIS_URL leads elsewhere than at the start: change only the user and password, or restart the server")
	}
	return &next, errors.Join(found...)
}

// withSentinelUsername is the settings with what REDIS_SENTINEL_USERNAME_FILE holds now.
func (c *Config) withSentinelUsername(text string) (*Config, error) {
	next, found := *c, problems{}
	next.RedisSentinelUsername = text
	next.checkSentinel(&found, false)
	return &next, errors.Join(found...)
}

// withSentinelPassword is the settings with what REDIS_SENTINEL_PASSWORD_FILE holds now.
func (c *Config) withSentinelPassword(text string) (*Config, error) {
	next, found := *c, problems{}
	next.RedisSentinelPassword = text
	next.checkSentinel(&found, false)
	return &next, errors.Join(found...)
}

// sameRedis says whether the URLs differ in nothing but the user and password.
func sameRedis(a, b *Config) bool {
	before, errBefore := a.RedisTarget()
	after, errAfter := b.RedisTarget()
	before.Username, before.Password = after.Username, after.Password
	return errors.Join(errBefore, errAfter) == nil && before.redacted() == after.redacted()
}

package config

import (
	"crypto/tls"
	"sync/atomic"

	"example.com/verification-status/server/internal/reload"
	"example.com/verification-status/server/internal/verification"
)

// Live has the settings that files can change while the server runs. Read a value at each use: it is the old value or the new one,
// never a mixture. It is safe for concurrent use.
type Live struct {
	webhookSecrets atomic.Pointer[[]verification.Secret]
	apiKey         atomic.Pointer[verification.Secret]
	redis          atomic.Pointer[RedisTarget]
	redisTLS       atomic.Pointer[tls.Config] // nil: plain text

	sentinelUsername, sentinelPassword atomic.Pointer[string]
}

// NewLive returns a Live with the values of c.
func NewLive(c *Config) (*Live, error) {
	var l Live
	l.takeWebhookSecrets(c)
	l.takeAPIKey(c)
	l.sentinelUsername.Store(&c.RedisSentinelUsername)
	l.sentinelPassword.Store(&c.RedisSentinelPassword)
	if err := l.takeRedis(c); err != nil {
		return nil, err
	}
	secured, err := c.RedisTLS()
	l.redisTLS.Store(secured)
	return &l, err
}

// WebhookSecrets returns the signing secrets, in the order of the setting.
func (l *Live) WebhookSecrets() []verification.Secret { return *l.webhookSecrets.Load() }

// APIKey returns Stripe's key; empty if none is set.
func (l *Live) APIKey() verification.Secret { return *l.apiKey.Load() }

// RedisCredentials returns the user and password for Redis, empty if none are set.
func (l *Live) RedisCredentials() (username, password string) {
	target := l.redis.Load()
	return target.Username, target.Password
}

// SentinelCredentials returns the user and password for the Sentinels, empty if none are set.
func (l *Live) SentinelCredentials() (username, password string) {
	return *l.sentinelUsername.Load(), *l.sentinelPassword.Load()
}

// RedisTLS returns the TLS settings for Redis, or nil for plain text.
func (l *Live) RedisTLS() *tls.Config { return l.redisTLS.Load() }

func (l *Live) takeWebhookSecrets(c *Config) {
	var secrets []verification.Secret
	for _, text := range c.WebhookSecrets() {
		secrets = append(secrets, verification.Secret(text))
	}
	l.webhookSecrets.Store(&secrets)
}

func (l *Live) takeAPIKey(c *Config) {
	key := verification.Secret(c.StripeAPIKey)
	l.apiKey.Store(&key)
}

func (l *Live) takeRedis(c *Config) error {
	target, err := c.RedisTarget()
	if err == nil {
		l.redis.Store(&target)
	}
	return err
}

// Watch makes watcher read the settings' files again when they change. conceal gets a new secret before anything uses it,
// so that the log never shows it.
func (l *Live) Watch(c *Config, watcher *reload.Watcher, conceal func(secrets ...string)) error {
	for _, file := range []struct {
		env, path string
		take      func(text string) error
	}{
		{"STRIPE_WEBHOOK_SECRET_FILE", c.StripeWebhookSecretFile, func(text string) error {
			next, err := c.withWebhookSecret(text)
			if err == nil {
				conceal(next.Secrets()...)
				l.takeWebhookSecrets(next)
			}
			return err
		}},
		{"STRIPE_API_KEY_FILE", c.StripeAPIKeyFile, func(text string) error {
			next, err := c.withAPIKey(text)
			if err == nil {
				conceal(next.Secrets()...)
				l.takeAPIKey(next)
			}
			return err
		}},
		{"REDIS_URL_FILE", c.RedisURLFile, func(text string) error {
			next, err := c.withRedisURL(text)
			if err == nil {
				conceal(next.Secrets()...)
				err = l.takeRedis(next)
			}
			return err
		}},
		{"REDIS_SENTINEL_USERNAME_FILE", c.RedisSentinelUsernameFile, func(text string) error {
			next, err := c.withSentinelUsername(text)
			if err == nil {
				l.sentinelUsername.Store(&next.RedisSentinelUsername)
			}
			return err
		}},
		{"REDIS_SENTINEL_PASSWORD_FILE", c.RedisSentinelPasswordFile, func(text string) error {
			next, err := c.withSentinelPassword(text)
			if err == nil {
				conceal(next.Secrets()...)
				l.sentinelPassword.Store(&next.RedisSentinelPassword)
			}
			return err
		}},
		{"REDIS_CA_FILE", c.RedisCAFile, func(text string) error {
			secured, err := tlsWith(text)
			if err == nil {
				l.redisTLS.Store(secured)
			}
			return err
		}},
	} {
		if file.path == "" {
			continue
		}
		source := reload.Source{
			Name: file.env, Paths: []string{file.path}, Read: ReadFile,
			Apply: func(texts []string) error { return file.take(texts[0]) },
		}
		if err := watcher.Add(source); err != nil {
			return err
		}
	}
	return nil
}

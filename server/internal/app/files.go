package app

import (
	"crypto/tls"
	"sync/atomic"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/reload"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/verification"
)

// current is what files can change while the server runs. Each value is asked for whenever it is
// needed, and is whole: the old one or the new one.
type current struct {
	webhookSecrets atomic.Pointer[[]verification.Secret]
	apiKey         atomic.Pointer[verification.Secret]
	redis          atomic.Pointer[config.RedisTarget]
	redisTLS       atomic.Pointer[tls.Config] // nil: plain text

	sentinelUsername, sentinelPassword atomic.Pointer[string]
}

// newCurrent is what the settings say at the start.
func newCurrent(c *config.Config) (*current, error) {
	var v current
	v.takeWebhookSecrets(c)
	v.takeAPIKey(c)
	v.sentinelUsername.Store(&c.RedisSentinelUsername)
	v.sentinelPassword.Store(&c.RedisSentinelPassword)
	if err := v.takeRedis(c); err != nil {
		return nil, err
	}
	secured, err := c.RedisTLS()
	v.redisTLS.Store(secured)
	return &v, err
}

func (v *current) takeWebhookSecrets(c *config.Config) {
	var secrets []verification.Secret
	for _, text := range c.WebhookSecrets() {
		secrets = append(secrets, verification.Secret(text))
	}
	v.webhookSecrets.Store(&secrets)
}

func (v *current) takeAPIKey(c *config.Config) {
	key := verification.Secret(c.StripeAPIKey)
	v.apiKey.Store(&key)
}

func (v *current) takeRedis(c *config.Config) error {
	target, err := c.RedisTarget()
	if err == nil {
		v.redis.Store(&target)
	}
	return err
}

// credentials are redisstore.Options.Credentials.
func (v *current) credentials() (username, password string) {
	target := v.redis.Load()
	return target.Username, target.Password
}

// sentinelCredentials are redisstore.Options.SentinelCredentials.
func (v *current) sentinelCredentials() (username, password string) {
	return *v.sentinelUsername.Load(), *v.sentinelPassword.Load()
}

// watchFiles makes what reads the settings' files again when they change. The log learns a secret
// before anything uses it.
func (v *current) watchFiles(c *config.Config, secrets *telemetry.Secrets, watcher *reload.Watcher) error {
	for _, file := range []struct {
		env, path string
		take      func(text string) error
	}{
		{"STRIPE_WEBHOOK_SECRET_FILE", c.StripeWebhookSecretFile, func(text string) error {
			next, err := c.WithWebhookSecret(text)
			if err == nil {
				secrets.Add(next.Secrets()...)
				v.takeWebhookSecrets(next)
			}
			return err
		}},
		{"STRIPE_API_KEY_FILE", c.StripeAPIKeyFile, func(text string) error {
			next, err := c.WithAPIKey(text)
			if err == nil {
				secrets.Add(next.Secrets()...)
				v.takeAPIKey(next)
			}
			return err
		}},
		{"REDIS_URL_FILE", c.RedisURLFile, func(text string) error {
			next, err := c.WithRedisURL(text)
			if err == nil {
				secrets.Add(next.Secrets()...)
				err = v.takeRedis(next)
			}
			return err
		}},
		{"REDIS_SENTINEL_USERNAME_FILE", c.RedisSentinelUsernameFile, func(text string) error {
			next, err := c.WithSentinelUsername(text)
			if err == nil {
				v.sentinelUsername.Store(&next.RedisSentinelUsername)
			}
			return err
		}},
		{"REDIS_SENTINEL_PASSWORD_FILE", c.RedisSentinelPasswordFile, func(text string) error {
			next, err := c.WithSentinelPassword(text)
			if err == nil {
				secrets.Add(next.Secrets()...)
				v.sentinelPassword.Store(&next.RedisSentinelPassword)
			}
			return err
		}},
		{"REDIS_CA_FILE", c.RedisCAFile, func(text string) error {
			secured, err := config.TLSWith(text)
			if err == nil {
				v.redisTLS.Store(secured)
			}
			return err
		}},
	} {
		if file.path == "" {
			continue
		}
		source := reload.Source{
			Name: file.env, Paths: []string{file.path}, Read: config.ReadFile,
			Apply: func(texts []string) error { return file.take(texts[0]) },
		}
		if err := watcher.Add(source); err != nil {
			return err
		}
	}
	return nil
}

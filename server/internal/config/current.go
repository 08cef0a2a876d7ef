package config

import (
	"crypto/tls"
	"sync/atomic"

	"example.com/verification-status/server/internal/reload"
	"example.com/verification-status/server/internal/verification"
)

// Current has the settings that files can change while the server runs. Read a value each time that it is needed: it is the complete
// old value or the complete new value. It is safe for concurrent use.
type Current struct {
	webhookSecrets atomic.Pointer[webhookSecrets]
	apiKeys        atomic.Pointer[apiKeys]
	sensitiveKey   atomic.Pointer[verification.Secret]
	redis          atomic.Pointer[RedisTarget]
	redisTLS       atomic.Pointer[tls.Config] // nil: plain text

	sentinelUsername, sentinelPassword atomic.Pointer[string]
}

// NewCurrent returns the values at the start.
func NewCurrent(c *Config) (*Current, error) {
	var v Current
	v.takeWebhookSecrets(c)
	v.takeAPIKeys(c)
	v.takeSensitiveKey(c)
	v.sentinelUsername.Store(&c.RedisSentinelUsername)
	v.sentinelPassword.Store(&c.RedisSentinelPassword)
	if err := v.takeRedis(c); err != nil {
		return nil, err
	}
	secured, err := c.RedisTLS()
	v.redisTLS.Store(secured)
	return &v, err
}

// WebhookSecrets returns the signing secrets, in the order of the setting.
func (v *Current) WebhookSecrets() []verification.Secret { return v.webhookSecrets.Load().all }

// WebhookAccount returns the account whose endpoint has this signing secret; empty if the setting does not say it.
func (v *Current) WebhookAccount(secret verification.Secret) string {
	return v.webhookSecrets.Load().accounts[secret.Reveal()]
}

// webhookSecrets are the signing secrets of the endpoints, and the accounts of some of them.
type webhookSecrets struct {
	all      []verification.Secret
	accounts map[string]string // by secret
}

// apiKeys are Stripe's keys.
type apiKeys struct {
	first verification.Secret            // the default
	own   map[string]verification.Secret // by account
	keyed []string                       // Config.KeyedAccounts

	platform string // Config.PlatformAccount
}

// APIKey returns Stripe's key for the accounts that have none of their own; empty if none is set.
func (v *Current) APIKey() verification.Secret { return v.apiKeys.Load().first }

// AccountKey returns the key of an account's own; empty if it has none.
func (v *Current) AccountKey(account string) verification.Secret {
	return v.apiKeys.Load().own[account]
}

// SensitiveAPIKey returns Stripe's key for sensitive results; empty if none is set.
func (v *Current) SensitiveAPIKey() verification.Secret { return *v.sensitiveKey.Load() }

// KeyedAccounts returns the accounts that have a key of their own, apart from the account of the default key.
func (v *Current) KeyedAccounts() []string { return v.apiKeys.Load().keyed }

// PlatformAccount returns the account of the default key, or "" if the file does not say it.
func (v *Current) PlatformAccount() string { return v.apiKeys.Load().platform }

// RedisCredentials returns the user and password for Redis, empty if none are set.
func (v *Current) RedisCredentials() (username, password string) {
	target := v.redis.Load()
	return target.Username, target.Password
}

// SentinelCredentials returns the user and password for the Sentinels, empty if none are set.
func (v *Current) SentinelCredentials() (username, password string) {
	return *v.sentinelUsername.Load(), *v.sentinelPassword.Load()
}

// RedisTLS returns the TLS settings for Redis, or nil for plain text.
func (v *Current) RedisTLS() *tls.Config { return v.redisTLS.Load() }

func (v *Current) takeWebhookSecrets(c *Config) {
	secrets := webhookSecrets{accounts: c.WebhookAccounts()}
	for _, text := range c.WebhookSecrets() {
		secrets.all = append(secrets.all, verification.Secret(text))
	}
	v.webhookSecrets.Store(&secrets)
}

func (v *Current) takeAPIKeys(c *Config) {
	keys := apiKeys{first: verification.Secret(c.StripeAPIKey), own: map[string]verification.Secret{}, keyed: c.KeyedAccounts(), platform: c.PlatformAccount()}
	for _, own := range c.AccountKeys() {
		keys.own[own.Account] = verification.Secret(own.Key)
	}
	v.apiKeys.Store(&keys)
}

func (v *Current) takeSensitiveKey(c *Config) {
	key := verification.Secret(c.StripeSensitiveAPIKey)
	v.sensitiveKey.Store(&key)
}

func (v *Current) takeRedis(c *Config) error {
	target, err := c.RedisTarget()
	if err == nil {
		v.redis.Store(&target)
	}
	return err
}

// Watch adds the files of the settings to watcher. It passes a new secret to conceal before any use, so that the log never shows it. It
// returns an error if a file is wrong now.
func (v *Current) Watch(c *Config, watcher *reload.Watcher, conceal func(secrets ...string)) error {
	for _, file := range []struct {
		env, path string
		take      func(text string) error
	}{
		{"STRIPE_WEBHOOK_SECRET_FILE", c.StripeWebhookSecretFile, func(text string) error {
			next, err := c.withWebhookSecret(text)
			if err == nil {
				conceal(next.Secrets()...)
				v.takeWebhookSecrets(next)
			}
			return err
		}},
		{"STRIPE_API_KEY_FILE", c.StripeAPIKeyFile, func(text string) error {
			next, err := c.withAPIKey(text)
			if err == nil {
				conceal(next.Secrets()...)
				v.takeAPIKeys(next)
			}
			return err
		}},
		{"STRIPE_SENSITIVE_API_KEY_FILE", c.StripeSensitiveAPIKeyFile, func(text string) error {
			next, err := c.withSensitiveKey(text)
			if err == nil {
				conceal(next.Secrets()...)
				v.takeSensitiveKey(next)
			}
			return err
		}},
		{"REDIS_URL_FILE", c.RedisURLFile, func(text string) error {
			next, err := c.withRedisURL(text)
			if err == nil {
				conceal(next.Secrets()...)
				err = v.takeRedis(next)
			}
			return err
		}},
		{"REDIS_SENTINEL_USERNAME_FILE", c.RedisSentinelUsernameFile, func(text string) error {
			next, err := c.withSentinelUsername(text)
			if err == nil {
				v.sentinelUsername.Store(&next.RedisSentinelUsername)
			}
			return err
		}},
		{"REDIS_SENTINEL_PASSWORD_FILE", c.RedisSentinelPasswordFile, func(text string) error {
			next, err := c.withSentinelPassword(text)
			if err == nil {
				conceal(next.Secrets()...)
				v.sentinelPassword.Store(&next.RedisSentinelPassword)
			}
			return err
		}},
		{"REDIS_CA_FILE", c.RedisCAFile, func(text string) error {
			secured, err := tlsWith(text)
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
			Name: file.env, Paths: []string{file.path}, Read: ReadFile,
			Apply: func(texts []string) error { return file.take(texts[0]) },
		}
		if err := watcher.Add(source); err != nil {
			return err
		}
	}
	return nil
}

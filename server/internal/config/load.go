package config

import (
	"errors"
	"fmt"
	"strings"

	"example.com/verification-status/server/internal/reload"
)

// maxFileSize bounds a secret's file, in bytes.
const maxFileSize = 64 << 10

// problems collects what is wrong with the settings, one plain sentence each, so that an operator can fix all of it at
// once. No sentence contains a secret.
type problems []error

func (p *problems) add(format string, args ...any) {
	*p = append(*p, fmt.Errorf(format, args...))
}

// Load reads the secrets that are in files, fills in defaults that depend on other settings, and checks every setting. Call
// it once, before the server listens. Its error names every problem, one line each (errors.Join), and contains no secret.
func (c *Config) Load() error {
	var found problems
	unread := map[string]bool{}
	for _, s := range []struct {
		env   string
		value *string
		path  string
	}{
		{"REDIS_URL", &c.RedisURL, c.RedisURLFile},
		{"REDIS_SENTINEL_USERNAME", &c.RedisSentinelUsername, c.RedisSentinelUsernameFile},
		{"REDIS_SENTINEL_PASSWORD", &c.RedisSentinelPassword, c.RedisSentinelPasswordFile},
		{"STRIPE_API_KEY", &c.StripeAPIKey, c.StripeAPIKeyFile},
		{"STRIPE_SENSITIVE_API_KEY", &c.StripeSensitiveAPIKey, c.StripeSensitiveAPIKeyFile},
		{"STRIPE_WEBHOOK_SECRET", &c.StripeWebhookSecret, c.StripeWebhookSecretFile},
	} {
		if s.path == "" {
			continue
		}
		if err := readSecret(s.value, s.path); err != nil {
			unread[s.env] = true
			found.add("%s_FILE: %w", s.env, err)
		}
	}
	if c.StripeAPIKeyFile != "" {
		c.StripeAPIKey, c.StripeAccountKeys = parseKeys(&found, c.StripeAPIKey)
	}
	c.checkListeners(&found)
	c.checkWebhookPath(&found)
	c.checkCallers(&found)
	c.checkRedis(&found, unread["REDIS_URL"])
	c.checkSentinel(&found, unread["REDIS_SENTINEL_PASSWORD"])
	c.checkStripe(&found)
	c.checkSensitiveKey(&found)
	if !unread["STRIPE_WEBHOOK_SECRET"] {
		c.checkWebhookSecrets(&found)
	}
	c.checkAccounts(&found)
	c.checkDenyCodes(&found)
	c.checkLimits(&found)
	return errors.Join(found...)
}

// readSecret sets value to the text of the file at path. It returns an error if value is set already.
func readSecret(value *string, path string) (err error) {
	if *value != "" {
		return errors.New("the value itself is set too: remove one of the two")
	}
	*value, err = ReadFile(path)
	return err
}

// ReadFile returns the text of a setting's file, 1 byte to 64 KiB, without newlines at its end. Its error says what to
// change and quotes nothing of the file. It blocks on the disk alone, and not on a pipe or device.
func ReadFile(path string) (string, error) {
	text, err := reload.ReadFile(path, maxFileSize)
	if err != nil {
		return "", err
	}
	text = strings.TrimRight(text, "\r\n")
	if text == "" {
		return "", fmt.Errorf("%s is empty: write the value into it", path)
	}
	return text, nil
}

package config

import (
	"errors"
	"fmt"
	"strings"

	"example.com/verification-status/server/internal/reload"
)

// maxFileSize bounds a secret's file, in bytes.
const maxFileSize = 64 << 10

// problems collects what is wrong with the settings, a plain sentence each, so that an operator
// mends all of it in one round. No sentence may contain a secret's value.
type problems []error

func (p *problems) add(format string, args ...any) {
	*p = append(*p, fmt.Errorf(format, args...))
}

// Load reads the secrets that are kept in files and checks every setting. Call it once, before
// anything listens. Its error names every problem at once, a line each (errors.Join), and holds no
// secret.
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
	c.checkListeners(&found)
	c.checkCallers(&found)
	c.checkRedis(&found, unread["REDIS_URL"])
	c.checkSentinel(&found, unread["REDIS_SENTINEL_PASSWORD"])
	c.checkStripe(&found)
	if !unread["STRIPE_WEBHOOK_SECRET"] {
		c.checkWebhookSecrets(&found)
	}
	c.checkAccounts(&found)
	c.checkDenyCodes(&found)
	c.checkLimits(&found)
	return errors.Join(found...)
}

// readSecret sets value to the text of the file at path.
func readSecret(value *string, path string) (err error) {
	if *value != "" {
		return errors.New("the value itself is set too: keep one of the two")
	}
	*value, err = ReadFile(path)
	return err
}

// ReadFile returns the text of a setting's file, 1 byte to 64 KiB, without newlines at its end. The
// error says what to change and quotes nothing of the file. It waits for nothing but the disk.
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

package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFileSize bounds a secret's file, in bytes: a path to something else must not fill the memory.
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
	c.checkStripe(&found, unread["STRIPE_WEBHOOK_SECRET"])
	c.checkLimits(&found)
	return errors.Join(found...)
}

// readSecret sets value to the text of the file at path, without a newline at its end.
func readSecret(value *string, path string) error {
	if *value != "" {
		return errors.New("the value itself is set too: keep one of the two")
	}
	// A named pipe would block the start for ever: only regular files are opened.
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("the file cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file: name one that holds the value and nothing else", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("the file cannot be read: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return fmt.Errorf("the file cannot be read: %w", err)
	}
	if len(text) > maxFileSize {
		return fmt.Errorf("%s is greater than %d bytes: name the file that holds the value and nothing else", path, maxFileSize)
	}
	content := strings.TrimRight(string(text), "\r\n")
	if content == "" {
		return fmt.Errorf("%s is empty: write the value into it", path)
	}
	*value = content
	return nil
}

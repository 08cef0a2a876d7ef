package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
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
	// A named pipe would block for ever without the flag. Only regular files are read.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file: name one that holds the value and nothing else", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return "", fmt.Errorf("the file cannot be read: %w", err)
	}
	if len(text) > maxFileSize {
		return "", fmt.Errorf("%s is greater than %d bytes: name the file that holds the value and nothing else", path, maxFileSize)
	}
	content := strings.TrimRight(string(text), "\r\n")
	if content == "" {
		return "", fmt.Errorf("%s is empty: write the value into it", path)
	}
	return content, nil
}

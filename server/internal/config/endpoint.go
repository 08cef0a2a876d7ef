package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
)

const (
	defaultWebhookPath  = "/webhook" // as in the struct tag
	maxEndpointURLBytes = 2048
	maxPathBytes        = 255
)

// pathPattern is the form of WEBHOOK_PATH: segments of letters, digits and -._~, which no proxy encodes in another way.
var pathPattern = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*/?$`)

// CheckEndpointURL returns an error if Stripe cannot send webhooks to the URL, or if they would not be encrypted.
func CheckEndpointURL(text string) error { return checkEndpointURL("--url", text) }

// checkEndpointURL is CheckEndpointURL for the setting with this name.
func checkEndpointURL(name, text string) error {
	if len(text) > maxEndpointURLBytes || hasSpace(text) {
		return fmt.Errorf("%s must be a URL without spaces, of at most %d bytes", name, maxEndpointURLBytes)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("%s must be the URL at which Stripe reaches the webhook listener, such as https://verification.example.com/webhook, without user and fragment", name)
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return fmt.Errorf("%s must begin with https://: webhooks carry personal data; for events on this machine use: stripe listen --forward-to localhost:4242/webhook", name)
	}
}

// CheckAnyURL returns an error if the URL is not one to which a request can be sent.
func CheckAnyURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxEndpointURLBytes || hasSpace(text) || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("--url must be a URL such as https://shop.example.com/webhook or http://127.0.0.1:4242/webhook, without user and fragment")
	}
	return nil
}

// PathMismatch returns a sentence for an operator if the server answers 404 at the path of an endpoint's URL, else "". path is
// WEBHOOK_PATH.
func PathMismatch(endpoint, path string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Path == path || u.Path == "" && path == "/" {
		return ""
	}
	return fmt.Sprintf("the path of this URL is not %s (WEBHOOK_PATH), the only one that the server answers: every webhook gets 404, unless a proxy in front of the server changes the path", path)
}

// checkWebhookPath checks WEBHOOK_PATH and WEBHOOK_URL.
func (c *Config) checkWebhookPath(found *problems) {
	if c.WebhookPath == "" {
		c.WebhookPath = defaultWebhookPath
	}
	if len(c.WebhookPath) > maxPathBytes || !pathPattern.MatchString(c.WebhookPath) || hasDots(c.WebhookPath) {
		found.add("WEBHOOK_PATH must be a path such as /webhook: segments of letters, digits and -._~, at most %d bytes, without . and ..", maxPathBytes)
	}
	if c.WebhookURL == "" {
		return
	}
	if err := checkEndpointURL("WEBHOOK_URL", c.WebhookURL); err != nil {
		found.add("%w", err)
	}
}

var dotsPattern = regexp.MustCompile(`/\.\.?(/|$)`)

// hasDots reports whether a segment of the path is . or .., which clients and proxies remove.
func hasDots(path string) bool { return dotsPattern.MatchString(path) }

// warnOfPath warns of a WEBHOOK_URL whose path the server answers 404.
func (c *Config) warnOfPath() []string {
	if c.WebhookURL == "" {
		return nil
	}
	if mismatch := PathMismatch(c.WebhookURL, c.WebhookPath); mismatch != "" {
		return []string{"WEBHOOK_URL and WEBHOOK_PATH differ: " + mismatch}
	}
	return nil
}

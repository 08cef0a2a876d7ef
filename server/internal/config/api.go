package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// API has the settings of a command that calls Stripe's API and nothing else. They have the same names as in Config. Use
// it like Config.
type API struct {
	StripeAPIKey     string `name:"stripe-api-key" env:"STRIPE_API_KEY" secret:"true" placeholder:"KEY" help:"Stripe's secret (sk_) or restricted (rk_) key, of the mode in question. A restricted key needs write permission for webhook endpoints, and only read permission to list and check. Required."`
	StripeAPIKeyFile string `name:"stripe-api-key-file" env:"STRIPE_API_KEY_FILE" placeholder:"PATH" help:"A file with STRIPE_API_KEY."`
	StripeAPIBase    string `name:"stripe-api-base" env:"STRIPE_API_BASE" default:"https://api.stripe.com" placeholder:"URL" help:"The URL of Stripe's API. http:// is allowed for a loopback address only."`
	Livemode         string `name:"livemode" env:"LIVEMODE" placeholder:"BOOL" help:"The expected mode: true for live, false for test. By default the mode of the API key."`
	WebhookPath      string `name:"webhook-path" env:"WEBHOOK_PATH" default:"/webhook" placeholder:"PATH" help:"The WEBHOOK_PATH of the server, to see whether the path of the URL is another one."`
	WebhookURL       string `name:"webhook-url" env:"WEBHOOK_URL" placeholder:"URL" help:"The WEBHOOK_URL of the server. If --url is the same, a proxy changes the path, and check accepts another one than WEBHOOK_PATH."`
}

// Load does what Config.Load does, for these settings.
func (a *API) Load() error {
	var found problems
	unread := false
	if a.StripeAPIKeyFile != "" {
		if err := readSecret(&a.StripeAPIKey, a.StripeAPIKeyFile); err != nil {
			unread = true
			found.add("STRIPE_API_KEY_FILE: %w", err)
		}
	}
	if a.StripeAPIKeyFile != "" && !unread {
		a.StripeAPIKey, _ = parseKeys(&found, a.StripeAPIKey) // the first key is that of the account itself
	}
	if a.StripeAPIKey == "" && len(found) == 0 && !unread {
		found.add("STRIPE_API_KEY is not set: give Stripe's secret or restricted key, or name a file with it in STRIPE_API_KEY_FILE")
	}
	c := a.config()
	c.checkStripe(&found)
	c.checkWebhookPath(&found)
	a.Livemode, a.WebhookPath = c.Livemode, c.WebhookPath
	return errors.Join(found...)
}

// Live returns true if live endpoints are expected, false if test endpoints are, and nil if no setting says it.
func (a *API) Live() *bool {
	live, _ := a.config().EffectiveLivemode()
	return live
}

// Warnings does what Config.Warnings does, for these settings.
func (a *API) Warnings() []string { return a.config().warnOfFiles() }

func (a *API) config() *Config {
	return &Config{
		StripeAPIKey: a.StripeAPIKey, StripeAPIKeyFile: a.StripeAPIKeyFile, StripeAPIBase: a.StripeAPIBase,
		Livemode: a.Livemode, WebhookPath: a.WebhookPath, WebhookURL: a.WebhookURL,
	}
}

// CheckReachable returns an error if the URL leads to this machine or into a private network, where Stripe cannot send
// webhooks. A simulated Stripe on this machine can. The URL must have passed CheckEndpointURL.
func (a *API) CheckReachable(endpoint string) error {
	if isLoopback(hostOf(a.StripeAPIBase)) {
		return nil
	}
	host := hostOf(endpoint)
	addr, err := netip.ParseAddr(host)
	if isLoopback(host) || strings.HasSuffix(host, ".localhost") ||
		err == nil && (addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified()) {
		return fmt.Errorf("--url: Stripe cannot reach %s from the internet; for events on this machine use: stripe listen --forward-to localhost:4242/webhook, and give serve the signing secret that it prints as STRIPE_WEBHOOK_SECRET", host)
	}
	return nil
}

// hostOf returns the host of a URL in lower case, without the final dot of a complete name, or "" if the URL has no host.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
}

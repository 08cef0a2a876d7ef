package config

import (
	"strconv"
	"strings"
)

// WebhookSecrets is the list in StripeWebhookSecret, in its order.
func (c *Config) WebhookSecrets() []string { return list(c.StripeWebhookSecret) }

// Accounts are the connected accounts in StripeAccounts; nil: all are accepted.
func (c *Config) Accounts() []string {
	if c.StripeAccounts == "" {
		return nil
	}
	return list(c.StripeAccounts)
}

// DenyCodes are the codes in RetryDenyCodes; nil for "none".
func (c *Config) DenyCodes() []string {
	if c.RetryDenyCodes == "none" {
		return nil
	}
	return list(c.RetryDenyCodes)
}

// list is what is separated by commas, without the spaces around it.
func list(text string) []string {
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// EffectiveLivemode says whether live or test events are to be accepted: by LIVEMODE, else by the
// API key's prefix. nil means both; the warning, empty otherwise, is then for the log.
func (c *Config) EffectiveLivemode() (live *bool, warning string) {
	if set, err := strconv.ParseBool(c.Livemode); err == nil {
		return &set, ""
	}
	if mode, known := keyMode(c.StripeAPIKey); known {
		return &mode, ""
	}
	return nil, "live and test events are both accepted: set LIVEMODE=true or LIVEMODE=false"
}

// keyMode reads the mode from a key's prefix: sk_live_, rk_test_, and, for the keys of an
// organization, sk_org_live_ (docs.stripe.com/keys).
func keyMode(key string) (live, known bool) {
	kind, rest, _ := strings.Cut(key, "_")
	if kind != "sk" && kind != "rk" {
		return false, false
	}
	rest = strings.TrimPrefix(rest, "org_")
	live = strings.HasPrefix(rest, "live_")
	return live, live || strings.HasPrefix(rest, "test_")
}

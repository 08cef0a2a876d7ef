package config

import (
	"strconv"
	"strings"
)

// WebhookSecrets returns the secrets in StripeWebhookSecret, in their order and without their accounts.
func (c *Config) WebhookSecrets() []string {
	items := list(c.StripeWebhookSecret)
	for i, item := range items {
		_, items[i] = ofAccount(item)
	}
	return items
}

// WebhookAccounts returns the account of each secret of StripeWebhookSecret that has one.
func (c *Config) WebhookAccounts() map[string]string {
	accounts := map[string]string{}
	for _, item := range list(c.StripeWebhookSecret) {
		if account, secret := ofAccount(item); account != "" {
			accounts[secret] = account
		}
	}
	return accounts
}

// ofAccount splits "acct_... text". account is empty if the item has another form.
func ofAccount(item string) (account, text string) {
	if fields := strings.Fields(item); len(fields) == 2 && accountPattern.MatchString(fields[0]) {
		return fields[0], fields[1]
	}
	return "", item
}

// Accounts returns the connected accounts in StripeAccounts, or nil if all are accepted.
func (c *Config) Accounts() []string {
	if c.StripeAccounts == "" {
		return nil
	}
	return list(c.StripeAccounts)
}

// DenyCodes returns the codes in RetryDenyCodes, or nil for "none".
func (c *Config) DenyCodes() []string {
	if c.RetryDenyCodes == "none" {
		return nil
	}
	return list(c.RetryDenyCodes)
}

// list splits a text at its commas and trims each item.
func list(text string) []string {
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// EffectiveLivemode returns whether live or test events are accepted: as LIVEMODE says, else by the prefix of the API key. If
// neither says it, live is nil, which means both, and warning is a sentence for the log; otherwise warning is empty.
func (c *Config) EffectiveLivemode() (live *bool, warning string) {
	if set, err := strconv.ParseBool(c.Livemode); err == nil {
		return &set, ""
	}
	if mode, known := keyMode(c.StripeAPIKey); known {
		return &mode, ""
	}
	return nil, "live events and test events are both accepted: set LIVEMODE=true or LIVEMODE=false"
}

// organization is in the prefix of the keys of an organization: sk_org_live_...
const organization = "org_"

// ofOrganization reports whether a key is of an organization.
func ofOrganization(key string) bool {
	_, rest, _ := strings.Cut(key, "_")
	return strings.HasPrefix(rest, organization)
}

// keyMode returns the mode that the prefix of a key says: sk_live_, rk_test_, and for the keys of an organization
// sk_org_live_ (docs.stripe.com/keys). known is false if the prefix says none.
func keyMode(key string) (live, known bool) {
	kind, rest, _ := strings.Cut(key, "_")
	if kind != "sk" && kind != "rk" {
		return false, false
	}
	rest = strings.TrimPrefix(rest, organization)
	live = strings.HasPrefix(rest, "live_")
	return live, live || strings.HasPrefix(rest, "test_")
}

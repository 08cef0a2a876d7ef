package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// AccountKey is the API key of one Stripe account.
type AccountKey struct{ Account, Key string }

// AccountKeys returns the keys in StripeAccountKeys, in their order.
func (c *Config) AccountKeys() []AccountKey {
	var keys []AccountKey
	for line := range strings.Lines(c.StripeAccountKeys) {
		account, key, _ := strings.Cut(strings.TrimSpace(line), " ")
		keys = append(keys, AccountKey{account, key})
	}
	return keys
}

const accountPrefix = "acct_"

// parseKeys reads the text of STRIPE_API_KEY_FILE: one key, or a line for each key. The first key is for every account that
// has none of its own, and its line can begin with the account that it belongs to. Each other line is the id of an account
// and its key. parseKeys adds the problems of the lines to found. own has the form of Config.StripeAccountKeys.
func parseKeys(found *problems, text string) (key, own string) {
	lines := strings.Split(text, "\n")
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), accountPrefix) }) {
		return text, ""
	}
	first := true
	named, keyed := map[string]int{}, map[string]int{} // the number of the line that names an account, or has a key
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		name := fmt.Sprintf("STRIPE_API_KEY_FILE: line %d", i+1)
		account, secret, problem := parseKey(line, first)
		earlier := named[account]
		switch before := len(*found); {
		case problem != "":
			found.add("%s %s", name, problem)
		case account != "" && earlier > 0:
			found.add("%s names the account of line %d again: keep one of the two", name, earlier)
		default:
			checkAPIKey(found, name, secret)
			if len(*found) > before {
				break
			}
			if earlier := keyed[secret]; earlier > 0 {
				found.add("%s has the key of line %d again: a key is of one account, so keep one of the two", name, earlier)
				break
			}
			keyed[secret] = i + 1
			checkMode(found, name, secret, key)
			if first {
				key = secret
			}
			if account != "" {
				named[account] = i + 1
				own += account + " " + secret + "\n"
			}
		}
		first = false
	}
	return key, own
}

// parseKey reads one line. problem says what is wrong with it, without a quotation.
func parseKey(line string, first bool) (account, key, problem string) {
	if account, key = ofAccount(line); account != "" {
		return account, key, ""
	}
	fields := strings.Fields(line)
	switch {
	case len(fields) == 1 && !strings.HasPrefix(fields[0], accountPrefix) && first:
		return "", fields[0], ""
	case len(fields) == 1 && !strings.HasPrefix(fields[0], accountPrefix):
		return "", "", "has no account: only the first line can do without; give the id of the account (acct_...), a space and the key"
	default:
		return "", "", "is not an account and its key: give the id of the account (acct_...), a space and the key"
	}
}

// checkMode adds a problem if two keys are of different modes.
func checkMode(found *problems, name, key, first string) {
	mode, known := keyMode(key)
	if want, wanted := keyMode(first); known && wanted && mode != want {
		found.add("%s has a key of another mode than the first line: all keys must be live keys, or all test keys", name)
	}
}

// KeyedAccounts returns the accounts that have a key of their own, apart from the account of the default key.
func (c *Config) KeyedAccounts() []string {
	var accounts []string
	for _, own := range c.AccountKeys() {
		if own.Key != c.StripeAPIKey {
			accounts = append(accounts, own.Account)
		}
	}
	return accounts
}

// PlatformAccount returns the account of the default key, if the first line of STRIPE_API_KEY_FILE names it; otherwise it
// returns "". Sessions of this account are the platform's, which have no account.
func (c *Config) PlatformAccount() string {
	for _, own := range c.AccountKeys() {
		if own.Key == c.StripeAPIKey && !ofOrganization(own.Key) {
			return own.Account
		}
	}
	return ""
}

// checkKeyedAccounts refuses a key or a signing secret of an account whose sessions are not kept. It refuses the platform among
// the connected accounts: its sessions would have two accounts.
func (c *Config) checkKeyedAccounts(found *problems) {
	accepted, platform := c.Accounts(), c.PlatformAccount()
	if platform != "" && slices.Contains(accepted, platform) {
		found.add("STRIPE_ACCOUNTS names %s, the account of the first line of STRIPE_API_KEY_FILE, whose sessions are always kept: remove it from STRIPE_ACCOUNTS", platform)
	}
	for _, account := range slices.Sorted(maps.Values(c.WebhookAccounts())) {
		if accepted != nil && account != platform && !slices.Contains(accepted, account) {
			found.add("STRIPE_WEBHOOK_SECRET has a secret of %s, but STRIPE_ACCOUNTS does not name this account: add it there, or remove the secret", account)
		}
	}
	for _, account := range c.KeyedAccounts() {
		if accepted != nil && !slices.Contains(accepted, account) {
			found.add("STRIPE_API_KEY_FILE has a key of %s, but STRIPE_ACCOUNTS does not name this account: add it there, or remove its line", account)
		}
	}
}

package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	maxWebhookSecrets     = 10  // each costs a hash for a forged webhook
	maxWebhookSecretBytes = 255 // Stripe's have 38
	minWebhookSecretBytes = 15  // a shorter one can be guessed from one signed webhook

	webhookSecretPrefix = "whsec_"
	maxAccounts         = 1000
	maxDenyCodes        = 100
)

var (
	accountPattern = regexp.MustCompile(`^acct_[A-Za-z0-9_]{1,250}$`)
	// codePattern is the form of Stripe's error codes. Which there are is open: more may come.
	codePattern = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)
)

// checkStripe looks at what it takes to speak with Stripe's API.
func (c *Config) checkStripe(found *problems) {
	if c.StripeAPIKey != "" {
		checkAPIKey(found, c.StripeAPIKey)
	}
	c.checkStripeBase(found)
	c.Livemode = strings.ToLower(c.Livemode)
	if !slices.Contains([]string{"", "true", "false"}, c.Livemode) {
		found.add("LIVEMODE must be true or false, or empty for the API key's mode")
		return
	}
	if live, known := keyMode(c.StripeAPIKey); known && c.Livemode != "" && c.Livemode != strconv.FormatBool(live) {
		found.add("LIVEMODE is %s, but STRIPE_API_KEY is a key of the other mode: drop LIVEMODE, or give the other key", c.Livemode)
	}
}

func (c *Config) checkStripeBase(found *problems) {
	base, err := url.Parse(c.StripeAPIBase)
	switch {
	case err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		found.add("STRIPE_API_BASE must be a plain URL such as https://api.stripe.com")
	case base.Scheme == "https", base.Scheme == "http" && isLoopback(base.Hostname()):
	default:
		found.add("STRIPE_API_BASE must begin with https://, or lead to a loopback address: it carries the API key")
	}
}

func (c *Config) checkWebhookSecrets(found *problems) {
	if c.StripeWebhookSecret == "" {
		found.add("STRIPE_WEBHOOK_SECRET is not set: give the endpoint's signing secret (whsec_...), or name a file that holds it in STRIPE_WEBHOOK_SECRET_FILE")
		return
	}
	secrets := c.WebhookSecrets()
	if len(secrets) > maxWebhookSecrets {
		found.add("STRIPE_WEBHOOK_SECRET has over %d secrets: drop those that no endpoint uses any more", maxWebhookSecrets)
	}
	for i, secret := range secrets {
		if problem := webhookSecretProblem(secret); problem != "" {
			found.add("STRIPE_WEBHOOK_SECRET: secret %d of %d %s", i+1, len(secrets), problem)
		}
	}
}

// webhookSecretProblem says what is wrong with one signing secret and how to fix it, without quoting it. It returns
// "" for a secret of Stripe's form. What is no secret of Stripe's verifies no webhook of Stripe's, or those of anybody.
func webhookSecretProblem(secret string) string {
	const give = "give the endpoint's signing secret (whsec_...)"
	switch {
	case secret == "":
		// An empty secret verifies whatever is signed with an empty key: an open door.
		return "is empty: remove the comma too much"
	case len(secret) > maxWebhookSecretBytes || hasSpace(secret):
		return fmt.Sprintf("has spaces or line breaks, or over %d bytes: separate secrets by commas", maxWebhookSecretBytes)
	case strings.ContainsAny(secret, quotes):
		return "has quotes: give the secret without them"
	case hasAPIKeyPrefix(secret):
		return "is an API key: " + give + ", and the key in STRIPE_API_KEY"
	case strings.ContainsFunc(secret, notPrintable):
		return "has characters that no secret has, such as a byte order mark: " + give + " and nothing else"
	case !strings.HasPrefix(secret, webhookSecretPrefix):
		return "does not begin with whsec_: " + give
	case len(secret) < minWebhookSecretBytes:
		return fmt.Sprintf("has under %d characters, which can be guessed: %s whole", minWebhookSecretBytes, give)
	}
	return ""
}

// checkAPIKey looks at a key that is set.
func checkAPIKey(found *problems, key string) {
	switch {
	case strings.ContainsAny(key, quotes):
		found.add("STRIPE_API_KEY has quotes: give the key without them")
	case strings.HasPrefix(key, "pk_"):
		found.add("STRIPE_API_KEY is a publishable key: give a secret (sk_...) or restricted (rk_...) one")
	case strings.HasPrefix(key, webhookSecretPrefix):
		found.add("STRIPE_API_KEY is a webhook's signing secret: give a secret (sk_...) or restricted (rk_...) key, and the signing secret in STRIPE_WEBHOOK_SECRET")
	case !strings.HasPrefix(key, "sk_") && !strings.HasPrefix(key, "rk_"):
		found.add("STRIPE_API_KEY is no key of Stripe's: a secret key begins with sk_, a restricted one with rk_")
	case len(key) > maxNameBytes || strings.ContainsFunc(key, notPrintable):
		found.add("STRIPE_API_KEY has spaces, line breaks or other characters that no key has, or over %d bytes: give the key and nothing else", maxNameBytes)
	}
}

// hasAPIKeyPrefix reports whether a text begins as the API keys of Stripe do.
func hasAPIKeyPrefix(text string) bool {
	return strings.HasPrefix(text, "sk_") || strings.HasPrefix(text, "rk_") || strings.HasPrefix(text, "pk_")
}

// quotes are what a shell or an env file leaves around a value that it does not unquote.
const quotes = "\"'`“”‘’"

// notPrintable reports whether a character is outside printable ASCII: no key or secret of Stripe's has one.
func notPrintable(r rune) bool { return r < '!' || r > '~' }

func (c *Config) checkAccounts(found *problems) {
	accounts := c.Accounts()
	if len(accounts) > maxAccounts {
		found.add("STRIPE_ACCOUNTS has over %d accounts: leave it empty to accept all", maxAccounts)
	}
	for i, account := range accounts {
		if !accountPattern.MatchString(account) {
			found.add("STRIPE_ACCOUNTS: account %d of %d is no id of a connected account: give acct_..., separated by commas", i+1, len(accounts))
			return
		}
	}
}

// checkDenyCodes refuses an empty list: it is more often a variable forgotten than a decision to pay
// for attempts that cannot succeed.
func (c *Config) checkDenyCodes(found *problems) {
	codes := c.DenyCodes()
	if c.RetryDenyCodes == "" {
		found.add("RETRY_DENY_CODES is empty: write none to grant a retry after every error, or leave it unset")
		return
	}
	if len(codes) > maxDenyCodes {
		found.add("RETRY_DENY_CODES has over %d codes: name those after which nobody may try again", maxDenyCodes)
	}
	for i, code := range codes {
		if !codePattern.MatchString(code) {
			found.add("RETRY_DENY_CODES: code %d of %d is no error code of Stripe's, such as consent_declined: separate codes by commas", i+1, len(codes))
			return
		}
	}
}

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
	// codePattern is the form of Stripe's error codes. Stripe can add codes at any time.
	codePattern = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)
	// apiKeyWithin finds an API key in a text.
	apiKeyWithin = regexp.MustCompile(`(^|[^A-Za-z])[srp]k_(live|test|org)_`)
	// stripeSecretPattern is the form of Stripe's signing secrets.
	stripeSecretPattern = regexp.MustCompile(`^whsec_[A-Za-z0-9_]+$`)
)

// checkStripe checks the settings that Stripe's API is called with.
func (c *Config) checkStripe(found *problems) {
	if c.StripeAPIKey != "" {
		checkAPIKey(found, "STRIPE_API_KEY", c.StripeAPIKey)
	}
	c.checkStripeBase(found)
	c.Livemode = strings.ToLower(c.Livemode)
	if !slices.Contains([]string{"", "true", "false"}, c.Livemode) {
		found.add("LIVEMODE must be true or false, or empty for the mode of the API key")
		return
	}
	if live, known := keyMode(c.StripeAPIKey); known && c.Livemode != "" && c.Livemode != strconv.FormatBool(live) {
		found.add("LIVEMODE is %s, but STRIPE_API_KEY is a key of the other mode: remove LIVEMODE, or give the other key", c.Livemode)
	}
}

// checkSensitiveKey checks the key for sensitive results. Stripe refuses them to every key but a restricted one. A key of the other
// mode would find no session.
func (c *Config) checkSensitiveKey(found *problems) {
	key := c.StripeSensitiveAPIKey
	if key == "" {
		return
	}
	before := len(*found)
	checkAPIKey(found, "STRIPE_SENSITIVE_API_KEY", key)
	mode, known := keyMode(key)
	want, wanted := keyMode(c.StripeAPIKey)
	switch {
	case len(*found) > before:
	case !strings.HasPrefix(key, "rk_"):
		found.add("STRIPE_SENSITIVE_API_KEY is a secret key, to which Stripe shows no sensitive results: give a restricted key (rk_...) with the permission to read them")
	case c.StripeAPIKey == "":
		found.add("STRIPE_SENSITIVE_API_KEY is set without STRIPE_API_KEY: set STRIPE_API_KEY too, or remove it")
	case known && wanted && mode != want:
		found.add("STRIPE_SENSITIVE_API_KEY is a key of the other mode than STRIPE_API_KEY: give a key of the same mode")
	}
}

func (c *Config) checkStripeBase(found *problems) {
	base, err := url.Parse(c.StripeAPIBase)
	switch {
	case err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "":
		found.add("STRIPE_API_BASE must be a plain URL such as https://api.stripe.com")
	case base.Scheme == "https", base.Scheme == "http" && isLoopback(base.Hostname()):
	default:
		found.add("STRIPE_API_BASE must begin with https://, unless it is a loopback address: the API key is sent there")
	}
}

func (c *Config) checkWebhookSecrets(found *problems) {
	if c.StripeWebhookSecret == "" {
		found.add("STRIPE_WEBHOOK_SECRET is not set: give the endpoint's signing secret (whsec_...), or name a file with it in STRIPE_WEBHOOK_SECRET_FILE")
		return
	}
	secrets := c.WebhookSecrets()
	if len(secrets) > maxWebhookSecrets {
		found.add("STRIPE_WEBHOOK_SECRET has over %d secrets: remove those that no endpoint uses any more", maxWebhookSecrets)
	}
	for i, secret := range secrets {
		if problem := webhookSecretProblem(secret); problem != "" {
			found.add("STRIPE_WEBHOOK_SECRET: secret %d of %d %s", i+1, len(secrets), problem)
		}
	}
}

// webhookSecretProblem returns what is wrong with one signing secret and how to fix it, or "" if the secret has Stripe's
// form. It does not quote the secret. A text that is not a secret of Stripe either verifies none of Stripe's webhooks, or
// verifies forged ones.
func webhookSecretProblem(secret string) string {
	const give = "give the endpoint's signing secret (whsec_...)"
	switch {
	case secret == "":
		// An empty secret verifies every webhook that is signed with an empty key.
		return "is empty: remove the extra comma"
	case len(secret) > maxWebhookSecretBytes || hasSpace(secret):
		return fmt.Sprintf("has spaces or line breaks, or over %d bytes: separate secrets by commas", maxWebhookSecretBytes)
	case strings.ContainsAny(secret, quotes):
		return "has quotes: give the secret without them"
	case hasAPIKeyPrefix(secret):
		return "is an API key: " + give + ", and the key in STRIPE_API_KEY"
	case strings.ContainsFunc(secret, notPrintable):
		return "has characters that a secret never has, such as a byte order mark: " + give + " and nothing else"
	case !strings.HasPrefix(secret, webhookSecretPrefix):
		return "does not begin with whsec_: " + give
	case apiKeyWithin.MatchString(secret):
		return "has an API key in it: " + give + " and nothing else, and the key in STRIPE_API_KEY"
	case len(secret) < minWebhookSecretBytes:
		return fmt.Sprintf("has under %d characters, so that it can be guessed: %s in full", minWebhookSecretBytes, give)
	}
	return ""
}

// checkAPIKey checks a key that is set. name says where it is from.
func checkAPIKey(found *problems, name, key string) {
	switch {
	case strings.ContainsAny(key, quotes):
		found.add("%s has quotes: give the key without them", name)
	case strings.HasPrefix(key, "pk_"):
		found.add("%s is a publishable key: give a secret (sk_...) or restricted (rk_...) one", name)
	case strings.HasPrefix(key, webhookSecretPrefix):
		found.add("%s is a webhook's signing secret: give a secret (sk_...) or restricted (rk_...) key, and the signing secret in STRIPE_WEBHOOK_SECRET", name)
	case !strings.HasPrefix(key, "sk_") && !strings.HasPrefix(key, "rk_"):
		found.add("%s is not a key of Stripe: a secret key begins with sk_, a restricted one with rk_", name)
	case len(key) > maxNameBytes || strings.ContainsFunc(key, notPrintable):
		found.add("%s has spaces, line breaks or other characters that a key never has, or over %d bytes: give the key and nothing else", name, maxNameBytes)
	}
}

// hasAPIKeyPrefix reports whether a text begins like an API key of Stripe.
func hasAPIKeyPrefix(text string) bool {
	return strings.HasPrefix(text, "sk_") || strings.HasPrefix(text, "rk_") || strings.HasPrefix(text, "pk_")
}

// quotes are the quotation marks that a shell or an env file can leave around a value.
const quotes = "\"'`“”‘’"

// notPrintable reports whether a character is outside printable ASCII. Keys and secrets of Stripe have none.
func notPrintable(r rune) bool { return r < '!' || r > '~' }

func (c *Config) checkAccounts(found *problems) {
	accounts := c.Accounts()
	if len(accounts) > maxAccounts {
		found.add("STRIPE_ACCOUNTS has over %d accounts: leave it empty to accept all", maxAccounts)
	}
	for i, account := range accounts {
		if !accountPattern.MatchString(account) {
			found.add("STRIPE_ACCOUNTS: account %d of %d is not the id of a connected account: give acct_..., separated by commas", i+1, len(accounts))
			return
		}
	}
	c.checkKeyedAccounts(found)
}

// checkDenyCodes refuses an empty list. An empty variable is more often a mistake than a decision to pay for attempts that
// cannot succeed.
func (c *Config) checkDenyCodes(found *problems) {
	codes := c.DenyCodes()
	if c.RetryDenyCodes == "" {
		found.add("RETRY_DENY_CODES is empty: write none to grant a retry after every error, or unset it")
		return
	}
	if len(codes) > maxDenyCodes {
		found.add("RETRY_DENY_CODES has over %d codes: give only those after which no retry is granted", maxDenyCodes)
	}
	for i, code := range codes {
		if !codePattern.MatchString(code) {
			found.add("RETRY_DENY_CODES: code %d of %d is not an error code of Stripe, such as consent_declined: separate codes by commas", i+1, len(codes))
			return
		}
	}
}

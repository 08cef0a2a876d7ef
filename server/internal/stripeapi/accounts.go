package stripeapi

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// The headers that name the account of a request. A key that is the account's own needs neither. See
// https://docs.stripe.com/connect/authentication and https://docs.stripe.com/keys (organization API keys).
const (
	connectHeader = "Stripe-Account"
	contextHeader = "Stripe-Context"
)

// errNoPlatform: a key of an organization belongs to no account, so each request must name one.
var errNoPlatform = fmt.Errorf("%w: the API key is of an organization, which has no sessions of its own, and no account was named", verification.ErrStripeUnknown)

// setAccountHooks fills in the hooks about accounts that are nil.
func (c *Config) setAccountHooks() {
	if c.AccountKey == nil {
		c.AccountKey = func(string) verification.Secret { return "" }
	}
	if c.ByContext == nil {
		c.ByContext = func(context.Context, string) (bool, error) { return false, nil }
	}
	if c.AccountRests == nil {
		c.AccountRests = func(context.Context, string, bool) bool { return false }
	}
	if c.AccountProbe == nil {
		c.AccountProbe = func(context.Context, string) bool { return true }
	}
	if c.AccountRefused == nil {
		c.AccountRefused = func(context.Context, string, time.Time, int64) bool { return true }
	}
	if c.AccountAnswered == nil {
		c.AccountAnswered = func(context.Context, string, time.Time, int64) {}
	}
}

// HasPlatform reports whether Config.Key has an account of its own, the platform. A key of an organization has none.
func (c *Client) HasPlatform() bool { return !ofOrganization(c.config.Key()) }

// ofOrganization reports whether a key is of an organization.
func ofOrganization(key verification.Secret) bool {
	return strings.HasPrefix(key.Reveal(), "sk_org_") || strings.HasPrefix(key.Reveal(), "rk_org_")
}

// addressOf returns the key for a request, and the header that names its account. The header is empty if the key says it. It
// returns the errors of Config.ByContext.
func (c *Client) addressOf(ctx context.Context, account string) (key verification.Secret, header string, err error) {
	key = c.keyOf(account)
	switch {
	case account == "":
		return key, "", nil
	case ofOrganization(key):
		return key, contextHeader, nil
	case c.config.AccountKey(account) != "":
		return key, "", nil
	}
	byContext, err := c.config.ByContext(ctx, account)
	if byContext {
		return key, contextHeader, err
	}
	return key, connectHeader, err
}

// keyOf returns the key for the requests of an account.
func (c *Client) keyOf(account string) verification.Secret {
	if account != "" {
		if own := c.config.AccountKey(account); own != "" {
			return own
		}
	}
	return c.config.Key()
}

// KeyID returns a number that identifies the current key for an account, at least 1. It is a part of a hash, from which the
// key cannot be computed.
func (c *Client) KeyID(account string) int64 { return keyID(c.keyOf(account)) }

func keyID(key verification.Secret) int64 {
	sum := sha256.Sum256([]byte(key.Reveal()))
	return int64(binary.BigEndian.Uint64(sum[:])>>2) + 1
}

// noteAccount reports what an answer says about access to a connected account. The request began at begin with a key. An answer to the key for sensitive
// results says nothing about the access of the usual key.
func (c *Client) noteAccount(ctx context.Context, r request, begin time.Time, key verification.Secret, f *fault) {
	account := r.account
	switch {
	case account == "", r.sensitive:
	case f.outcome == OutcomeAccountRefused:
		f.unknownAccount = !c.config.AccountRefused(ctx, account, begin, keyID(key))
	case f.outcome == OutcomeOK, f.outcome == OutcomeUnknown, f.outcome == OutcomeRefused:
		c.config.AccountAnswered(ctx, account, begin, keyID(key))
	}
}

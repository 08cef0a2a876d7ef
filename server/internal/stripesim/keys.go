package stripesim

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// The permissions of restricted keys, by the names in Stripe's refusals.
const (
	PermissionReadSessions      = "rak_identity_product_read"
	PermissionWriteSessions     = "rak_identity_product_write"
	PermissionReadEvents        = "rak_event_read"
	PermissionReadEndpoints     = "rak_webhook_read"
	PermissionWriteEndpoints    = "rak_webhook_write"
	PermissionWriteEphemeralKey = "rak_ephemeral_key_write"
	// Stripe's documentation gives the permissions for sensitive results in words alone.
	PermissionReadSensitive    = "rak_identity_recent_sensitive_read"
	permissionReadAllSensitive = "rak_identity_all_sensitive_read"
)

// platformAccount is the platform's own account in refusals. Nothing else shows it.
const platformAccount = "acct_1Platform"

// keyPattern is the form of Stripe's keys, which contain their mode: secret, restricted, and of an organization.
var keyPattern = regexp.MustCompile(`^(sk|rk|sk_org)_(test|live)_[A-Za-z0-9_]{1,200}$`)

// Key is an API key with its limits. A key that begins with "sk_org_" is an organization's: each request needs a
// Stripe-Context and a Stripe-Version.
type Key struct {
	Value string
	// Account is the account of the key, "acct_...". Empty means the platform. The key of an account sees this account alone.
	// So the sessions of a sandbox are those of an account with a key of its own.
	Account string
	// Lacks has the permissions that the key does not have. Only a restricted key can lack one.
	Lacks []string
}

func (k Key) live() bool {
	return strings.HasPrefix(k.Value, "sk_live_") || strings.HasPrefix(k.Value, "rk_live_") || strings.HasPrefix(k.Value, "sk_org_live_")
}

func (k Key) organization() bool { return strings.HasPrefix(k.Value, "sk_org_") }

func checkKeys(keys []Key) error {
	for i, key := range keys {
		switch {
		case !keyPattern.MatchString(key.Value):
			return fmt.Errorf("stripesim: Keys[%d] must begin with sk_test_, rk_test_, sk_live_, rk_live_, sk_org_test_ or sk_org_live_", i)
		case key.Account != "" && (key.organization() || !accountPattern.MatchString(key.Account)):
			return fmt.Errorf("stripesim: Keys[%d].Account must look like acct_123, and an organization's key has none", i)
		case len(key.Lacks) > 0 && !strings.HasPrefix(key.Value, "rk_"):
			return fmt.Errorf("stripesim: Keys[%d] is not restricted, so it lacks nothing", i)
		}
	}
	return nil
}

// SetKeys replaces the keys of Config.Keys and of the last SetKeys. The keys of Config.APIKeys stay.
func (s *Sim) SetKeys(keys ...Key) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = slices.Clone(keys)
	return nil
}

// Deauthorize lets a connected account revoke the platform's access. The platform's requests for the account are refused with
// account_invalid, and the endpoints that name the type get account.application.deauthorized.
func (s *Sim) Deauthorize(account string) error {
	if !accountPattern.MatchString(account) {
		return errParam("account", "An account must look like acct_123.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.revoked[account] {
		s.revoked[account] = true
		s.emitDeauthorized(account)
	}
	return nil
}

// Authorize gives the platform access to an account again.
func (s *Sim) Authorize(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.revoked, account)
}

// authenticate returns the key of a request.
func (s *Sim) authenticate(r *http.Request) (Key, *Error) {
	given, _, basic := r.BasicAuth()
	if !basic {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Bearer") {
			given = strings.TrimSpace(token)
		}
	}
	if given == "" {
		return Key{}, errNoKey()
	}
	for _, known := range s.cfg.APIKeys {
		if subtle.ConstantTimeCompare([]byte(known), []byte(given)) == 1 {
			return Key{Value: known}, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.keys {
		if subtle.ConstantTimeCompare([]byte(known.Value), []byte(given)) == 1 {
			return known, nil
		}
	}
	return Key{}, errWrongKey()
}

// scope returns the realm that a request acts on: that of its Stripe-Account or Stripe-Context, else that of its key.
func (s *Sim) scope(r *http.Request, key Key) (realm, *Error) {
	account, context := r.Header.Get("Stripe-Account"), r.Header.Get("Stripe-Context")
	switch {
	case key.organization() && context == "":
		return realm{}, errBad("", "", "Organization API keys need the header Stripe-Context, which names the account of the request.")
	case key.organization() && r.Header.Get("Stripe-Version") == "":
		return realm{}, errBad("", "", "Organization API keys need the header Stripe-Version.")
	case account != "" && context != "":
		return realm{}, errBad("", "", "You may only specify one of the headers Stripe-Account and Stripe-Context.")
	case context != "":
		// A context is an account, or a path that ends in one.
		account = context[strings.LastIndex(context, "/")+1:]
	}
	if account == "" {
		account = key.Account
	}
	s.mu.Lock()
	revoked := s.revoked[account]
	s.mu.Unlock()
	foreign := account != key.Account && (key.Account != "" || revoked)
	if account != "" && !accountPattern.MatchString(account) || foreign {
		return realm{}, errWrongAccount(key, account)
	}
	return realm{account: account, live: key.live()}, nil
}

// permit refuses a request whose key lacks a permission of its route.
func permit(key Key, in realm, permissions []string) *Error {
	i := slices.IndexFunc(permissions, func(p string) bool { return slices.Contains(key.Lacks, p) })
	if i < 0 {
		return nil
	}
	account := in.account
	if account == "" {
		account = platformAccount
	}
	return &Error{HTTPStatus: http.StatusForbidden, Type: typeInvalidRequest,
		Message: fmt.Sprintf("The provided key '%s' does not have the required permissions for this endpoint on account '%s'. "+
			"Having the '%s' permission would allow this request to continue.", masked(key), account, permissions[i])}
}

func errWrongAccount(key Key, account string) *Error {
	if !accountPattern.MatchString(account) {
		account = "?"
	}
	return &Error{HTTPStatus: http.StatusForbidden, Type: typeInvalidRequest, Code: "account_invalid",
		Message: fmt.Sprintf("The provided key '%s' does not have access to account '%s' (or that account does not exist). "+
			"Application access may have been revoked.", masked(key), account)}
}

// masked returns a key as Stripe's messages show it.
func masked(key Key) string {
	mode := "test"
	if key.live() {
		mode = "live"
	}
	before, _, _ := strings.Cut(key.Value, "_"+mode+"_")
	return before + "_" + mode + "_***"
}

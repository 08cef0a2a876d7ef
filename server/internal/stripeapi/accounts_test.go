package stripeapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// TestAccountsAreNamed: each request uses the key of its account. Only a key that is not the account's own needs a header
// with the account, and a key of an organization needs Stripe-Context.
func TestAccountsAreNamed(t *testing.T) {
	const org = "sk_org_test_planted"
	own := map[string]verification.Secret{"acct_own": "sk_test_planted_own", "acct_other_org": "sk_org_test_planted_other"}
	for _, test := range []struct {
		name                          string
		key                           verification.Secret
		account                       string
		wantKey, wantConnect, wantCtx string
	}{
		{"the platform", key, "", key, "", ""},
		{"a connected account", key, "acct_1", key, "acct_1", ""},
		{"an account that is named by context", key, "acct_ctx", key, "", "acct_ctx"},
		{"an account with a key of its own", key, "acct_own", "sk_test_planted_own", "", ""},
		{"an account of another organization", key, "acct_other_org", "sk_org_test_planted_other", "", "acct_other_org"},
		{"an account of the organization", org, "acct_1", org, "", "acct_1"},
		{"an account with a key of its own beside the organization's", org, "acct_own", "sk_test_planted_own", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, c call) {
				if strings.HasSuffix(c.path, id) {
					always(200, encode(session(nil)))(w, c)
				} else {
					always(200, `{"object":"list","data":[]}`)(w, c)
				}
			})
			c := dial(t, s.URL, func(config *stripeapi.Config) {
				config.Key = keyed(test.key)
				config.AccountKey = func(account string) verification.Secret { return own[account] }
				config.ByContext = func(_ context.Context, account string) (bool, error) {
					return account == "acct_ctx" || account == "acct_own", nil
				}
			})
			if _, err := c.Retrieve(t.Context(), test.account, id); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Events(t.Context(), test.account, verification.EventQuery{}); err != nil {
				t.Fatal(err)
			}
			for _, sent := range s.seen() {
				h := sent.header
				if got := h.Get("Authorization"); got != "Bearer "+test.wantKey {
					t.Errorf("%s: the wrong key: %d bytes; want %d", sent.path, len(got), len("Bearer ")+len(test.wantKey))
				}
				if got := h.Get("Stripe-Account"); got != test.wantConnect {
					t.Errorf("%s: Stripe-Account %q; want %q", sent.path, got, test.wantConnect)
				}
				if got := h.Get("Stripe-Context"); got != test.wantCtx {
					t.Errorf("%s: Stripe-Context %q; want %q", sent.path, got, test.wantCtx)
				}
				if h.Get("Stripe-Version") == "" {
					t.Errorf("%s: no Stripe-Version", sent.path)
				}
			}
		})
	}
}

// TestAnOrganizationHasNoPlatform: Stripe refuses a request with a key of an organization that names no account, so none is
// sent.
func TestAnOrganizationHasNoPlatform(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	c := dial(t, s.URL, func(config *stripeapi.Config) { config.Key = keyed("sk_org_test_planted") })
	if c.HasPlatform() {
		t.Error("a key of an organization has a platform")
	}
	if _, err := c.Retrieve(t.Context(), "", id); !errors.Is(err, verification.ErrStripeUnknown) {
		t.Errorf("a session without an account: %v", err)
	}
	if _, err := c.FindByReference(t.Context(), "case-17"); !errors.Is(err, verification.ErrStripeUnknown) {
		t.Errorf("a reference: %v", err)
	}
	if calls := s.seen(); len(calls) != 0 {
		t.Errorf("%d requests were sent; want 0", len(calls))
	}
	if !dial(t, s.URL, nil).HasPlatform() {
		t.Error("an ordinary key has no platform")
	}
}

// accessRow is a request for an account, and what the client reports about it.
type accessRow struct {
	account, body             string
	status                    int
	rests                     bool
	want                      error
	wantRefused, wantAnswered string
	wantOutcome               string
	wantLevel, wantLog        string
}

// TestAccountThatGivesNoAccess: code account_invalid is the account's refusal, and any other refusal is the key's. Only an
// answer of Stripe about the account ends its rest.
func TestAccountThatGivesNoAccess(t *testing.T) {
	for name, test := range map[string]accessRow{
		"revoked": {
			account: "acct_1", status: 403, body: refusal("invalid_request_error", "account_invalid"),
			want: verification.ErrStripeAccountRefused, wantRefused: "acct_1", wantOutcome: "retrieve:account_refused",
			wantLog: `"account":"acct_1"`, wantLevel: "WARN",
		},
		"revoked, and not known here": {
			account: "acct_made", status: 403, body: refusal("invalid_request_error", "account_invalid"),
			want: verification.ErrStripeAccountRefused, wantRefused: "acct_made", wantOutcome: "retrieve:account_refused",
			wantLog: `"account":"acct_made"`, wantLevel: "DEBUG",
		},
		"with another status": {
			account: "acct_1", status: 404, body: refusal("invalid_request_error", "account_invalid"),
			want: verification.ErrStripeAccountRefused, wantRefused: "acct_1", wantOutcome: "retrieve:account_refused",
			wantLog: `"account":"acct_1"`, wantLevel: "WARN",
		},
		"the platform": {
			status: 403, body: refusal("invalid_request_error", "account_invalid"),
			want: verification.ErrStripeUnauthorized, wantOutcome: "retrieve:unauthorized", wantLog: "STRIPE_API_KEY", wantLevel: "ERROR",
		},
		"another refusal of the key": {
			account: "acct_1", status: 403, body: refusal("invalid_request_error", "more_permissions_required"),
			want: verification.ErrStripeUnauthorized, wantOutcome: "retrieve:unauthorized", wantLog: `"account":"acct_1"`, wantLevel: "ERROR",
		},
		"no such session": {
			account: "acct_1", status: 404, body: refusal("invalid_request_error", "resource_missing"),
			want: verification.ErrStripeUnknown, wantAnswered: "acct_1", wantOutcome: "retrieve:unknown", wantLevel: "DEBUG",
		},
		"an answer": {
			account: "acct_1", status: 200, body: encode(session(nil)), wantAnswered: "acct_1", wantOutcome: "retrieve:ok",
		},
		"no answer": {
			account: "acct_1", status: 503, body: refusal("api_error", ""),
			want: verification.ErrStripeUnavailable, wantOutcome: "retrieve:unavailable", wantLevel: "WARN",
		},
		"at rest": {
			account: "acct_1", status: 200, body: encode(session(nil)), rests: true,
			want: verification.ErrStripeAccountRefused, wantOutcome: "retrieve:account_rests",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, always(test.status, test.body))
			var refused, answered []string
			before := time.Now()
			var c *client
			note := func(to *[]string) func(context.Context, string, time.Time, int64) {
				return func(_ context.Context, account string, begin time.Time, keyID int64) {
					if *to = append(*to, account); begin.Before(before) || begin.After(time.Now()) || keyID != c.KeyID(account) {
						t.Errorf("begin %v, key %d; want the begin of the request and %d", begin, keyID, c.KeyID(account))
					}
				}
			}
			c = dial(t, s.URL, func(config *stripeapi.Config) {
				config.AccountRests = func(context.Context, string, bool) bool { return test.rests }
				noteRefused := note(&refused)
				config.AccountRefused = func(ctx context.Context, account string, begin time.Time, keyID int64) bool {
					noteRefused(ctx, account, begin, keyID)
					return account != "acct_made"
				}
				config.AccountAnswered = note(&answered)
			})
			_, err := c.Retrieve(t.Context(), test.account, id)
			if !errors.Is(err, test.want) {
				t.Errorf("error %v; want %v", err, test.want)
			}
			var refusal *verification.StripeRefusedError
			if errors.Is(err, verification.ErrStripeAccountRefused) && (!errors.As(err, &refusal) || refusal.Code != "account_invalid" || errors.Is(err, verification.ErrStripeUnauthorized)) {
				t.Errorf("error %v; want a refusal with the code account_invalid that is not the key's", err)
			}
			if got := strings.Join(refused, " "); got != test.wantRefused {
				t.Errorf("refused %q; want %q", got, test.wantRefused)
			}
			if got := strings.Join(answered, " "); got != test.wantAnswered {
				t.Errorf("answered %q; want %q", got, test.wantAnswered)
			}
			if got := c.observed(); got != test.wantOutcome {
				t.Errorf("observed %s; want %s", got, test.wantOutcome)
			}
			if log := c.logs.String(); test.wantLevel == "" && log != "" ||
				!strings.Contains(log, test.wantLog) || !strings.Contains(log, test.wantLevel) {
				t.Errorf("log %q; want a line with %q and %q", log, test.wantLevel, test.wantLog)
			}
			wantCalls := 1
			if test.rests {
				wantCalls = 0
			}
			if got := len(s.seen()); got != wantCalls {
				t.Errorf("%d requests; want %d", got, wantCalls)
			}
		})
	}
}

// TestMissingPermissionIsNamed: the error and the log name the permission that a restricted key lacks, and nothing else of
// Stripe's message.
func TestMissingPermissionIsNamed(t *testing.T) {
	message := func(text string) string {
		return encode(fields{"error": fields{"type": "invalid_request_error", "message": text}})
	}
	for name, test := range map[string]struct {
		status     int
		body, want string
	}{
		"as Stripe says it": {403, message("The provided key 'rk_test_planted' does not have the required permissions for this endpoint on account 'acct_planted'. " +
			"Having the 'rak_identity_product_read' permission would allow this request to continue."), "rak_identity_product_read"},
		"one of several": {403, message("Having one of the 'rak_identity_product_write', 'rak_event_read' or 'rak_event_read' permissions planted."),
			"rak_identity_product_write, rak_event_read"},
		"very many":              {403, message("rak_a rak_b rak_c rak_d rak_e planted"), "rak_a, rak_b, rak_c, rak_d"},
		"none":                   {403, message("The planted key may not do that."), ""},
		"a name of another form": {403, message("brak_planted rak-planted rak_PLANTED 'RAK_planted' rak_" + strings.Repeat("x", 81)), ""},
		"no key at all":          {401, message("Invalid API Key: rak_identity_product_read"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, serve(t, always(test.status, test.body)).URL, nil)
			_, err := c.Retrieve(t.Context(), "", id)
			if !errors.Is(err, verification.ErrStripeUnauthorized) {
				t.Errorf("error %v; want %v", err, verification.ErrStripeUnauthorized)
			}
			var lacks *verification.StripePermissionError
			got := ""
			if errors.As(err, &lacks) {
				got = lacks.Permission
			}
			if got != test.want {
				t.Errorf("permission %q; want %q", got, test.want)
			}
			if test.want != "" && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not name %s", err, test.want)
			}
			if logged := `"permission":"` + test.want + `"`; strings.Contains(c.logs.String(), logged) != (test.want != "") {
				t.Errorf("log %s; want %s", c.logs, logged)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("error %q quotes Stripe's message", err)
			}
		})
	}
}

// TestKeyID: the number of a key changes with the key, and not with the account.
func TestKeyID(t *testing.T) {
	current := verification.Secret(key)
	c := dial(t, "http://127.0.0.1:1", func(config *stripeapi.Config) {
		config.Key = func() verification.Secret { return current }
		config.AccountKey = func(account string) verification.Secret {
			return map[string]verification.Secret{"acct_own": "sk_test_own"}[account]
		}
	})
	platform, connected, own := c.KeyID(""), c.KeyID("acct_1"), c.KeyID("acct_own")
	if platform < 1 || platform != connected || own == platform {
		t.Errorf("platform %d, connected %d, own %d; want the first two equal and the third different", platform, connected, own)
	}
	current = "sk_test_rolled"
	if c.KeyID("") == platform || c.KeyID("acct_own") != own {
		t.Error("a new default key must change the platform's number and no other")
	}
}

// TestALookupTakesNoProbe: a lookup does not probe, and a read without budget asks for no probe, so that the probe is left to an
// event. A read that gets no probe uses no budget.
func TestALookupTakesNoProbe(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	var probes int
	free := true
	c := dial(t, s.URL, func(config *stripeapi.Config) {
		config.ReadsPerDay = 1
		config.AccountRests = func(_ context.Context, _ string, canProbe bool) bool { return !canProbe }
		config.AccountProbe = func(context.Context, string) bool { probes++; return free }
	})
	read := func(purpose verification.Purpose, want error, wantProbes int) {
		t.Helper()
		if _, err := c.Read(t.Context(), purpose, "acct_1", id); !errors.Is(err, want) {
			t.Errorf("error %v; want %v", err, want)
		}
		if probes != wantProbes {
			t.Errorf("%d probes; want %d", probes, wantProbes)
		}
	}
	read(verification.PurposeLookup, verification.ErrStripeAccountRefused, 0)
	free = false
	read(verification.PurposeRetry, verification.ErrStripeAccountRefused, 1)
	free = true
	read(verification.PurposeRetry, nil, 2)
	read(verification.PurposeRetry, verification.ErrStripeBudget, 2)
	read(verification.PurposeAmbiguous, nil, 3)
	if got := len(s.seen()); got != 2 {
		t.Errorf("%d requests; want 2", got)
	}
}

// TestNothingIsSentIfTheHeaderIsUnknown: Stripe would answer the wrong header with account_invalid. No probe and no budget is used.
func TestNothingIsSentIfTheHeaderIsUnknown(t *testing.T) {
	s := serve(t, always(200, encode(session(nil))))
	away := errors.New("no store")
	var probes int
	c := dial(t, s.URL, func(config *stripeapi.Config) {
		config.ReadsPerDay = 1
		config.ByContext = func(context.Context, string) (bool, error) { return false, away }
		config.AccountProbe = func(context.Context, string) bool { probes++; return true }
	})
	for range 3 {
		if _, err := c.Retrieve(t.Context(), "acct_1", id); !errors.Is(err, verification.ErrStripeUnavailable) {
			t.Errorf("error %v; want %v", err, verification.ErrStripeUnavailable)
		}
	}
	if got := len(s.seen()); got != 0 || probes != 0 {
		t.Errorf("%d requests and %d probes; want none", got, probes)
	}
	away = nil
	if _, err := c.Retrieve(t.Context(), "acct_1", id); err != nil {
		t.Errorf("with the store: %v", err)
	}
}

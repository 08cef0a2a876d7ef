package stripesim

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const (
	orgKey        = "sk_org_test_simulated"
	sandboxKey    = "sk_test_sandbox"
	restrictedKey = "rk_test_restricted"
)

func newKeyBench(t *testing.T) *bench {
	return newBench(t, Config{Endpoints: hookless, Keys: []Key{
		{Value: orgKey}, {Value: sandboxKey, Account: "acct_sandbox"}, {Value: restrictedKey, Lacks: []string{PermissionReadSessions}},
	}})
}

// read reads a session with a key and pairs of headers, and returns the status and the error.
func (b *bench) read(id, key string, headers ...string) (int, Error) {
	b.t.Helper()
	a := b.call(http.MethodGet, sessionsPath+"/"+id, nil, append([]string{"Authorization", "Bearer " + key}, headers...)...)
	if a.status == http.StatusOK {
		return a.status, Error{}
	}
	return a.status, a.errorOf(b.t)
}

func TestKeysOfOrganizationsNeedAContext(t *testing.T) {
	b := newKeyBench(t)
	sess, err := b.Create(NewSession{Account: "acct_1"})
	must(t, err)
	for name, tc := range map[string]struct {
		headers []string
		want    int
	}{
		"context and version":      {[]string{"Stripe-Context", "acct_1", "Stripe-Version", "2026-08-26.dahlia"}, 200},
		"a path as context":        {[]string{"Stripe-Context", "org_1/acct_1", "Stripe-Version", "2026-08-26.dahlia"}, 200},
		"no context":               {[]string{"Stripe-Version", "2026-08-26.dahlia"}, 400},
		"Stripe-Account":           {[]string{"Stripe-Account", "acct_1", "Stripe-Version", "2026-08-26.dahlia"}, 400},
		"no version":               {[]string{"Stripe-Context", "acct_1"}, 400},
		"another account":          {[]string{"Stripe-Context", "acct_2", "Stripe-Version", "2026-08-26.dahlia"}, 404},
		"no account in the path":   {[]string{"Stripe-Context", "org_1", "Stripe-Version", "2026-08-26.dahlia"}, 403},
		"a context and an account": {[]string{"Stripe-Context", "acct_1", "Stripe-Account", "acct_1", "Stripe-Version", "2026-08-26.dahlia"}, 400},
	} {
		if status, refusal := b.read(sess.ID, orgKey, tc.headers...); status != tc.want {
			t.Errorf("%s: %d %+v, want %d", name, status, refusal, tc.want)
		}
	}
	if status, _ := b.read(sess.ID, testKey, "Stripe-Context", "acct_1"); status != 200 {
		t.Errorf("the platform's key with a context: %d, want 200", status)
	}
}

func TestAKeySeesItsOwnAccount(t *testing.T) {
	b := newKeyBench(t)
	own, err := b.Create(NewSession{Account: "acct_sandbox"})
	must(t, err)
	other, err := b.Create(NewSession{})
	must(t, err)
	for _, tc := range []struct {
		id, key string
		headers []string
		want    int
		code    string
	}{
		{own.ID, sandboxKey, nil, 200, ""},
		{own.ID, sandboxKey, []string{"Stripe-Account", "acct_sandbox"}, 200, ""},
		{own.ID, testKey, nil, 404, "resource_missing"},
		{other.ID, sandboxKey, nil, 404, "resource_missing"},
		{other.ID, sandboxKey, []string{"Stripe-Account", "acct_2"}, 403, "account_invalid"},
		{other.ID, testKey, nil, 200, ""},
	} {
		if status, refusal := b.read(tc.id, tc.key, tc.headers...); status != tc.want || refusal.Code != tc.code {
			t.Errorf("%s with %s %v: %d %+v, want %d %s", tc.id, tc.key, tc.headers, status, refusal, tc.want, tc.code)
		}
	}
	body := b.call(http.MethodGet, eventsPath, nil, "Authorization", "Bearer "+sandboxKey).body
	if !strings.Contains(body, own.ID) || strings.Contains(body, "acct_sandbox") || strings.Contains(body, other.ID) {
		t.Errorf("its events: %s", body)
	}
}

func TestARestrictedKeyIsToldWhatItLacks(t *testing.T) {
	b := newKeyBench(t)
	sess := b.create()
	want := "The provided key 'rk_test_***' does not have the required permissions for this endpoint on account 'acct_1Platform'. " +
		"Having the 'rak_identity_product_read' permission would allow this request to continue."
	if status, refusal := b.read(sess.ID, restrictedKey); status != 403 || refusal.Message != want || refusal.Code != "" {
		t.Errorf("%d %+v", status, refusal)
	}
	if a := b.call("GET", eventsPath, nil, "Authorization", "Bearer "+restrictedKey); a.status != 403 {
		t.Errorf("events need the permission to read sessions: %d", a.status)
	}
	if a := b.call("POST", sessionsPath, url.Values{"type": {"document"}}, "Authorization", "Bearer "+restrictedKey); a.status != 200 {
		t.Errorf("what it has: %d %s", a.status, a.body)
	}
	must(t, b.SetKeys(Key{Value: restrictedKey}))
	if status, refusal := b.read(sess.ID, restrictedKey); status != 200 {
		t.Errorf("with the permission: %d %+v", status, refusal)
	}
	if status, _ := b.read(sess.ID, sandboxKey); status != 401 {
		t.Errorf("a key that is gone: %d", status)
	}
}

func TestAnAccountThatRevokesAccess(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{Endpoints: []Endpoint{{URL: c.URL + "/hook", Secrets: []string{secret}, EnabledEvents: []string{eventDeauthorized}}}})
	b.run()
	sess, err := b.Create(NewSession{Account: "acct_1"})
	must(t, err)
	must(t, b.Deauthorize("acct_1"))
	must(t, b.Deauthorize("acct_1"))
	b.settle()
	hooks := c.hooks()
	if len(hooks) != 1 || hooks[0].kind != eventDeauthorized || !strings.Contains(string(hooks[0].body), `"account": "acct_1"`) {
		t.Errorf("webhooks: %v", hooks)
	}
	status, refusal := b.read(sess.ID, testKey, "Stripe-Account", "acct_1")
	if status != 403 || refusal.Code != "account_invalid" || !strings.Contains(refusal.Message, "'acct_1'") {
		t.Errorf("%d %+v", status, refusal)
	}
	if status, _ := b.read(b.create().ID, testKey); status != 200 {
		t.Errorf("the platform's own: %d", status)
	}
	b.Authorize("acct_1")
	if status, refusal := b.read(sess.ID, testKey, "Stripe-Account", "acct_1"); status != 200 {
		t.Errorf("authorized again: %d %+v", status, refusal)
	}
}

func TestKeysThatCannotBe(t *testing.T) {
	b := newBench(t, Config{})
	for name, key := range map[string]Key{
		"another form":               {Value: "pk_test_1"},
		"an account of another form": {Value: "sk_test_1", Account: "someone"},
		"an organization's account":  {Value: "sk_org_test_1", Account: "acct_1"},
		"a secret key that lacks":    {Value: "sk_test_1", Lacks: []string{PermissionReadEvents}},
	} {
		if b.SetKeys(key) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

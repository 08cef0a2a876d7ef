package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/telemetry"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// accountsRig is a simulated Stripe, which takes any key, with a Redis. Accounts in refused give no access.
type accountsRig struct {
	t     *testing.T
	sim   *stripesim.Sim
	url   string
	redis string

	mu       sync.Mutex
	refused  map[string]bool
	requests []string // the account of each request, by header
}

func newAccountsRig(t *testing.T) *accountsRig {
	t.Helper()
	const key = "sk_test_simulated"
	r := &accountsRig{t: t, redis: redistest.Imitate(t).Addr(), refused: map[string]bool{}}
	var err error
	if r.sim, err = stripesim.New(stripesim.Config{APIKeys: []string{key}, BaseURL: "http://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		header, account := "Stripe-Account", request.Header.Get("Stripe-Account")
		if named := request.Header.Get("Stripe-Context"); named != "" {
			header, account = "Stripe-Context", named
			// The simulation of an account without an organization knows accounts by Stripe-Account.
			request.Header.Set("Stripe-Account", named)
			request.Header.Del("Stripe-Context")
		}
		r.mu.Lock()
		r.requests = append(r.requests, strings.TrimPrefix(header, "Stripe-")+":"+account)
		refuse := r.refused[account]
		r.mu.Unlock()
		if refuse {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"error":{"type":"invalid_request_error","code":"account_invalid"}}`))
			return
		}
		request.Header.Set("Authorization", "Bearer "+key)
		r.sim.Handler().ServeHTTP(w, request)
	}))
	t.Cleanup(api.Close)
	r.url = api.URL
	return r
}

func (r *accountsRig) settings(key, accounts string) *config.Config {
	return &config.Config{
		StripeAPIKey: key, StripeAPIBase: r.url, APIReadsPerDay: 1000, StripeAccounts: accounts,
		RedisURL: "redis://" + r.redis, RedisMode: "standalone", RedisKeyPrefix: "vs:", FeedMaxLen: 1000, MaxRetries: 2,
	}
}

// catchUp does one catch-up, as a process of its own, and returns the requests that it made for accounts.
func (r *accountsRig) catchUp(c *config.Config) (text string, requests []string) {
	r.t.Helper()
	r.mu.Lock()
	r.requests = nil
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	text, err := CatchUp(ctx, c, CatchUpOptions{}, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Errorf("error %v\n%s", err, text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return text, r.requests
}

// TestAnAccountThatLeftRests: the command reconcile is complete without it, and the next one asks nothing about it.
func TestAnAccountThatLeftRests(t *testing.T) {
	r := newAccountsRig(t)
	for _, account := range []string{"", "acct_1", "acct_2"} {
		if _, err := r.sim.Create(stripesim.NewSession{Account: account}); err != nil {
			t.Fatal(err)
		}
	}
	r.refused["acct_1"] = true
	c := r.settings("sk_test_one", "acct_1,acct_2")
	for n, want := range []int{1, 0, 0} {
		text, requests := r.catchUp(c)
		if !strings.HasPrefix(text, "catch-up complete") || !strings.Contains(text, "2 caught up, 0 refused by Stripe, 1 without access") {
			t.Errorf("run %d:\n%s", n, text)
		}
		if got := strings.Count(strings.Join(requests, " "), "acct_1"); got != want {
			t.Errorf("run %d: %d requests for the account that left; want %d", n, got, want)
		}
	}
	r.refused["acct_1"] = false
	c.StripeAPIKey = "sk_test_another"
	if text, _ := r.catchUp(c); !strings.Contains(text, "3 caught up, 0 refused by Stripe\n") {
		t.Errorf("with another key:\n%s", text)
	}
}

// TestAnOrganizationIsCaughtUp: with its key each request names an account in Stripe-Context, and the platform is not read.
func TestAnOrganizationIsCaughtUp(t *testing.T) {
	r := newAccountsRig(t)
	for _, account := range []string{"acct_1", "acct_2"} {
		if _, err := r.sim.Create(stripesim.NewSession{Account: account}); err != nil {
			t.Fatal(err)
		}
	}
	text, requests := r.catchUp(r.settings("sk_org_test_1", "acct_1,acct_2"))
	if !strings.HasPrefix(text, "catch-up complete") || !strings.Contains(text, "2 caught up") {
		t.Errorf("the catch-up:\n%s", text)
	}
	if len(requests) == 0 {
		t.Error("no request")
	}
	for _, request := range requests {
		if request != "Context:acct_1" && request != "Context:acct_2" {
			t.Errorf("request %s; want one that names an account in Stripe-Context", request)
		}
	}
}

// noted is an Applier that sees whether the context is stored when it is called.
type noted struct {
	app  *App
	seen []bool
	err  error
}

func (n *noted) Apply(ctx context.Context, event verification.Event) (verification.Outcome, error) {
	byContext, err := n.app.accounts.ByContext(ctx, event.Object.Account)
	n.seen = append(n.seen, byContext)
	return verification.Outcome{}, errors.Join(n.err, err)
}

// TestAppOfAccounts: an event that names its account by context is applied after that is stored, and an account that revoked
// its access rests at once. Other replicas know both.
func TestAppOfAccounts(t *testing.T) {
	addr := redistest.Imitate(t).Addr()
	replica := func() *App {
		kept, err := redisstore.Open(redisstore.Options{Addrs: []string{addr}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = kept.Close() })
		a := &App{store: kept, clock: time.Now, logger: slog.New(slog.DiscardHandler), metrics: telemetry.NewMetrics()}
		c := &config.Config{StripeAPIKey: "sk_test_one", StripeAccountKeys: "acct_own sk_test_own", RedisURL: "redis://" + addr}
		if a.current, err = config.NewCurrent(c); err != nil {
			t.Fatal(err)
		}
		if err := a.openAccounts(); err != nil {
			t.Fatal(err)
		}
		return a
	}
	a, ctx := replica(), t.Context()
	applier := &noted{app: a, err: errors.New("planted")}
	event := func(account string, byContext bool) verification.Event {
		return verification.Event{Object: verification.Object{ID: "vs_1", Account: account, ByContext: byContext}}
	}
	noter := contextNoter{applier, a.accounts}
	for _, e := range []verification.Event{event("acct_1", true), event("acct_2", false), event("acct_1", false), event("", true)} {
		if _, err := noter.Apply(ctx, e); !errors.Is(err, applier.err) {
			t.Errorf("error %v; want that of the applier", err)
		}
	}
	if got := applier.seen; len(got) != 4 || !got[0] || got[1] || !got[2] || got[3] {
		t.Errorf("known by context: %v; want true, false, true, false", got)
	}
	for _, account := range []string{"acct_2", "acct_own"} {
		if err := a.deauthorized(ctx, account, time.Now().Unix()); err != nil {
			t.Fatal(err)
		}
	}
	for name, app := range map[string]*App{"this replica": a, "another": replica()} {
		if !app.accounts.Rests(ctx, "acct_2", true) || app.accounts.Rests(ctx, "acct_1", true) {
			t.Errorf("%s: want that acct_2 rests and acct_1 does not", name)
		}
		if app.accounts.Rests(ctx, "acct_own", true) {
			t.Errorf("%s: an account with a key of its own rests", name)
		}
		one, errOne := app.accounts.ByContext(ctx, "acct_1")
		two, errTwo := app.accounts.ByContext(ctx, "acct_2")
		if !one || two || errOne != nil || errTwo != nil {
			t.Errorf("%s: want that acct_1 is known by context and acct_2 is not", name)
		}
	}
}

// TestKnownAccounts: those that the settings name, and those with a stored session.
func TestKnownAccounts(t *testing.T) {
	kept, err := redisstore.Open(redisstore.Options{Addrs: []string{redistest.Imitate(t).Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kept.Close() })
	c := &config.Config{StripeAPIKey: "sk_test_one", StripeAccountKeys: "acct_own sk_test_own", StripeAccounts: "acct_set", RedisURL: "redis://127.0.0.1:1"}
	a := &App{config: c, store: kept}
	if a.current, err = config.NewCurrent(c); err != nil {
		t.Fatal(err)
	}
	_, err = ingest.New(ingest.Config{Store: kept, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)}).Apply(t.Context(), verification.Event{
		ID: "evt_1", Type: verification.EventCreated, Source: verification.SourceWebhook, Second: time.Now().Unix(),
		Object: verification.Object{ID: "vs_1", Account: "acct_stored", Type: "document", Status: "requires_input"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string]bool{"acct_own": true, "acct_set": true, "acct_stored": true, "acct_made": false} {
		if known, err := a.knownAccount(t.Context(), account); known != want || err != nil {
			t.Errorf("%s: known %v, error %v; want %v", account, known, err, want)
		}
	}
}

package golive

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/internal/endpoints"
	"example.com/verification-status/server/internal/verification"
)

const (
	// maxSkew is the difference of the clocks that is a problem. Webhooks are refused at five minutes, and can be on their way for long.
	maxSkew = 2 * time.Minute
	// pages bounds the pages of the last day's events that are counted.
	pages = 20
	// maxAccounts bounds the accounts that are tried.
	maxAccounts = 20
	// probeReference is a reference that no session has.
	probeReference = "verification-status-go-live"
)

// Stripe is the part of stripeapi.Client that the checks need.
type Stripe interface {
	endpoints.Stripe
	Events(ctx context.Context, account string, query verification.EventQuery) (verification.EventPage, error)
	FindByReference(ctx context.Context, reference string) (verification.Retrieved, error)
	ProbeWrite(ctx context.Context) error
	Skew(ctx context.Context) (time.Duration, error)
}

// Config says what to check.
type Config struct {
	// Settings are those of serve, loaded.
	Settings *config.Config
	// Stripe is Stripe's API, or nil without an API key.
	Stripe Stripe
	// Redis checks whether Redis can be used. It returns what is risky in its configuration, and an error if Redis must not be used.
	Redis func(context.Context) (risks []string, err error)
	// Clock returns the time.
	Clock func() time.Time
}

// run is one run of the checks.
type run struct {
	report
	config Config
	// found is what Stripe shows of the endpoints, if listed is true.
	found  endpoints.Own
	listed bool
	// yesterday is the number of events of the last day, or -1 if it is not known.
	yesterday int
	more      bool // there were more events than were counted
}

// Run makes all checks and writes the results to out. It returns an error if a check fails.
func Run(ctx context.Context, c Config, out io.Writer) error {
	r := &run{config: c, yesterday: -1}
	for _, warning := range c.Settings.Warnings() {
		r.problem("settings", "%s", warning)
	}
	r.checkMode()
	if c.Stripe == nil {
		r.problem("key", "STRIPE_API_KEY is not set: no retry is granted, nothing is caught up, and thin events are refused. Give a restricted key with the permission Verification Sessions and Reports: Write")
	} else {
		r.checkStripe(ctx)
	}
	r.checkSecrets()
	r.checkRedis(ctx)
	r.listToTick()
	return r.write(out)
}

func (r *run) checkMode() {
	live, warning := r.config.Settings.EffectiveLivemode()
	switch {
	case live == nil:
		r.problem("mode", "%s", warning)
	case *live:
		r.ok("mode", "events of live mode are accepted")
	default:
		r.ok("mode", "events of test mode are accepted: real people need the key and the endpoint of live mode")
	}
}

// checkStripe makes the checks that ask Stripe. If Stripe does not know the key, the others would only repeat that.
func (r *run) checkStripe(ctx context.Context) {
	if key := r.config.Settings.StripeAPIKey; strings.HasPrefix(key, "sk_org_") || strings.HasPrefix(key, "rk_org_") {
		r.skip("key", "the key is of an organization, which has no sessions and endpoints of its own: only the accounts in STRIPE_ACCOUNTS and STRIPE_API_KEY_FILE are tried")
		r.tick("The event destination of the organization is enabled, has the right URL and gets all six types of events.")
		r.checkClock(ctx)
		r.checkAccounts(ctx)
		return
	}
	if !r.checkKey(ctx) {
		return
	}
	r.checkClock(ctx)
	r.checkEndpoint(ctx)
	r.checkAccounts(ctx)
	r.checkReads()
}

// checkKey checks the permissions of the key. It returns false if Stripe gives no answer, or refuses everything.
func (r *run) checkKey(ctx context.Context) bool {
	stripe := r.config.Stripe
	_, err := stripe.FindByReference(ctx, probeReference)
	if errors.Is(err, verification.ErrStripeUnavailable) {
		r.problem("key", "Stripe gives no answer: see whether STRIPE_API_BASE is right, and whether this machine reaches Stripe: %v", err)
		return false
	}
	read := err == nil || errors.Is(err, verification.ErrStripeUnknown)
	eventsErr := r.countEvents(ctx)
	if !read && errors.Is(eventsErr, verification.ErrStripeUnauthorized) {
		r.problem("key", "Stripe refuses the API key: it is revoked, expired or not Stripe's, or has no permission at all: %v", err)
		return false
	}
	kind := "secret"
	if strings.HasPrefix(r.config.Settings.StripeAPIKey, "rk_") {
		kind = "restricted"
	}
	r.ok("key", "Stripe accepts the %s key", kind)
	r.permission("Verification Sessions and Reports: Read", "sessions are read", err)
	r.permission("Verification Sessions and Reports: Write", "retries get a link, and closed sessions are replaced", stripe.ProbeWrite(ctx))
	r.permission("Events: Read", "missed events are caught up", eventsErr)
	return true
}

// permission reports a permission by the error of a call that needs it.
func (r *run) permission(name, use string, err error) {
	switch {
	case err == nil, errors.Is(err, verification.ErrStripeUnknown):
		r.ok("permission", "%s: %s", name, use)
	case errors.Is(err, verification.ErrStripeUnauthorized):
		r.problem("permission", "%s is missing: give it to the restricted key in Stripe's Dashboard: %v", name, err)
	default:
		r.problem("permission", "%s: Stripe gave no usable answer: %v", name, err)
	}
}

// countEvents counts the events of the last day, on as many pages as are read.
func (r *run) countEvents(ctx context.Context) error {
	query, counted := verification.EventQuery{From: r.config.Clock().Add(-24 * time.Hour).Unix()}, 0
	for range pages {
		page, err := r.config.Stripe.Events(ctx, "", query)
		if err != nil {
			return err
		}
		counted += len(page.Events)
		r.yesterday, r.more, query.After = counted, page.More, page.Last
		if !page.More {
			return nil
		}
	}
	return nil
}

func (r *run) checkClock(ctx context.Context) {
	skew, err := r.config.Stripe.Skew(ctx)
	switch {
	case err != nil:
		r.problem("clock", "Stripe's answer has no time: %v", err)
	case skew.Abs() >= maxSkew:
		r.problem("clock", "this machine's clock differs from Stripe's by %v, and webhooks are refused at 5m: set the clock, by NTP", skew)
	default:
		r.ok("clock", "it differs from Stripe's by %v", skew)
	}
}

func (r *run) checkEndpoint(ctx context.Context) {
	all, note, err := endpoints.Read(ctx, r.config.Stripe)
	s := r.config.Settings
	if err != nil {
		r.skip("endpoint", "%v. With a key that may read webhook endpoints: server webhook-endpoint check --url URL", err)
		r.tick("The webhook endpoint at Stripe is enabled, has the right URL and gets all six types of events: server webhook-endpoint check --url URL, with a key that may read webhook endpoints.")
		return
	}
	if note != "" {
		r.skip("endpoint", "%s", note)
	}
	problems, lines := endpoints.Judge(all, s.WebhookURL, s.WebhookPath)
	if hosts := endpoints.Hosts(all, s.WebhookPath); s.WebhookURL == "" && len(hosts) > 1 {
		r.skip("endpoint", "endpoints of several hosts have the path %s (%s): set WEBHOOK_URL to the URL of this server's", s.WebhookPath, strings.Join(hosts, ", "))
		for _, text := range lines {
			r.skip("endpoint", "%s", text)
		}
		return
	}
	if note != "" && problems&endpoints.ProblemMissing != 0 {
		r.tick("The webhook endpoint at Stripe is enabled, has the right URL and gets all six types of events: it can be in the list that could not be read.")
		return
	}
	for _, text := range lines {
		r.problem("endpoint", "%s", text)
	}
	r.found, r.listed = endpoints.Mine(all, s.WebhookURL, s.WebhookPath), true
	switch {
	case problems == 0 && r.found.Enabled == 0:
		r.skip("endpoint", "Stripe sends the events through a destination whose end it does not show")
		r.tick("The events of the destination reach the server's URL, signed by a secret in STRIPE_WEBHOOK_SECRET.")
	case problems == 0:
		r.ok("endpoint", "enabled, with all types of events: %s", r.found)
		r.ok("account", "the API key and the endpoint are of one account and mode")
	}
}

// checkAccounts reads the events of each connected account that is named or has an API key of its own, which is then used.
func (r *run) checkAccounts(ctx context.Context) {
	keyed := r.config.Settings.KeyedAccounts()
	accounts := slices.Concat(r.config.Settings.Accounts(), keyed)
	slices.Sort(accounts)
	accounts = slices.Compact(accounts)
	for _, account := range accounts[:min(len(accounts), maxAccounts)] {
		_, err := r.config.Stripe.Events(ctx, account, verification.EventQuery{From: r.config.Clock().Add(-time.Hour).Unix()})
		if err == nil {
			r.ok("account", "%s gives access", account)
			continue
		}
		if slices.Contains(keyed, account) {
			r.problem("account", "the key of %s in STRIPE_API_KEY_FILE gives no access: correct its line: %v", account, err)
			continue
		}
		r.problem("account", "%s gives no access: let it connect again, or take it out of STRIPE_ACCOUNTS: %v", account, err)
	}
	if left := len(accounts) - maxAccounts; left > 0 {
		r.skip("account", "not all accounts were tried: %s left", plural(left, "account"))
	}
}

// checkReads says what the style of the endpoint costs.
func (r *run) checkReads() {
	count := "an unknown number of Identity events"
	if r.yesterday >= 0 {
		count = plural(r.yesterday, "Identity event")
		if r.more {
			count = "over " + count
		}
	}
	switch {
	case !r.listed:
		r.skip("reads", "the style of the endpoint is not known; the account had %s in the last 24 hours. Each thin event costs a read at Stripe, a snapshot event none", count)
	case r.found.Enabled == 0:
		r.skip("reads", "no endpoint that is enabled is known; the account had %s in the last 24 hours. Each thin event costs a read at Stripe, a snapshot event none", count)
	case r.found.Thin == 0:
		r.ok("reads", "snapshot events cost no read at Stripe; the account had %s in the last 24 hours", count)
	case r.found.Snapshot > 0:
		r.ok("reads", "both styles come; the account had %s in the last 24 hours. Those whose thin event comes before the snapshot event can cost a read each, beyond API_READS_PER_DAY=%d of each replica", count, r.config.Settings.APIReadsPerDay)
	default:
		r.ok("reads", "thin events cost a read each; the account had %s in the last 24 hours. That is about the number of reads a day, beyond API_READS_PER_DAY=%d of each replica", count, r.config.Settings.APIReadsPerDay)
	}
}

func (r *run) checkSecrets() {
	secrets := len(r.config.Settings.WebhookSecrets())
	switch {
	case r.listed && secrets < r.found.Enabled:
		r.problem("secrets", "STRIPE_WEBHOOK_SECRET has %s, and %d endpoints send to this server: each endpoint has its own. List all of them, separated by commas", plural(secrets, "signing secret"), r.found.Enabled)
	default:
		r.ok("secrets", "STRIPE_WEBHOOK_SECRET has %s in Stripe's form", plural(secrets, "signing secret"))
	}
}

func (r *run) checkRedis(ctx context.Context) {
	risks, err := r.config.Redis(ctx)
	if err != nil {
		r.problem("redis", "%v", err)
		return
	}
	for _, risk := range risks {
		r.problem("redis", "%s", risk)
	}
	if len(risks) == 0 {
		r.ok("redis", "it answers, evicts nothing and writes its data to disk")
	}
}

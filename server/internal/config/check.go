package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxWebhookSecrets     = 10  // each costs a hash for a forged webhook
	maxWebhookSecretBytes = 255 // Stripe's have 38
	maxKeyPrefixBytes     = 64
	maxNameBytes          = 255
	maxMetadataKeyBytes   = 40 // Stripe's limit: docs.stripe.com/api/metadata
)

// checkListeners looks at the addresses that the server listens on.
func (c *Config) checkListeners(found *problems) {
	type listener struct{ env, host, port string }
	var listeners []listener
	for _, l := range []struct{ env, addr string }{
		{"GRPC_ADDR", c.GRPCAddr}, {"WEBHOOK_ADDR", c.WebhookAddr}, {"ADMIN_ADDR", c.AdminAddr},
	} {
		host, port, err := net.SplitHostPort(l.addr)
		if err != nil || hasSpace(host) || !isPort(port, 0) {
			found.add("%s must be HOST:PORT or :PORT with a port from 0 to 65535, such as 127.0.0.1:50051", l.env)
			continue
		}
		listeners = append(listeners, listener{l.env, host, port})
		if l.env == "GRPC_ADDR" && !c.GRPCInsecure && !isLoopback(host) {
			found.add("GRPC_ADDR is reachable from other machines without encryption: listen on 127.0.0.1, or set GRPC_INSECURE=true where a service mesh encrypts")
		}
	}
	for i, a := range listeners {
		for _, b := range listeners[i+1:] {
			if a.port == b.port && a.port != "0" && (a.host == b.host || isAnyHost(a.host) || isAnyHost(b.host)) {
				found.add("%s and %s are the same address: give each its own port", a.env, b.env)
			}
		}
	}
}

func (c *Config) checkRedis(found *problems, urlUnread bool) {
	c.RedisMode = strings.ToLower(c.RedisMode)
	if !slices.Contains([]string{RedisStandalone, RedisSentinel, RedisCluster}, c.RedisMode) {
		found.add("REDIS_MODE must be standalone, sentinel or cluster")
	}
	switch {
	case c.RedisMode == RedisSentinel && c.RedisSentinelMaster == "":
		found.add("REDIS_SENTINEL_MASTER is not set: with REDIS_MODE=sentinel give the master's name, such as mymaster")
	case c.RedisMode != RedisSentinel && c.RedisSentinelMaster != "":
		found.add("REDIS_SENTINEL_MASTER is set, but REDIS_MODE is not sentinel: set that too, or drop the master")
	case len(c.RedisSentinelMaster) > maxNameBytes || hasSpace(c.RedisSentinelMaster):
		found.add("REDIS_SENTINEL_MASTER must be a name without spaces, of %d bytes at the most", maxNameBytes)
	}
	if c.RedisKeyPrefix == "" || len(c.RedisKeyPrefix) > maxKeyPrefixBytes || hasSpace(c.RedisKeyPrefix) || strings.ContainsAny(c.RedisKeyPrefix, "{}") {
		// Braces would take the place of the hash tag that keeps a session and its feed in one slot.
		found.add("REDIS_KEY_PREFIX must have 1 to %d bytes, without braces and spaces", maxKeyPrefixBytes)
	}
	if c.RedisCAFile != "" {
		if _, err := readAuthorities(c.RedisCAFile); err != nil {
			found.add("REDIS_CA_FILE: %w", err)
		}
	}
	if urlUnread {
		return
	}
	if c.RedisURL == "" {
		found.add("REDIS_URL is not set: give the address of Redis, such as redis://127.0.0.1:6379, or name a file that holds it in REDIS_URL_FILE")
		return
	}
	target, err := c.RedisTarget()
	switch {
	case err != nil:
		found.add("REDIS_URL %w", err)
	case c.RedisCAFile != "" && !target.TLS:
		found.add("REDIS_CA_FILE is set, but REDIS_URL is not rediss://: use that, or drop the file")
	case c.RedisMode == RedisStandalone && len(target.Addrs) > 1:
		found.add("REDIS_URL has several addresses: set REDIS_MODE=cluster or REDIS_MODE=sentinel, or keep one")
	case c.RedisMode == RedisCluster && target.DB != 0:
		found.add("REDIS_URL names database %d, but a Redis Cluster has only database 0: drop it", target.DB)
	}
}

func (c *Config) checkStripe(found *problems, secretUnread bool) {
	if key := c.StripeAPIKey; key != "" {
		switch {
		case strings.HasPrefix(key, "pk_"):
			found.add("STRIPE_API_KEY is a publishable key: give a secret (sk_...) or restricted (rk_...) one")
		case !strings.HasPrefix(key, "sk_") && !strings.HasPrefix(key, "rk_"):
			found.add("STRIPE_API_KEY is no key of Stripe's: a secret key begins with sk_, a restricted one with rk_")
		case len(key) > maxNameBytes || hasSpace(key):
			found.add("STRIPE_API_KEY has spaces or line breaks, or over %d bytes: give the key and nothing else", maxNameBytes)
		}
	}
	c.checkStripeBase(found)
	if !secretUnread {
		c.checkWebhookSecrets(found)
	}
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
		switch {
		case secret == "":
			// An empty secret verifies whatever is signed with an empty key: an open door.
			found.add("STRIPE_WEBHOOK_SECRET: secret %d of %d is empty: remove the comma too much", i+1, len(secrets))
		case len(secret) > maxWebhookSecretBytes || hasSpace(secret):
			found.add("STRIPE_WEBHOOK_SECRET: secret %d of %d has spaces or line breaks, or over %d bytes: separate secrets by commas", i+1, len(secrets), maxWebhookSecretBytes)
		}
	}
}

func (c *Config) checkLimits(found *problems) {
	for _, n := range []struct {
		env             string
		value, min, max Count
	}{
		{"MAX_RETRIES", c.MaxRetries, 0, 100},
		{"API_READS_PER_DAY", c.APIReadsPerDay, 1, 1_000_000},
		{"REDIS_WAIT_REPLICAS", c.RedisWaitReplicas, 0, 10},
		{"FEED_MAX_LEN", c.FeedMaxLen, 1000, 10_000_000},
		{"WEBHOOK_MAX_CONNECTIONS", c.WebhookMaxConnections, 10, 100_000},
		{"WEBHOOK_MAX_IN_FLIGHT", c.WebhookMaxInFlight, 1, 10_000},
		{"GRPC_MAX_CONNECTIONS", c.GRPCMaxConnections, 10, 100_000},
		{"GRPC_MAX_IN_FLIGHT", c.GRPCMaxInFlight, 1, 100_000},
	} {
		if n.value < n.min || n.value > n.max {
			found.add("%s must be a whole number from %d to %d", n.env, n.min, n.max)
		}
	}
	for _, d := range []struct {
		env      string
		value    Duration
		min, max time.Duration
		written  string
		off      bool // 0 is allowed too
	}{
		{"DRAIN_TIMEOUT", c.DrainTimeout, time.Second, 10 * time.Minute, "from 1s to 10m, such as 25s", false},
		{"REDIS_WAIT_TIMEOUT", c.RedisWaitTimeout, 10 * time.Millisecond, 5 * time.Second, "from 10ms to 5s, such as 1s", false},
		{"RECONCILE_INTERVAL", c.ReconcileInterval, 10 * time.Second, 24 * time.Hour, "from 10s to 24h, such as 15m", false},
		{"STREAM_MAX_AGE", c.StreamMaxAge, time.Second, 24 * time.Hour, "from 1s to 24h, such as 30m", false},
		{"FEED_MAX_AGE", c.FeedMaxAge, time.Hour, 365 * 24 * time.Hour, "from 1h to 8760h, such as 168h, or 0s for no bound", true},
		{"SETTLED_TTL", c.SettledTTL, 24 * time.Hour, 10 * 365 * 24 * time.Hour, "from 24h to 87600h, such as 2160h, or 0s for ever", true},
	} {
		if d.off && d.value == 0 {
			continue
		}
		if time.Duration(d.value) < d.min || time.Duration(d.value) > d.max {
			found.add("%s must be a duration %s", d.env, d.written)
		}
	}
	if key := c.ReferenceMetadataKey; len(key) > maxMetadataKeyBytes || strings.ContainsAny(key, "[]") {
		found.add("REFERENCE_METADATA_KEY must be a key that Stripe allows: no square brackets, %d bytes at the most", maxMetadataKeyBytes)
	}
	c.LogLevel, c.LogFormat = strings.ToLower(c.LogLevel), strings.ToLower(c.LogFormat)
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		found.add("LOG_LEVEL must be debug, info, warn or error")
	}
	if !slices.Contains([]string{"json", "text"}, c.LogFormat) {
		found.add("LOG_FORMAT must be json or text")
	}
}

// isPort says whether the text is a port number in decimal digits, lowest or above.
func isPort(text string, lowest uint64) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n >= lowest
}

// isLoopback says whether the host is this machine and nothing else. An empty host is every
// interface. Of names only localhost counts: what others resolve to may change.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// isAnyHost says whether listening on the host takes the port on every interface.
func isAnyHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// hasSpace says whether the text has a space or a control character: a sign of a bad paste.
func hasSpace(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

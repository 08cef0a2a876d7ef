package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"example.com/verification-status/server/internal/verification"
)

const (
	maxKeyPrefixBytes   = 64
	maxNameBytes        = 255
	maxMetadataKeyBytes = 40 // Stripe's limit: docs.stripe.com/api/metadata
)

// checkListeners checks the addresses that the server listens on, and fills in the default of GRPC_ADDR.
func (c *Config) checkListeners(found *problems) {
	for _, b := range []struct {
		env   string
		value Bool
	}{{"GRPC_INSECURE", c.GRPCInsecure}, {"GRPC_REFLECTION", c.GRPCReflection}} {
		if b.value != True && b.value != False {
			found.add("%s must be true or false", b.env)
		}
	}
	if c.GRPCAddr == "" {
		c.GRPCAddr = "127.0.0.1:50051"
		if c.GRPCTLS() {
			c.GRPCAddr = ":50051"
		}
	}
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
		if l.env == "GRPC_ADDR" && !isLoopback(host) {
			c.checkReachable(found)
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
		found.add("REDIS_SENTINEL_MASTER is not set: with REDIS_MODE=sentinel give the name of the master, such as mymaster")
	case c.RedisMode != RedisSentinel && c.RedisSentinelMaster != "":
		found.add("REDIS_SENTINEL_MASTER is set, but REDIS_MODE is not sentinel: set REDIS_MODE=sentinel, or remove the master")
	case len(c.RedisSentinelMaster) > maxNameBytes || hasSpace(c.RedisSentinelMaster):
		found.add("REDIS_SENTINEL_MASTER must be a name without spaces, of at most %d bytes", maxNameBytes)
	}
	if c.RedisKeyPrefix == "" || len(c.RedisKeyPrefix) > maxKeyPrefixBytes || hasSpace(c.RedisKeyPrefix) || strings.ContainsAny(c.RedisKeyPrefix, "{}") {
		// Braces would replace the hash tag that keeps a session and its feed in one slot.
		found.add("REDIS_KEY_PREFIX must have 1 to %d bytes, without braces and spaces", maxKeyPrefixBytes)
	}
	if c.RedisCAFile != "" {
		text, err := ReadFile(c.RedisCAFile)
		if err == nil {
			_, err = tlsWith(text)
		}
		if err != nil {
			found.add("REDIS_CA_FILE: %w", err)
		}
	}
	if urlUnread {
		return
	}
	if c.RedisURL == "" {
		found.add("REDIS_URL is not set: give the address of Redis, such as redis://127.0.0.1:6379, or name a file with it in REDIS_URL_FILE")
		return
	}
	target, err := c.RedisTarget()
	switch {
	case err != nil:
		found.add("REDIS_URL %w", err)
	case c.RedisCAFile != "" && !target.TLS:
		found.add("REDIS_CA_FILE is set, but REDIS_URL is not rediss://: use rediss://, or remove the file")
	case c.RedisMode == RedisStandalone && len(target.Addrs) > 1:
		found.add("REDIS_URL has several addresses: set REDIS_MODE=cluster or REDIS_MODE=sentinel, or give one address")
	case c.RedisMode == RedisCluster && target.DB != 0:
		found.add("REDIS_URL names database %d, but a Redis Cluster has only database 0: remove the number", target.DB)
	}
}

// checkSentinel checks the credentials for the Sentinels.
func (c *Config) checkSentinel(found *problems, passwordUnread bool) {
	user, password := c.RedisSentinelUsername, c.RedisSentinelPassword
	for _, credential := range []struct{ env, value string }{{"REDIS_SENTINEL_USERNAME", user}, {"REDIS_SENTINEL_PASSWORD", password}} {
		switch {
		case credential.value == "":
		case c.RedisMode != RedisSentinel:
			found.add("%s is set, but REDIS_MODE is not sentinel: set REDIS_MODE=sentinel, or remove it", credential.env)
		case strings.ContainsFunc(credential.value, unicode.IsControl):
			found.add("%s has a line break or another control character: give one line of text", credential.env)
		}
	}
	switch {
	case c.RedisMode != RedisSentinel || user == "":
	case password == "" && !passwordUnread:
		found.add("REDIS_SENTINEL_USERNAME is set without a password: set REDIS_SENTINEL_PASSWORD too, or remove the user")
	case len(user) > maxNameBytes || strings.Contains(user, " "):
		found.add("REDIS_SENTINEL_USERNAME must be a name without spaces, of at most %d bytes", maxNameBytes)
	}
}

// maxConnections is the highest value of GRPC_MAX_CONNECTIONS.
const maxConnections = 100_000

func (c *Config) checkLimits(found *problems) {
	if c.GRPCMaxConnections == 0 {
		// Enough for a proxy that opens a connection for each watch, and for other calls.
		c.GRPCMaxConnections = min(c.GRPCMaxStreams+1000, maxConnections)
	}
	for _, n := range []struct {
		env             string
		value, min, max Count
	}{
		{"MAX_RETRIES", c.MaxRetries, 0, 100},
		{"COMPARISON_LIMIT", c.ComparisonLimit, 0, 1000},
		{"CACHE_SESSIONS", c.CacheSessions, 1000, 10_000_000},
		{"API_READS_PER_DAY", c.APIReadsPerDay, 1, 1_000_000},
		{"REDIS_WAIT_REPLICAS", c.RedisWaitReplicas, 0, 10},
		{"RECORD_FORMAT", c.RecordFormat, 1, 3},
		{"FEED_MAX_LEN", c.FeedMaxLen, 1000, 10_000_000},
		{"GRPC_MAX_STREAMS", c.GRPCMaxStreams, 1, 1_000_000},
		{"CALLER_SHARE_PERCENT", c.CallerSharePercent, 0, 100},
		{"CALLER_MAX_STREAMS", c.CallerMaxStreams, 0, 1_000_000},
		{"CALLER_RATE", c.CallerRate, 0, 1_000_000},
		{"WEBHOOK_MAX_CONNECTIONS", c.WebhookMaxConnections, 10, 100_000},
		{"WEBHOOK_MAX_IN_FLIGHT", c.WebhookMaxInFlight, 1, 10_000},
		{"GRPC_MAX_CONNECTIONS", c.GRPCMaxConnections, 10, maxConnections},
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
		off      bool // 0 is allowed too, and means that the limit is off
	}{
		{"DRAIN_TIMEOUT", c.DrainTimeout, time.Second, 10 * time.Minute, "from 1s to 10m, such as 25s", false},
		{"REDIS_WAIT_TIMEOUT", c.RedisWaitTimeout, 10 * time.Millisecond, 5 * time.Second, "from 10ms to 5s, such as 1s", false},
		{"RECONCILE_INTERVAL", c.ReconcileInterval, 10 * time.Second, 24 * time.Hour, "from 10s to 24h, such as 15m", false},
		{"STREAM_MAX_AGE", c.StreamMaxAge, time.Second, 24 * time.Hour, "from 1s to 24h, such as 30m", false},
		{"FEED_MAX_AGE", c.FeedMaxAge, time.Hour, 365 * 24 * time.Hour, "from 1h to 8760h, such as 168h, or 0s for no bound", true},
		{"RETRY_COOLDOWN", c.RetryCooldown, time.Second, 720 * time.Hour, "from 1s to 720h, such as 10m, or 0s for none", true},
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
		found.add("REFERENCE_METADATA_KEY must be a key that Stripe allows: no square brackets, at most %d bytes", maxMetadataKeyBytes)
	}
	if c.ReferenceMetadataKey == verification.ReplacesKey {
		found.add("REFERENCE_METADATA_KEY must not be %s: this service keeps there the id of the session that was replaced", verification.ReplacesKey)
	}
	c.LogLevel, c.LogFormat = strings.ToLower(c.LogLevel), strings.ToLower(c.LogFormat)
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		found.add("LOG_LEVEL must be debug, info, warn or error")
	}
	if !slices.Contains([]string{"json", "text"}, c.LogFormat) {
		found.add("LOG_FORMAT must be json or text")
	}
}

// isPort reports whether the text is a port number in decimal digits, and not below lowest.
func isPort(text string, lowest uint64) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n >= lowest
}

// isLoopback reports whether the host is this machine and nothing else. An empty host is every interface. The only name
// that counts is localhost: the address of another name can change.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// isAnyHost reports whether a listener on the host takes the port on every interface.
func isAnyHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// OwnHost returns the host at which a process on the same machine reaches a server that listens on host. For every interface that is
// 127.0.0.1, also for [::], which takes IPv4 too. It is not localhost: a container without /etc/hosts does not know this name.
func OwnHost(host string) string {
	if isAnyHost(host) {
		return "127.0.0.1"
	}
	return host
}

// hasSpace reports whether the text has a space or a control character, which a bad paste leaves.
func hasSpace(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

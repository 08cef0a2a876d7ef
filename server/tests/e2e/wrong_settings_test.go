package e2e

import (
	"crypto/x509"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/server/internal/config"
	"example.com/verification-status/server/tests/rig"
)

// wrongSetting is one mistake of an operator.
type wrongSetting struct {
	env, value string
	// beside has the settings with which it is the only mistake.
	beside []string
	// line is the beginning of its sentence, if that is more than the name.
	line string
	// alone: beside the other mistakes it is not a mistake, or a mistake of another setting.
	alone bool
}

// wrongSettings has a mistake for each setting, and for OpenTelemetry's settings.
func wrongSettings(t *testing.T) []wrongSetting {
	own := certificate(t, nil, func(*x509.Certificate) {})
	chain, key := pemOf(t, own)
	tls := []string{"GRPC_TLS_CERT_FILE=" + writeFile(t, "crt", chain), "GRPC_TLS_KEY_FILE=" + writeFile(t, "key", key)}
	policy := "GRPC_AUTHZ_POLICY_FILE=" + writeFile(t, "policy", readmePolicy(t))
	authorities := "GRPC_CLIENT_CA_FILE=" + writeFile(t, "ca", chain)
	collector := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"}
	sentinel := []string{"REDIS_MODE=sentinel", "REDIS_SENTINEL_MASTER=m"}
	const pair = "GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE:"
	return []wrongSetting{
		{env: "GRPC_ADDR", value: "nowhere"}, {env: "WEBHOOK_ADDR", value: ":http"}, {env: "ADMIN_ADDR", value: ":99999"},
		{env: "WEBHOOK_PATH", value: "webhook"}, {env: "WEBHOOK_URL", value: "verification.example.com/webhook"},
		{env: "GRPC_INSECURE", value: "maybe"}, {env: "GRPC_REFLECTION", value: "maybe"},
		{env: "GRPC_TLS_CERT_FILE", value: "/nowhere", beside: tls[1:], line: pair},
		{env: "GRPC_TLS_KEY_FILE", value: "/nowhere", beside: tls[:1:1], line: pair},
		{env: "GRPC_CLIENT_CA_FILE", value: "/nowhere", beside: append(tls, policy)},
		{env: "GRPC_AUTHZ_POLICY_FILE", value: "/nowhere", beside: append(tls, authorities)},
		{env: "GRPC_TOKENS_FILE", value: "/nowhere"},
		{env: "GRPC_MAX_STREAMS", value: "0"}, {env: "CALLER_SHARE_PERCENT", value: "25%"}, {env: "CALLER_MAX_STREAMS", value: "many"}, {env: "CALLER_RATE", value: "-1"},
		{env: "WEBHOOK_MAX_CONNECTIONS", value: "9"}, {env: "WEBHOOK_MAX_IN_FLIGHT", value: "all"},
		{env: "GRPC_MAX_CONNECTIONS", value: "1e3"}, {env: "GRPC_MAX_IN_FLIGHT", value: ""},
		{env: "REDIS_URL", value: "http://h"}, {env: "REDIS_URL_FILE", value: "/nowhere", beside: []string{"REDIS_URL="}, alone: true},
		{env: "REDIS_MODE", value: "ring"}, {env: "REDIS_SENTINEL_MASTER", value: "m"}, {env: "REDIS_KEY_PREFIX", value: "{x}"},
		{env: "REDIS_SENTINEL_USERNAME", value: "u", beside: sentinel}, {env: "REDIS_SENTINEL_PASSWORD", value: "p"},
		{env: "REDIS_SENTINEL_USERNAME_FILE", value: "/nowhere", beside: append(sentinel, "REDIS_SENTINEL_PASSWORD=p"), alone: true},
		{env: "REDIS_SENTINEL_PASSWORD_FILE", value: "/nowhere", beside: append(sentinel, "REDIS_SENTINEL_USERNAME=u"), alone: true},
		{env: "REDIS_CA_FILE", value: "/nowhere", beside: []string{"REDIS_URL=rediss://h"}},
		{env: "REDIS_WAIT_REPLICAS", value: "-1"}, {env: "REDIS_WAIT_TIMEOUT", value: "0s"},
		{env: "RECORD_FORMAT", value: "new"},
		{env: "FEED_MAX_LEN", value: "999"}, {env: "FEED_MAX_AGE", value: "1d"}, {env: "SETTLED_TTL", value: "1h"},
		{env: "STRIPE_API_KEY", value: "pk_test_1"}, {env: "STRIPE_API_KEY_FILE", value: "/nowhere", alone: true},
		{env: "STRIPE_SENSITIVE_API_KEY", value: "sk_test_1", beside: []string{"STRIPE_API_KEY=sk_test_1"}},
		{env: "STRIPE_SENSITIVE_API_KEY_FILE", value: "/nowhere", alone: true},
		{env: "STRIPE_API_BASE", value: "http://example.com"}, {env: "STRIPE_WEBHOOK_SECRET", value: rig.WebhookSecret + ",sk_test_1"},
		{env: "STRIPE_WEBHOOK_SECRET_FILE", value: "/nowhere", beside: []string{"STRIPE_WEBHOOK_SECRET="}, alone: true},
		{env: "LIVEMODE", value: "maybe"}, {env: "STRIPE_ACCOUNTS", value: "1"}, {env: "API_READS_PER_DAY", value: "0"},
		{env: "RECONCILE_INTERVAL", value: "15"}, {env: "CACHE_SESSIONS", value: "few"}, {env: "MAX_RETRIES", value: "many"},
		{env: "COMPARISON_LIMIT", value: "1001"}, {env: "RETRY_COOLDOWN", value: "1"}, {env: "RETRY_DENY_CODES", value: ""}, {env: "REFERENCE_METADATA_KEY", value: "a[b]"},
		{env: "STREAM_MAX_AGE", value: "x"}, {env: "DRAIN_TIMEOUT", value: "1"}, {env: "LOG_LEVEL", value: "loud"}, {env: "LOG_FORMAT", value: "xml"},

		{env: "OTEL_EXPORTER_OTLP_ENDPOINT", value: "collector:4317"},
		{env: "OTEL_EXPORTER_OTLP_PROTOCOL", value: "http/json", beside: collector},
		{env: "OTEL_EXPORTER_OTLP_HEADERS", value: "token", beside: collector},
		{env: "OTEL_TRACES_SAMPLER", value: "sometimes", beside: collector},
		{env: "OTEL_TRACES_SAMPLER_ARG", value: "2", beside: append(collector, "OTEL_TRACES_SAMPLER=traceidratio"), alone: true},
		{env: "OTEL_RESOURCE_ATTRIBUTES", value: "production", beside: collector},
	}
}

// refusal returns the lines of a server that refuses to start: one for each problem.
func refusal(t *testing.T, env []string) []string {
	t.Helper()
	p := rig.Launch(t, env, "serve")
	if code := p.Exit(rig.Soon); code != 1 || p.Stdout.String() != "" {
		t.Errorf("exit code %d, and on standard output %q", code, p.Stdout.String())
	}
	lines := strings.Split(strings.TrimSpace(p.Stderr.String()), "\n")
	if lines[0] != "the server cannot start with these settings:" {
		t.Errorf("it begins with %q", lines[0])
	}
	return lines[1:]
}

// names says whether a line is about a setting.
func (w wrongSetting) names(line string) bool {
	if w.line != "" {
		return strings.HasPrefix(line, w.line)
	}
	return strings.HasPrefix(line, w.env+" ") || strings.HasPrefix(line, w.env+":")
}

// TestServeNamesEachWrongSetting in one sentence, and does not start with it.
func TestServeNamesEachWrongSetting(t *testing.T) {
	wrong := wrongSettings(t)
	for _, setting := range config.Table() {
		if !slices.ContainsFunc(wrong, func(w wrongSetting) bool { return w.env == setting.Env }) {
			t.Errorf("say what a wrong %s is", setting.Env)
		}
	}
	for _, w := range wrong {
		t.Run(w.env, func(t *testing.T) {
			t.Parallel()
			lines := refusal(t, rig.Settings("127.0.0.1:1", append(w.beside, w.env+"="+w.value)...))
			if len(lines) != 1 || !w.names(lines[0]) {
				t.Errorf("it says:\n%s", strings.Join(lines, "\n"))
			}
		})
	}
}

// TestServeNamesEveryWrongSettingAtOnce: numbers, switches and files alike, and missing settings.
func TestServeNamesEveryWrongSettingAtOnce(t *testing.T) {
	var env []string
	var want []wrongSetting
	for _, w := range wrongSettings(t) {
		if !w.alone {
			env, want = append(env, w.env+"="+w.value), append(want, w)
		}
	}
	lines := refusal(t, env)
	for _, w := range want {
		if !slices.ContainsFunc(lines, w.names) {
			t.Errorf("nothing is said of %s", w.env)
		}
	}
	for _, line := range lines {
		if !slices.ContainsFunc(want, func(w wrongSetting) bool { return w.names(line) }) {
			t.Errorf("a line of none: %s", line)
		}
	}
	missing := refusal(t, nil)
	for i, setting := range []string{"REDIS_URL ", "STRIPE_WEBHOOK_SECRET "} {
		if len(missing) != 2 || !strings.HasPrefix(missing[i], setting) {
			t.Errorf("without settings it says:\n%s", strings.Join(missing, "\n"))
		}
	}
}

// TestServeWarnsOfSettingsThatAreUnsafeInSomePlaces: it starts, and says each in one sentence without a secret.
// 0.0.0.0 leads to this machine, but no setting says that it always does.
func TestServeWarnsOfSettingsThatAreUnsafeInSomePlaces(t *testing.T) {
	const secret = "PlantedSecret0123456789"
	env := rig.Settings("127.0.0.1:1", "REDIS_URL=redis://user:"+secret+"@0.0.0.0:1",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://0.0.0.0:1", "OTEL_EXPORTER_OTLP_HEADERS=authorization="+secret)
	p := rig.Launch(t, env, "serve", "--stripe-api-key=sk_test_"+secret)
	p.AwaitListening()
	for _, want := range []string{"REDIS_URL leads to another machine in plain text", "OTEL_EXPORTER_OTLP_HEADERS go to another machine in plain text", "--stripe-api-key is a flag"} {
		if !strings.Contains(p.Stderr.String(), `"level":"WARN","msg":"`+want) {
			t.Errorf("no warning that %s", want)
		}
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Exit(10 * time.Second); code != 0 || strings.Contains(p.Stderr.String(), secret) {
		t.Errorf("exit code %d, and it says: %s", code, p.Stderr.String())
	}
}

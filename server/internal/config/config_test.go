package config

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"example.com/verification-status/server/internal/verification"
)

const (
	plantedKey      = "sk_test_plantedplanted"
	plantedSecret   = "whsec_plantedplanted"
	plantedPassword = "planted-password"
	plantedURL      = "redis://app:" + plantedPassword + "@redis.example:6379/0"
)

// parse lets kong fill a Config as the serve command does, from flags and environment variables.
func parse(t *testing.T, env map[string]string, args ...string) (*Config, error) {
	t.Helper()
	for _, setting := range Table() {
		unset(t, setting.Env)
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	var command struct {
		Serve struct {
			Config Config `embed:""`
		} `cmd:""`
	}
	parser, err := kong.New(&command, kong.Name("server"), Vars())
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(append([]string{"serve"}, args...))
	return &command.Serve.Config, err
}

// valid is a complete set of settings, with the changes given as NAME=value.
func valid(t *testing.T, changes ...string) *Config {
	t.Helper()
	env := map[string]string{"REDIS_URL": plantedURL, "STRIPE_WEBHOOK_SECRET": plantedSecret}
	for _, change := range changes {
		name, value, _ := strings.Cut(change, "=")
		env[name] = value
	}
	c, err := parse(t, env)
	if err != nil {
		t.Fatalf("kong refused %v: %v", changes, err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := valid(t)
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	want := Config{
		GRPCAddr: "127.0.0.1:50051", WebhookAddr: ":4242", WebhookPath: "/webhook", AdminAddr: "127.0.0.1:9090",
		GRPCReflection: True, GRPCMaxStreams: 20_000, CallerSharePercent: 25,
		WebhookMaxConnections: 1000, WebhookMaxInFlight: 256, GRPCMaxConnections: 21_000, GRPCMaxInFlight: 512,
		RedisURL: plantedURL, RedisMode: "standalone", RedisKeyPrefix: "vs:",
		RedisWaitTimeout: Duration(1e9), RecordFormat: 3, FeedMaxLen: 100_000, FeedMaxAge: Duration(7 * 24 * 60 * 60e9),
		ReconcileInterval: Duration(15 * 60e9),
		StripeAPIBase:     "https://api.stripe.com", StripeWebhookSecret: plantedSecret, APIReadsPerDay: 5000,
		MaxRetries: 2, ComparisonLimit: 10, CacheSessions: 20_000, RetryDenyCodes: strings.Join(verification.DefaultDenyCodes(), ","), StreamMaxAge: Duration(30 * 60e9), DrainTimeout: Duration(25e9), LogLevel: "info", LogFormat: "json",
	}
	if *c != want {
		t.Errorf("got  %+v\nwant %+v", *c, want)
	}
}

func TestDefaultsAreWhatTheCommandLineFillsIn(t *testing.T) {
	c, err := parse(t, nil)
	if err != nil || *c != *Defaults() {
		t.Errorf("Defaults: %+v\nthe command line: %+v, %v", *Defaults(), *c, err)
	}
}

// TestConnectionsFollowStreams: nginx opens a connection for each watch, so there must be one for each watch.
func TestConnectionsFollowStreams(t *testing.T) {
	for _, test := range []struct {
		streams, connections string
		want                 Count
	}{{"50", "0", 1050}, {"20000", "0", 21_000}, {"1000000", "0", 100_000}, {"50", "10", 10}} {
		c := valid(t, "GRPC_MAX_STREAMS="+test.streams, "GRPC_MAX_CONNECTIONS="+test.connections)
		if err := c.Load(); err != nil || c.GRPCMaxConnections != test.want {
			t.Errorf("%s streams, GRPC_MAX_CONNECTIONS=%s: %d connections, %v; want %d", test.streams, test.connections, c.GRPCMaxConnections, err, test.want)
		}
	}
}

func TestFlagBeatsVariableBeatsDefault(t *testing.T) {
	env := map[string]string{"GRPC_ADDR": "127.0.0.1:1", "ADMIN_ADDR": "127.0.0.1:2", "GRPC_REFLECTION": "false"}
	c, err := parse(t, env, "--grpc-addr=127.0.0.1:3", "--grpc-insecure", "--drain-timeout=3s", "--max-retries=7")
	if err != nil {
		t.Fatal(err)
	}
	if c.GRPCAddr != "127.0.0.1:3" || c.AdminAddr != "127.0.0.1:2" || c.WebhookAddr != ":4242" {
		t.Errorf("addresses: %s %s %s", c.GRPCAddr, c.AdminAddr, c.WebhookAddr)
	}
	if !c.GRPCInsecure.On() || c.GRPCReflection.On() || c.DrainTimeout.String() != "3s" || c.MaxRetries != 7 {
		t.Errorf("got %+v", c)
	}
	if c, err = parse(t, nil, "--no-grpc-reflection"); err != nil || c.GRPCReflection != False {
		t.Errorf("--no-grpc-reflection: %v, %v", c.GRPCReflection, err)
	}
	for text, want := range map[string]Bool{"true": True, "1": True, "YES": True, "false": False, "0": False, "no": False} {
		if c, err = parse(t, map[string]string{"GRPC_REFLECTION": text, "GRPC_INSECURE": text}); err != nil || c.GRPCReflection != want || c.GRPCInsecure != want {
			t.Errorf("GRPC_REFLECTION and GRPC_INSECURE %q: %v, %v, %v", text, c.GRPCReflection, c.GRPCInsecure, err)
		}
		if c, err = parse(t, nil, "--grpc-reflection="+text, "--grpc-insecure="+text); err != nil || c.GRPCReflection != want || c.GRPCInsecure != want {
			t.Errorf("the flags with %q: %v, %v, %v", text, c.GRPCReflection, c.GRPCInsecure, err)
		}
	}
}

func TestTableMatchesKong(t *testing.T) {
	var c Config
	parser, err := kong.New(&c, kong.Name("server"), Vars())
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]*kong.Flag{}
	for _, flag := range parser.Model.Flags {
		flags[flag.Name] = flag
	}
	delete(flags, "help")
	for _, setting := range Table() {
		flag := flags[setting.Flag]
		if flag == nil {
			t.Fatalf("kong has no flag %q", setting.Flag)
		}
		delete(flags, setting.Flag)
		if len(flag.Envs) != 1 || flag.Envs[0] != setting.Env || flag.Default != setting.Default || flag.Help != setting.Help {
			t.Errorf("%s: kong has %v %q %q", setting.Flag, flag.Envs, flag.Default, flag.Help)
		}
		if want := strings.ToUpper(strings.ReplaceAll(setting.Flag, "-", "_")); setting.Env != want {
			t.Errorf("flag %s has variable %s, want %s", setting.Flag, setting.Env, want)
		}
		if len(setting.Help) < 20 || !strings.HasSuffix(setting.Help, ".") {
			t.Errorf("%s: help is no sentence: %q", setting.Flag, setting.Help)
		}
	}
	for name := range flags {
		t.Errorf("flag %s is not in the table", name)
	}
}

func TestTableNamesTheFixedSettings(t *testing.T) {
	want := map[string]string{
		"GRPC_ADDR": "", "WEBHOOK_ADDR": ":4242", "WEBHOOK_PATH": "/webhook", "WEBHOOK_URL": "", "ADMIN_ADDR": "127.0.0.1:9090", "REDIS_URL": "",
		"REDIS_MODE": "standalone", "REDIS_SENTINEL_MASTER": "", "REDIS_KEY_PREFIX": "vs:", "STRIPE_API_KEY": "",
		"STRIPE_API_BASE": "https://api.stripe.com", "STRIPE_WEBHOOK_SECRET": "", "LIVEMODE": "", "MAX_RETRIES": "2", "CACHE_SESSIONS": "20000",
		"REFERENCE_METADATA_KEY": "", "LOG_LEVEL": "info", "LOG_FORMAT": "json", "GRPC_INSECURE": "false",
		"API_READS_PER_DAY": "5000", "DRAIN_TIMEOUT": "25s", "STREAM_MAX_AGE": "30m", "GRPC_REFLECTION": "true",
		"REDIS_URL_FILE": "", "STRIPE_API_KEY_FILE": "", "STRIPE_WEBHOOK_SECRET_FILE": "", "STRIPE_SENSITIVE_API_KEY": "", "STRIPE_SENSITIVE_API_KEY_FILE": "", "COMPARISON_LIMIT": "10",
		"REDIS_SENTINEL_USERNAME": "", "REDIS_SENTINEL_USERNAME_FILE": "", "REDIS_SENTINEL_PASSWORD": "", "REDIS_SENTINEL_PASSWORD_FILE": "",
		"REDIS_CA_FILE": "", "REDIS_WAIT_REPLICAS": "0", "REDIS_WAIT_TIMEOUT": "1s", "RECONCILE_INTERVAL": "15m",
		"STRIPE_ACCOUNTS": "", "RETRY_COOLDOWN": "0s", "RETRY_DENY_CODES": "consent_declined,country_not_supported,selfie_manipulated,under_supported_age",
		"GRPC_TLS_CERT_FILE": "", "GRPC_TLS_KEY_FILE": "", "GRPC_CLIENT_CA_FILE": "", "GRPC_AUTHZ_POLICY_FILE": "", "GRPC_TOKENS_FILE": "",
		"GRPC_MAX_STREAMS": "20000", "CALLER_SHARE_PERCENT": "25", "CALLER_MAX_STREAMS": "0", "CALLER_RATE": "0",
		"RECORD_FORMAT": "3", "FEED_MAX_LEN": "100000", "FEED_MAX_AGE": "168h", "SETTLED_TTL": "0s",
		"WEBHOOK_MAX_CONNECTIONS": "1000", "WEBHOOK_MAX_IN_FLIGHT": "256", "GRPC_MAX_CONNECTIONS": "0", "GRPC_MAX_IN_FLIGHT": "512",
	}
	secret := map[string]bool{"REDIS_URL": true, "REDIS_SENTINEL_PASSWORD": true, "STRIPE_API_KEY": true, "STRIPE_SENSITIVE_API_KEY": true, "STRIPE_WEBHOOK_SECRET": true}
	for _, setting := range Table() {
		fixed, ok := want[setting.Env]
		if !ok || fixed != setting.Default || setting.Secret != secret[setting.Env] {
			t.Errorf("unexpected %+v", setting)
		}
		delete(want, setting.Env)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestHelpShowsNoSecret(t *testing.T) {
	t.Setenv("STRIPE_API_KEY", plantedKey)
	t.Setenv("REDIS_URL", plantedURL)
	t.Setenv("REDIS_SENTINEL_PASSWORD", "planted-password")
	var c Config
	var out bytes.Buffer
	parser, err := kong.New(&c, kong.Name("server"), Vars(), kong.Writers(&out, &out), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = parser.Parse([]string{"--help"})
	if !strings.Contains(out.String(), "--redis-url") || strings.Contains(out.String(), "planted") {
		t.Errorf("help:\n%s", out.String())
	}
}

func TestRedacted(t *testing.T) {
	c := valid(t, "STRIPE_API_KEY="+plantedKey, "STRIPE_WEBHOOK_SECRET="+plantedSecret+",whsec_planted02",
		"REDIS_MODE=sentinel", "REDIS_SENTINEL_MASTER=m", "REDIS_SENTINEL_USERNAME=app", "REDIS_SENTINEL_PASSWORD=planted3")
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, attr := range c.Redacted() {
		shown[attr.Key] = attr.Value.String()
		if strings.Contains(attr.Value.String(), "planted") {
			t.Errorf("%s shows a secret: %s", attr.Key, attr.Value)
		}
	}
	if len(shown) != len(Table()) {
		t.Errorf("%d settings are shown, %d exist", len(shown), len(Table()))
	}
	for name, want := range map[string]string{
		"REDIS_URL": "redis://app:[secret]@redis.example:6379/0", "REDIS_SENTINEL_USERNAME": "app", "REDIS_SENTINEL_PASSWORD": "[secret]", "STRIPE_API_KEY": "[secret]", "STRIPE_WEBHOOK_SECRET": "[secret]",
		"DRAIN_TIMEOUT": "25s", "MAX_RETRIES": "2", "GRPC_REFLECTION": "true", "LIVEMODE": "",
	} {
		if shown[name] != want {
			t.Errorf("%s = %q, want %q", name, shown[name], want)
		}
	}
	c.RedisURL = "planted-nonsense"
	for _, attr := range c.Redacted() {
		if attr.Key == "REDIS_URL" && attr.Value.String() != "[secret]" {
			t.Errorf("an unreadable REDIS_URL is shown: %s", attr.Value)
		}
	}
}

func TestSecrets(t *testing.T) {
	c := valid(t, "STRIPE_API_KEY="+plantedKey, "STRIPE_WEBHOOK_SECRET=whsec_aaaaaaaaa, whsec_bbbbbbbbb", "REDIS_URL=redis://:p%40ss@h",
		"REDIS_SENTINEL_PASSWORD=sp@ss")
	got := strings.Join(c.Secrets(), " ")
	if want := plantedKey + " sp@ss whsec_aaaaaaaaa whsec_bbbbbbbbb p@ss"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (&Config{}).Secrets(); len(got) != 0 {
		t.Errorf("nothing is set, but got %q", got)
	}
}

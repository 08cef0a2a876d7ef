package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unset removes an environment variable until the test ends.
func unset(t *testing.T, name string) {
	t.Helper()
	t.Setenv(name, "")
	if err := os.Unsetenv(name); err != nil {
		t.Fatal(err)
	}
}

func TestLoadAccepts(t *testing.T) {
	for name, changes := range map[string][]string{
		"all interfaces in a mesh": {"GRPC_ADDR=:50051", "GRPC_INSECURE=true"},
		"TLS with certificates": {
			"GRPC_ADDR=:50051", "GRPC_TLS_CERT_FILE=/c", "GRPC_TLS_KEY_FILE=/k", "GRPC_CLIENT_CA_FILE=/a", "GRPC_AUTHZ_POLICY_FILE=/p", "CALLER_RATE=1000000", "CALLER_MAX_STREAMS=1000000",
		},
		"TLS with tokens":               {"GRPC_ADDR=:50051", "GRPC_TLS_CERT_FILE=/c", "GRPC_TLS_KEY_FILE=/k", "GRPC_TOKENS_FILE=/t", "GRPC_MAX_STREAMS=1"},
		"TLS on loopback":               {"GRPC_ADDR=127.0.0.1:1", "GRPC_TLS_CERT_FILE=/c", "GRPC_TLS_KEY_FILE=/k"},
		"tokens in a mesh":              {"GRPC_ADDR=:50051", "GRPC_INSECURE=true", "GRPC_TOKENS_FILE=/t", "CALLER_RATE=1"},
		"tokens on loopback":            {"GRPC_TOKENS_FILE=/t"},
		"loopback by name":              {"GRPC_ADDR=localhost:50051"},
		"loopback of IPv6":              {"GRPC_ADDR=[::1]:50051"},
		"mapped loopback":               {"GRPC_ADDR=[::ffff:127.0.0.1]:50051"},
		"free ports":                    {"GRPC_ADDR=127.0.0.1:0", "WEBHOOK_ADDR=127.0.0.1:0", "ADMIN_ADDR=127.0.0.1:0"},
		"another path":                  {"WEBHOOK_PATH=/stripe/v1.2/hook-a_b~c", "WEBHOOK_URL=https://a.example/stripe/v1.2/hook-a_b~c?connect=1"},
		"the root":                      {"WEBHOOK_PATH=/"},
		"a slash at the end":            {"WEBHOOK_PATH=/webhook/"},
		"an empty path":                 {"WEBHOOK_PATH="},
		"one port on two addresses":     {"WEBHOOK_ADDR=127.0.0.2:9090"},
		"cluster":                       {"REDIS_MODE=cluster", "REDIS_URL=rediss://u:p@a:1,b:2,c:3/0"},
		"cluster with one address":      {"REDIS_MODE=cluster"},
		"sentinel":                      {"REDIS_MODE=Sentinel", "REDIS_SENTINEL_MASTER=mymaster", "REDIS_URL=redis://a,b/3"},
		"sentinels with a password":     {"REDIS_MODE=sentinel", "REDIS_SENTINEL_MASTER=mymaster", "REDIS_SENTINEL_PASSWORD=p w"},
		"sentinels with a user":         {"REDIS_MODE=sentinel", "REDIS_SENTINEL_MASTER=mymaster", "REDIS_SENTINEL_USERNAME=u", "REDIS_SENTINEL_PASSWORD=p"},
		"a sensitive key":               {"STRIPE_API_KEY=sk_test_1", "STRIPE_SENSITIVE_API_KEY=rk_test_2", "COMPARISON_LIMIT=0"},
		"test key":                      {"STRIPE_API_KEY=rk_test_1", "LIVEMODE=false"},
		"live key":                      {"STRIPE_API_KEY=sk_live_1", "LIVEMODE=TRUE"},
		"organization's key":            {"STRIPE_API_KEY=sk_org_live_1", "LIVEMODE=true"},
		"key of unknown mode":           {"STRIPE_API_KEY=sk_new_1", "LIVEMODE=true"},
		"simulator":                     {"STRIPE_API_BASE=http://127.0.0.1:12111"},
		"one account":                   {"STRIPE_ACCOUNTS=acct_1"},
		"two accounts":                  {"STRIPE_ACCOUNTS=acct_1, acct_2"},
		"no code denied":                {"RETRY_DENY_CODES=none"},
		"a code of tomorrow":            {"RETRY_DENY_CODES=selfie_manipulated, code_of_tomorrow_2"},
		"cooldown, least":               {"RETRY_COOLDOWN=1s"},
		"cooldown, greatest":            {"RETRY_COOLDOWN=720h"},
		"two secrets":                   {"STRIPE_WEBHOOK_SECRET=whsec_planted01, whsec_planted02"},
		"greatest secret":               {"STRIPE_WEBHOOK_SECRET=whsec_" + strings.Repeat("s", 249)},
		"least secret":                  {"STRIPE_WEBHOOK_SECRET=whsec_123456789"},
		"a secret of one's own":         {"STRIPE_WEBHOOK_SECRET=whsec_task_test_A+b/c=="},
		"limits, least":                 {"MAX_RETRIES=0", "CACHE_SESSIONS=1000", "API_READS_PER_DAY=1", "DRAIN_TIMEOUT=1s", "STREAM_MAX_AGE=1s"},
		"retention, least":              {"FEED_MAX_LEN=1000", "FEED_MAX_AGE=1h", "SETTLED_TTL=24h", "REDIS_WAIT_TIMEOUT=10ms"},
		"retention, greatest":           {"FEED_MAX_LEN=10000000", "FEED_MAX_AGE=8760h", "SETTLED_TTL=87600h", "REDIS_WAIT_REPLICAS=10", "REDIS_WAIT_TIMEOUT=5s"},
		"records of the version before": {"RECORD_FORMAT=1"},
		"retention, off":                {"FEED_MAX_AGE=0s", "SETTLED_TTL=0s"},
		"limits, greatest":              {"MAX_RETRIES=100", "CACHE_SESSIONS=10000000", "API_READS_PER_DAY=1000000", "DRAIN_TIMEOUT=10m", "STREAM_MAX_AGE=24h"},
		"load, least":                   {"WEBHOOK_MAX_CONNECTIONS=10", "WEBHOOK_MAX_IN_FLIGHT=1", "GRPC_MAX_CONNECTIONS=10", "GRPC_MAX_IN_FLIGHT=1"},
		"load, greatest":                {"WEBHOOK_MAX_CONNECTIONS=100000", "WEBHOOK_MAX_IN_FLIGHT=10000", "GRPC_MAX_CONNECTIONS=100000", "GRPC_MAX_IN_FLIGHT=100000"},
		"log":                           {"LOG_LEVEL=DEBUG", "LOG_FORMAT=text"},
		"greatest prefix":               {"REDIS_KEY_PREFIX=" + strings.Repeat("p", 64)},
		"greatest metadata key":         {"REFERENCE_METADATA_KEY=" + strings.Repeat("k", 40)},
		"database on a single instance": {"REDIS_URL=redis://h/9"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := valid(t, changes...).Load(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, test := range []struct{ change, want string }{
		{"GRPC_ADDR=:50051", "GRPC_INSECURE=true"},
		{"GRPC_ADDR=0.0.0.0:50051", "GRPC_INSECURE=true"},
		{"GRPC_ADDR=[::]:50051", "GRPC_INSECURE=true"},
		{"GRPC_ADDR=backend.internal:50051", "GRPC_INSECURE=true"},
		{"GRPC_ADDR=50051", "GRPC_ADDR must be HOST:PORT"},
		{"GRPC_AUTHZ_POLICY_FILE=/p", "GRPC_CLIENT_CA_FILE is not"},
		{"GRPC_MAX_STREAMS=0", "GRPC_MAX_STREAMS must be a whole number from 1"},
		{"CALLER_SHARE_PERCENT=101", "CALLER_SHARE_PERCENT must be a whole number from 0 to 100"},
		{"CALLER_SHARE_PERCENT=-1", "CALLER_SHARE_PERCENT must be a whole number from 0"},
		{"CALLER_RATE=-1", "CALLER_RATE must be a whole number from 0"},
		{"CALLER_RATE=5", "CALLER_RATE is set, but callers have no names"},
		{"CALLER_MAX_STREAMS=5", "CALLER_MAX_STREAMS is set, but callers have no names"},
		{"CALLER_MAX_STREAMS=many", "CALLER_MAX_STREAMS must be"},
		{"WEBHOOK_ADDR=:65536", "WEBHOOK_ADDR must be HOST:PORT"},
		{"WEBHOOK_ADDR=:http", "WEBHOOK_ADDR must be HOST:PORT"},
		{"WEBHOOK_PATH=webhook", "WEBHOOK_PATH must be a path"},
		{"WEBHOOK_PATH=https://a.example/webhook", "WEBHOOK_PATH must be a path"},
		{"WEBHOOK_PATH=/webhook?a=b", "WEBHOOK_PATH must be a path"},
		{"WEBHOOK_PATH=//webhook", "WEBHOOK_PATH must be a path"},
		{"WEBHOOK_PATH=/a/../webhook", "WEBHOOK_PATH must be a path"},
		{"WEBHOOK_PATH=/web%20hook", "WEBHOOK_PATH must be a path"},
		{"WEBHOOK_PATH=/" + strings.Repeat("x", maxPathBytes), "WEBHOOK_PATH must be a path"},
		{"WEBHOOK_URL=http://a.example/webhook", "WEBHOOK_URL must begin with https://"},
		{"WEBHOOK_URL=/webhook", "WEBHOOK_URL must be the URL"},
		{"ADMIN_ADDR=a b:1", "ADMIN_ADDR must be HOST:PORT"},
		{"WEBHOOK_ADDR=:9090", "WEBHOOK_ADDR and ADMIN_ADDR are the same"},
		{"ADMIN_ADDR=127.0.0.1:50051", "GRPC_ADDR and ADMIN_ADDR are the same"},
		{"REDIS_URL=", "REDIS_URL is not set"},
		{"REDIS_URL=http://h", "REDIS_URL must begin with redis://"},
		{"REDIS_URL=h:6379", "REDIS_URL must begin with redis://"},
		{"REDIS_URL=redis://", "without a host"},
		{"REDIS_URL=redis://a,", "without a host"},
		{"REDIS_URL=redis://a:0", "port outside 1 to 65535"},
		{"REDIS_URL=redis://a:70000", "port outside 1 to 65535"},
		{"REDIS_URL=redis://a/x", "not a database number"},
		{"REDIS_URL=redis://a?db=1", "options after a ?"},
		{"REDIS_URL=redis://:planted#pass@a", "REDIS_URL"},
		{"REDIS_URL=redis://:planted,pass@a", "%2C for a comma"},
		{"REDIS_URL=redis://:planted%zz@a", "cannot be read"},
		{"REDIS_URL=redis://a,rediss://b", "mixes redis:// and rediss://"},
		{"REDIS_URL=redis://x:planted@a,redis://y:planted@b", "different users"},
		{"REDIS_URL=redis://a,b", "REDIS_URL has several addresses"},
		{"REDIS_URL=redis://a" + strings.Repeat(",a", 100), "too many addresses"},
		{"REDIS_MODE=ring", "REDIS_MODE must be"},
		{"REDIS_MODE=sentinel", "REDIS_SENTINEL_MASTER is not set"},
		{"REDIS_SENTINEL_MASTER=m", "REDIS_MODE is not sentinel"},
		{"REDIS_SENTINEL_USERNAME=u", "REDIS_SENTINEL_USERNAME is set, but REDIS_MODE is not sentinel"},
		{"REDIS_SENTINEL_PASSWORD=planted", "REDIS_SENTINEL_PASSWORD is set, but REDIS_MODE is not sentinel"},
		{"REDIS_KEY_PREFIX={x}", "REDIS_KEY_PREFIX must have 1 to 64 bytes"},
		{"REDIS_KEY_PREFIX=a b", "REDIS_KEY_PREFIX must have 1 to 64 bytes"},
		{"REDIS_KEY_PREFIX=" + strings.Repeat("p", 65), "REDIS_KEY_PREFIX must have 1 to 64 bytes"},
		{"STRIPE_API_KEY=pk_test_planted", "publishable"},
		{"STRIPE_SENSITIVE_API_KEY=sk_test_planted", "STRIPE_SENSITIVE_API_KEY is a secret key"},
		{"STRIPE_SENSITIVE_API_KEY=rk_test_planted", "STRIPE_SENSITIVE_API_KEY is set without STRIPE_API_KEY"},
		{"STRIPE_SENSITIVE_API_KEY=pk_test_planted", "STRIPE_SENSITIVE_API_KEY is a publishable key"},
		{"STRIPE_SENSITIVE_API_KEY_FILE=/nowhere", "STRIPE_SENSITIVE_API_KEY_FILE: "},
		{"COMPARISON_LIMIT=-1", "COMPARISON_LIMIT must be a whole number from 0 to 1000"},
		{"COMPARISON_LIMIT=1001", "COMPARISON_LIMIT must be a whole number from 0 to 1000"},
		{"STRIPE_API_KEY=planted", "STRIPE_API_KEY is not a key of Stripe"},
		{"STRIPE_API_KEY=sk_test_planted x", "STRIPE_API_KEY has spaces"},
		{"STRIPE_API_KEY=sk_test_planted" + strings.Repeat("x", 255), "STRIPE_API_KEY has spaces"},
		{"STRIPE_API_BASE=", "STRIPE_API_BASE must be a plain URL"},
		{"STRIPE_API_BASE=https://u:planted@h", "STRIPE_API_BASE must be a plain URL"},
		{"STRIPE_API_BASE=https://h/?a=b", "STRIPE_API_BASE must be a plain URL"},
		{"STRIPE_API_BASE=http://api.stripe.com", "must begin with https://"},
		{"STRIPE_API_BASE=ftp://127.0.0.1", "must begin with https://"},
		{"STRIPE_WEBHOOK_SECRET=", "STRIPE_WEBHOOK_SECRET is not set"},
		{"STRIPE_WEBHOOK_SECRET=" + plantedSecret + ",", "secret 2 of 2 is empty"},
		{"STRIPE_WEBHOOK_SECRET=," + plantedSecret, "secret 1 of 2 is empty"},
		{"STRIPE_WEBHOOK_SECRET= ", "secret 1 of 1 is empty"},
		{"STRIPE_WEBHOOK_SECRET=whsec_planted whsec_planted", "separate secrets by commas"},
		{"STRIPE_WEBHOOK_SECRET=" + strings.Repeat("s", 256), "255 bytes"},
		{"STRIPE_WEBHOOK_SECRET=" + strings.Repeat(plantedSecret+",", 10) + plantedSecret, "over 10 secrets"},
		{"STRIPE_WEBHOOK_SECRET=x", "secret 1 of 1 does not begin with whsec_"},
		{"STRIPE_WEBHOOK_SECRET=plantedplantedplanted", "does not begin with whsec_"},
		{"STRIPE_WEBHOOK_SECRET=WHSEC_plantedplanted", "does not begin with whsec_"},
		{"STRIPE_WEBHOOK_SECRET=whsec_planted0", "under 15 characters"},
		{"STRIPE_WEBHOOK_SECRET=" + plantedSecret + ",whsec_", "secret 2 of 2 has under 15 characters"},
		{"STRIPE_WEBHOOK_SECRET=\"" + plantedSecret + "\"", "has quotes"},
		{"STRIPE_WEBHOOK_SECRET='" + plantedSecret + "'", "has quotes"},
		{"STRIPE_WEBHOOK_SECRET=“" + plantedSecret + "”", "has quotes"},
		{"STRIPE_WEBHOOK_SECRET=" + plantedSecret + "\"", "has quotes"},
		{"STRIPE_WEBHOOK_SECRET=\ufeff" + plantedSecret, "byte order mark"},
		{"STRIPE_WEBHOOK_SECRET=" + plantedSecret + "é", "characters that a secret never has"},
		{"STRIPE_WEBHOOK_SECRET=sk_test_plantedplanted", "is an API key"},
		{"STRIPE_WEBHOOK_SECRET=" + plantedSecret + ",rk_live_plantedplanted", "secret 2 of 2 is an API key"},
		{"STRIPE_WEBHOOK_SECRET=pk_live_plantedplanted", "is an API key"},
		{"STRIPE_WEBHOOK_SECRET=whsec_sk_live_plantedplanted", "has an API key in it"},
		{"STRIPE_WEBHOOK_SECRET=" + plantedSecret + ";rk_test_plantedplanted", "has an API key in it"},
		{"STRIPE_WEBHOOK_SECRET=" + plantedSecret + "," + plantedSecret + "_pk_org_live_planted", "secret 2 of 2 has an API key in it"},
		{"STRIPE_API_KEY=" + plantedSecret, "STRIPE_API_KEY is a webhook's signing secret"},
		{"STRIPE_API_KEY=\"sk_test_planted\"", "STRIPE_API_KEY has quotes"},
		{"STRIPE_API_KEY=sk_test_plantéd", "STRIPE_API_KEY has spaces"},
		{"STRIPE_ACCOUNTS=acct_1,", "account 2 of 2"},
		{"STRIPE_ACCOUNTS=1", "account 1 of 1"},
		{"STRIPE_ACCOUNTS=acct_1;acct_2", "account 1 of 1"},
		{"STRIPE_ACCOUNTS=acct_1" + strings.Repeat(",acct_1", 1000), "over 1000 accounts"},
		{"RETRY_DENY_CODES=", "RETRY_DENY_CODES is empty: write none"},
		{"RETRY_DENY_CODES=none,abandoned,", "code 3 of 3"},
		{"RETRY_DENY_CODES=Abandoned", "code 1 of 1"},
		{"RETRY_DENY_CODES=document-expired", "code 1 of 1"},
		{"RETRY_DENY_CODES=" + strings.Repeat("x", 65), "code 1 of 1"},
		{"RETRY_DENY_CODES=a" + strings.Repeat(",a", 100), "over 100 codes"},
		{"RETRY_COOLDOWN=-1s", "RETRY_COOLDOWN must be a duration from 1s"},
		{"RETRY_COOLDOWN=999ms", "RETRY_COOLDOWN must be"},
		{"RETRY_COOLDOWN=721h", "RETRY_COOLDOWN must be"},
		{"RETRY_COOLDOWN=10", "RETRY_COOLDOWN must be"},
		{"GRPC_REFLECTION=maybe", "GRPC_REFLECTION must be true or false"},
		{"GRPC_REFLECTION=", "GRPC_REFLECTION must be true or false"},
		{"GRPC_INSECURE=planted", "GRPC_INSECURE must be true or false"},
		{"LIVEMODE=yes", "LIVEMODE must be true or false"},
		{"CACHE_SESSIONS=0", "CACHE_SESSIONS must be a whole number from 1000 to 10000000"},
		{"MAX_RETRIES=101", "MAX_RETRIES must be a whole number from 0 to 100"},
		{"MAX_RETRIES=-1", "MAX_RETRIES must be"},
		{"MAX_RETRIES=two", "MAX_RETRIES must be"},
		{"MAX_RETRIES=", "MAX_RETRIES must be"},
		{"API_READS_PER_DAY=0", "API_READS_PER_DAY must be a whole number from 1 to 1000000"},
		{"API_READS_PER_DAY=99999999999999999999", "API_READS_PER_DAY must be"},
		{"REDIS_WAIT_REPLICAS=11", "REDIS_WAIT_REPLICAS must be a whole number from 0 to 10"},
		{"REDIS_WAIT_REPLICAS=-1", "REDIS_WAIT_REPLICAS must be"},
		{"REDIS_WAIT_TIMEOUT=0s", "REDIS_WAIT_TIMEOUT must be a duration from 10ms"},
		{"WEBHOOK_MAX_CONNECTIONS=9", "WEBHOOK_MAX_CONNECTIONS must be a whole number from 10 to 100000"},
		{"WEBHOOK_MAX_IN_FLIGHT=0", "WEBHOOK_MAX_IN_FLIGHT must be a whole number from 1 to 10000"},
		{"GRPC_MAX_CONNECTIONS=100001", "GRPC_MAX_CONNECTIONS must be a whole number from 10 to 100000"},
		{"GRPC_MAX_IN_FLIGHT=many", "GRPC_MAX_IN_FLIGHT must be a whole number from 1 to 100000"},
		{"RECORD_FORMAT=0", "RECORD_FORMAT must be a whole number from 1 to 3"},
		{"RECORD_FORMAT=4", "RECORD_FORMAT must be"},
		{"REFERENCE_METADATA_KEY=verification_status_replaces", "REFERENCE_METADATA_KEY must not be"},
		{"FEED_MAX_LEN=999", "FEED_MAX_LEN must be a whole number from 1000"},
		{"FEED_MAX_AGE=59m", "FEED_MAX_AGE must be a duration from 1h"},
		{"FEED_MAX_AGE=-1h", "FEED_MAX_AGE must be"},
		{"SETTLED_TTL=23h", "SETTLED_TTL must be a duration from 24h"},
		{"SETTLED_TTL=90d", "SETTLED_TTL must be"},
		{"DRAIN_TIMEOUT=25", "DRAIN_TIMEOUT must be a duration"},
		{"DRAIN_TIMEOUT=11m", "DRAIN_TIMEOUT must be a duration"},
		{"STREAM_MAX_AGE=0s", "STREAM_MAX_AGE must be a duration"},
		{"REFERENCE_METADATA_KEY=a[b]", "REFERENCE_METADATA_KEY"},
		{"LOG_LEVEL=loud", "LOG_LEVEL must be"},
		{"LOG_FORMAT=xml", "LOG_FORMAT must be"},
	} {
		t.Run(test.change, func(t *testing.T) {
			err := valid(t, test.change).Load()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("one mistake, several problems:\n%v", err)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestLoadNamesAllProblemsAtOnce(t *testing.T) {
	c, err := parse(t, map[string]string{
		"GRPC_ADDR": "0.0.0.0:50051", "REDIS_MODE": "sentinel", "STRIPE_API_KEY": plantedKey, "LIVEMODE": "true",
		"MAX_RETRIES": "many", "STREAM_MAX_AGE": "long", "REFERENCE_METADATA_KEY": "[", "LOG_LEVEL": "?", "LOG_FORMAT": "?",
		"GRPC_REFLECTION": "maybe",
	})
	if err != nil {
		t.Fatal(err)
	}
	text := c.Load().Error()
	lines := strings.Split(text, "\n")
	for _, name := range []string{
		"GRPC_ADDR", "REDIS_URL", "REDIS_SENTINEL_MASTER", "STRIPE_WEBHOOK_SECRET", "LIVEMODE", "MAX_RETRIES",
		"STREAM_MAX_AGE", "REFERENCE_METADATA_KEY", "LOG_LEVEL", "LOG_FORMAT", "GRPC_REFLECTION",
	} {
		if !strings.Contains("\n"+text, "\n"+name) {
			t.Errorf("no line begins with %s:\n%s", name, text)
		}
	}
	if len(lines) != 11 || strings.Contains(text, "planted") {
		t.Errorf("%d lines:\n%s", len(lines), text)
	}
}

func TestSecretsFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c, err := parse(t, map[string]string{
		"REDIS_URL_FILE":             write("redis", plantedURL+"\n"),
		"STRIPE_API_KEY_FILE":        write("key", plantedKey+"\r\n"),
		"STRIPE_WEBHOOK_SECRET_FILE": write("hook", "whsec_planted01,whsec_planted02"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	if c.RedisURL != plantedURL || c.StripeAPIKey != plantedKey || strings.Join(c.WebhookSecrets(), " ") != "whsec_planted01 whsec_planted02" {
		t.Errorf("got %+v", c)
	}

	link := filepath.Join(dir, "link") // Kubernetes mounts secrets as links
	if err := os.Symlink(filepath.Join(dir, "key"), link); err != nil {
		t.Fatal(err)
	}
	c = valid(t, "STRIPE_API_KEY_FILE="+link)
	if err := c.Load(); err != nil || c.StripeAPIKey != plantedKey {
		t.Errorf("through a link: %v", err)
	}

	for name, test := range map[string]struct{ change, want string }{
		"missing":   {"STRIPE_API_KEY_FILE=" + dir + "/none", "STRIPE_API_KEY_FILE: the file cannot be read"},
		"directory": {"STRIPE_API_KEY_FILE=" + dir, "not a regular file"},
		"device":    {"STRIPE_API_KEY_FILE=/dev/zero", "not a regular file"},
		"marked":    {"STRIPE_API_KEY_FILE=" + write("marked", "\ufeff"+plantedKey), "begins with a byte order mark"},
		"UTF-16":    {"STRIPE_API_KEY_FILE=" + write("wide", "\xff\xfes\x00k\x00"), "begins with a byte order mark"},
		"empty":     {"STRIPE_API_KEY_FILE=" + write("empty", "\n"), "is empty"},
		"too great": {"STRIPE_API_KEY_FILE=" + write("great", "sk_test_"+strings.Repeat("a", 64<<10)), "is larger than 65536 bytes"},
		"two lines": {"STRIPE_API_KEY_FILE=" + write("lines", plantedKey+"\n"+plantedKey), "STRIPE_API_KEY has spaces, line breaks"},
		"both":      {"STRIPE_WEBHOOK_SECRET_FILE=" + write("both", plantedSecret), "STRIPE_WEBHOOK_SECRET_FILE: the value itself is set too"},
	} {
		t.Run(name, func(t *testing.T) {
			err := valid(t, test.change).Load()
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "planted") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}

	// A file that cannot be read is one problem, not also a missing value.
	c, err = parse(t, map[string]string{"REDIS_URL_FILE": dir + "/none", "STRIPE_WEBHOOK_SECRET_FILE": dir + "/none"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Load(); err == nil || strings.Contains(err.Error(), "is not set") {
		t.Errorf("got %v", err)
	}
}

func TestRedisTarget(t *testing.T) {
	for _, test := range []struct{ mode, url, addrs, user, password, redacted string }{
		{"standalone", "redis://h", "h:6379", "", "", "redis://h:6379/0"},
		{"standalone", "rediss://:p%40%2C@h:1/2", "h:1", "", "p@,", "rediss://:[secret]@h:1/2"},
		{"standalone", "redis://u@[::1]:7", "[::1]:7", "u", "", "redis://u@[::1]:7/0"},
		{"sentinel", "redis://u:p@a,b:1/4", "a:26379 b:1", "u", "p", "redis://u:[secret]@a:26379,b:1/4"},
		{"cluster", "redis://u:p@a, redis://u:p@b", "a:6379 b:6379", "u", "p", "redis://u:[secret]@a:6379,b:6379/0"},
	} {
		c := &Config{RedisMode: test.mode, RedisURL: test.url}
		target, err := c.RedisTarget()
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		if strings.Join(target.Addrs, " ") != test.addrs || target.Username != test.user || target.Password != test.password {
			t.Errorf("%s: got %+v", test.url, target)
		}
		if got := target.redacted(); got != test.redacted {
			t.Errorf("%s: shown as %s", test.url, got)
		}
		if target.TLS != strings.HasPrefix(test.url, "rediss") {
			t.Errorf("%s: TLS %v", test.url, target.TLS)
		}
	}
}

func FuzzRedisURL(f *testing.F) {
	f.Add("redis://u:planted@a:1,b:2/3")
	f.Add("redis://:planted")
	f.Add("redis://:000000000000000000000@000000000000000000000")
	f.Fuzz(func(t *testing.T, text string) {
		c := &Config{RedisURL: text, RedisMode: RedisCluster}
		target, err := c.RedisTarget()
		if err != nil {
			return
		}
		if len(target.Addrs) == 0 || len(target.Addrs) > maxAddrs {
			t.Fatalf("%q: %d addresses", text, len(target.Addrs))
		}
		// Not "does not contain it": the host may have the same name.
		if other := target; target.Password != "" {
			if other.Password = "another"; other.redacted() != target.redacted() {
				t.Fatalf("%q: shown as %s, with another password as %s", text, target.redacted(), other.redacted())
			}
		}
	})
}

func TestEffectiveLivemode(t *testing.T) {
	for _, test := range []struct{ livemode, key, want string }{
		{"true", "", "true"}, {"false", "", "false"}, {"false", "sk_test_1", "false"},
		{"", "sk_live_1", "true"}, {"", "rk_test_1", "false"}, {"", "sk_org_live_1", "true"},
		{"", "", "both"}, {"", "sk_new_1", "both"},
	} {
		c := &Config{Livemode: test.livemode, StripeAPIKey: test.key}
		live, warning := c.EffectiveLivemode()
		got := "both"
		if live != nil && *live {
			got = "true"
		} else if live != nil {
			got = "false"
		}
		if got != test.want || (warning != "") != (got == "both") {
			t.Errorf("%+v: got %s, warning %q", test, got, warning)
		}
	}
	if err := valid(t, "STRIPE_API_KEY=sk_live_planted", "LIVEMODE=false").Load(); err == nil || !strings.Contains(err.Error(), "other mode") {
		t.Errorf("a live key with LIVEMODE=false: %v", err)
	}
	if err := valid(t, "STRIPE_API_KEY=rk_test_planted", "LIVEMODE=true").Load(); err == nil || strings.Contains(err.Error(), "planted") {
		t.Errorf("a test key with LIVEMODE=true: %v", err)
	}
}

func TestOwnHost(t *testing.T) {
	for host, want := range map[string]string{
		"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1", "::1": "::1", "10.0.0.7": "10.0.0.7", "localhost": "localhost", "server.test": "server.test",
	} {
		if got := OwnHost(host); got != want {
			t.Errorf("OwnHost(%q) = %q, want %q", host, got, want)
		}
	}
}

package config

// Config has every setting of the server: a flag and an environment variable each. Let kong fill it, with the option
// Vars, then call Load before any other use. After Load it is only read, and safe for concurrent use.
type Config struct {
	GRPCAddr       string `name:"grpc-addr" env:"GRPC_ADDR" placeholder:"HOST:PORT" help:"The address of the gRPC listener. By default 127.0.0.1:50051, and with TLS :50051. An address that other machines can reach needs TLS or GRPC_INSECURE."`
	GRPCInsecure   Bool   `name:"grpc-insecure" env:"GRPC_INSECURE" default:"false" help:"Serve gRPC in plain text on an address that other machines can reach. Set it only where a service mesh encrypts."`
	GRPCReflection Bool   `name:"grpc-reflection" env:"GRPC_REFLECTION" default:"true" negatable:"" help:"Let gRPC clients list the services and their messages."`

	GRPCTLSCertFile     string `name:"grpc-tls-cert-file" env:"GRPC_TLS_CERT_FILE" placeholder:"PATH" help:"A PEM file with the certificate chain of the gRPC server. The server reads this file and the four files below again when they change."`
	GRPCTLSKeyFile      string `name:"grpc-tls-key-file" env:"GRPC_TLS_KEY_FILE" placeholder:"PATH" help:"A PEM file with the private key of that certificate."`
	GRPCClientCAFile    string `name:"grpc-client-ca-file" env:"GRPC_CLIENT_CA_FILE" placeholder:"PATH" help:"A PEM file with the authorities that issue client certificates. It needs TLS and GRPC_AUTHZ_POLICY_FILE."`
	GRPCAuthzPolicyFile string `name:"grpc-authz-policy-file" env:"GRPC_AUTHZ_POLICY_FILE" placeholder:"PATH" help:"A JSON file with the authorization policy of gRPC: which client certificate may call which method."`
	GRPCTokensFile      string `name:"grpc-tokens-file" env:"GRPC_TOKENS_FILE" placeholder:"PATH" help:"A file with hashed bearer tokens and their rights, for callers without a client certificate. To make a line: server token new."`
	GRPCMaxStreams      Count  `name:"grpc-max-streams" env:"GRPC_MAX_STREAMS" default:"20000" placeholder:"N" help:"The limit of open watches, 1 to 1000000."`
	CallerSharePercent  Count  `name:"caller-share-percent" env:"CALLER_SHARE_PERCENT" default:"25" placeholder:"PERCENT" help:"The share of one named caller in the limits of concurrent calls, watches, health watches, named consumers and reads at Stripe, 1 to 100 percent, so that it cannot keep other callers out. 0 for no limit by caller."`
	CallerMaxStreams    Count  `name:"caller-max-streams" env:"CALLER_MAX_STREAMS" default:"0" placeholder:"N" help:"The limit of open watches of each caller, 1 to 1000000, or 0 for CALLER_SHARE_PERCENT of GRPC_MAX_STREAMS. It needs named callers."`
	CallerRate          Count  `name:"caller-rate" env:"CALLER_RATE" default:"0" placeholder:"N" help:"The limit of calls a second of each caller, 1 to 1000000, or 0 for no limit. It needs named callers."`

	WebhookAddr string `name:"webhook-addr" env:"WEBHOOK_ADDR" default:":4242" placeholder:"HOST:PORT" help:"The address of the webhook listener. Stripe sends to its path WEBHOOK_PATH."`
	WebhookPath string `name:"webhook-path" env:"WEBHOOK_PATH" default:"/webhook" placeholder:"PATH" help:"The path of the webhook listener that takes Stripe's events. Every other path is answered 404, also one that differs by a slash at the end."`
	WebhookURL  string `name:"webhook-url" env:"WEBHOOK_URL" placeholder:"URL" help:"The URL at which Stripe reaches WEBHOOK_PATH, as it is registered at Stripe. Once a day the server looks at Stripe whether the endpoint with this URL sends what it needs. By default it looks at every endpoint for Identity events."`
	AdminAddr   string `name:"admin-addr" env:"ADMIN_ADDR" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"The address of /metrics, /livez, /readyz and /debug/pprof. Never open it to the internet."`

	WebhookMaxConnections Count `name:"webhook-max-connections" env:"WEBHOOK_MAX_CONNECTIONS" default:"1000" placeholder:"N" help:"The limit of connections to the webhook listener, 10 to 100000. At the limit, another connection is closed for a new one: an unused one if over a quarter of the connections are unused, else the one that has been idle longest."`
	WebhookMaxInFlight    Count `name:"webhook-max-in-flight" env:"WEBHOOK_MAX_IN_FLIGHT" default:"256" placeholder:"N" help:"The limit of events that are committed at the same time, 1 to 10000. An event over the limit gets 503 at once, and Stripe sends it again."`
	GRPCMaxConnections    Count `name:"grpc-max-connections" env:"GRPC_MAX_CONNECTIONS" default:"0" placeholder:"N" help:"The limit of connections to the gRPC listener, 10 to 100000, or 0 for 1000 more than GRPC_MAX_STREAMS, since nginx opens one for each watch. At the limit, another connection is closed for a new one: an unused one if over a quarter of the connections are unused, else one with calls of a caller that is over its share, else the one that has been idle longest."`
	GRPCMaxInFlight       Count `name:"grpc-max-in-flight" env:"GRPC_MAX_IN_FLIGHT" default:"512" placeholder:"N" help:"The limit of concurrent calls of each unary method, 1 to 100000. A call over the limit gets UNAVAILABLE at once. Streams are not counted."`

	RedisURL            string `name:"redis-url" env:"REDIS_URL" secret:"true" placeholder:"URL" help:"The URL of Redis: redis:// or, with TLS, rediss://user:password@host:6379/0. Separate several addresses by commas. With sentinel, give the addresses of the sentinels. Required."`
	RedisURLFile        string `name:"redis-url-file" env:"REDIS_URL_FILE" placeholder:"PATH" help:"A file with REDIS_URL. The server reads it again when it changes."`
	RedisMode           string `name:"redis-mode" env:"REDIS_MODE" default:"standalone" placeholder:"MODE" help:"How Redis is run: standalone, sentinel or cluster."`
	RedisSentinelMaster string `name:"redis-sentinel-master" env:"REDIS_SENTINEL_MASTER" placeholder:"NAME" help:"The name of the master at the sentinels. Required with sentinel."`

	RedisSentinelUsername     string `name:"redis-sentinel-username" env:"REDIS_SENTINEL_USERNAME" placeholder:"NAME" help:"The user name at the sentinels. By default the default user of the sentinels."`
	RedisSentinelUsernameFile string `name:"redis-sentinel-username-file" env:"REDIS_SENTINEL_USERNAME_FILE" placeholder:"PATH" help:"A file with REDIS_SENTINEL_USERNAME. The server reads it again when it changes."`
	RedisSentinelPassword     string `name:"redis-sentinel-password" env:"REDIS_SENTINEL_PASSWORD" secret:"true" placeholder:"PASSWORD" help:"The password for the sentinels. The server never sends them the password of REDIS_URL."`
	RedisSentinelPasswordFile string `name:"redis-sentinel-password-file" env:"REDIS_SENTINEL_PASSWORD_FILE" placeholder:"PATH" help:"A file with REDIS_SENTINEL_PASSWORD. The server reads it again when it changes."`

	RedisCAFile    string `name:"redis-ca-file" env:"REDIS_CA_FILE" placeholder:"PATH" help:"A PEM file with the authorities that issue Redis's certificate. By default those of the system. Only with rediss://. The server reads it again when it changes."`
	RedisKeyPrefix string `name:"redis-key-prefix" env:"REDIS_KEY_PREFIX" default:"vs:" placeholder:"TEXT" help:"The prefix of every key in Redis. Each of several services that share a Redis needs its own."`

	RecordFormat      Count    `name:"record-format" env:"RECORD_FORMAT" default:"3" placeholder:"N" help:"The format in which records are written: 3, or 2 while replicas of the version before this one still run. Below 3 the calls of operators and comparisons are off."`
	FeedMaxLen        Count    `name:"feed-max-len" env:"FEED_MAX_LEN" default:"100000" placeholder:"N" help:"The approximate number of changes that each of the 16 partitions of the feed keeps, 1000 to 10000000. An older resume token of all_sessions is refused, and so is a consumer that is further behind."`
	FeedMaxAge        Duration `name:"feed-max-age" env:"FEED_MAX_AGE" default:"168h" placeholder:"DURATION" help:"How long the feed keeps a change: 1h to 8760h, or 0s for as long as FEED_MAX_LEN allows. A consumer that has not acknowledged the change by then loses it."`
	SettledTTL        Duration `name:"settled-ttl" env:"SETTLED_TTL" default:"0s" placeholder:"DURATION" help:"How long a settled session keeps its details after its last change: 24h to 87600h, or 0s for ever. It is then archived: its status and counts stay for 36 days more."`
	RedisWaitReplicas Count    `name:"redis-wait-replicas" env:"REDIS_WAIT_REPLICAS" default:"0" placeholder:"N" help:"The number of Redis replicas that must have an event before its webhook is answered 2xx, 0 to 10. If too few have it, the answer is 503, and Stripe sends the event again."`
	RedisWaitTimeout  Duration `name:"redis-wait-timeout" env:"REDIS_WAIT_TIMEOUT" default:"1s" placeholder:"DURATION" help:"How long a commit waits for those replicas: 10ms to 5s."`

	StripeAPIKey     string `name:"stripe-api-key" env:"STRIPE_API_KEY" secret:"true" placeholder:"KEY" help:"Stripe's secret (sk_) or restricted (rk_) key. Without it, no retry is granted, nothing is read back from Stripe and nothing is caught up."`
	StripeAPIKeyFile string `name:"stripe-api-key-file" env:"STRIPE_API_KEY_FILE" placeholder:"PATH" help:"A file with STRIPE_API_KEY. Where accounts have keys of their own, the first line is the default key, and each further line is the id of an account (acct_...), a space and its key. The server reads it again when it changes."`

	StripeSensitiveAPIKey     string `name:"stripe-sensitive-api-key" env:"STRIPE_SENSITIVE_API_KEY" secret:"true" placeholder:"KEY" help:"Stripe's restricted key (rk_) with the permission to read recent sensitive verification results. Only comparisons of dates of birth and id numbers use it: Stripe shows these to no other key. Without it they are not readable."`
	StripeSensitiveAPIKeyFile string `name:"stripe-sensitive-api-key-file" env:"STRIPE_SENSITIVE_API_KEY_FILE" placeholder:"PATH" help:"A file with STRIPE_SENSITIVE_API_KEY. The server reads it again when it changes."`

	StripeAPIBase           string `name:"stripe-api-base" env:"STRIPE_API_BASE" default:"https://api.stripe.com" placeholder:"URL" help:"The URL of Stripe's API. http:// is allowed for a loopback address only."`
	StripeWebhookSecret     string `name:"stripe-webhook-secret" env:"STRIPE_WEBHOOK_SECRET" secret:"true" placeholder:"SECRET" help:"The signing secret of the webhook endpoint (whsec_...). During a roll, separate several secrets by commas. If endpoints of several Stripe accounts send here, write the id of the account (acct_...) and a space before its secret: its events do not name it. Required."`
	StripeWebhookSecretFile string `name:"stripe-webhook-secret-file" env:"STRIPE_WEBHOOK_SECRET_FILE" placeholder:"PATH" help:"A file with STRIPE_WEBHOOK_SECRET. The server reads it again when it changes."`
	Livemode                string `name:"livemode" env:"LIVEMODE" placeholder:"BOOL" help:"The mode of the events to accept: true for live, false for test. By default the mode of the API key, and without a key both."`
	StripeAccounts          string `name:"stripe-accounts" env:"STRIPE_ACCOUNTS" placeholder:"IDS" help:"With Connect: the connected accounts (acct_...) whose sessions are kept, separated by commas. Events of other connected accounts are acknowledged and ignored. By default the sessions of all accounts are kept. Those of the platform itself always are."`
	APIReadsPerDay          Count  `name:"api-reads-per-day" env:"API_READS_PER_DAY" default:"5000" placeholder:"N" help:"The limit of reads at Stripe's API in a day (UTC), of each replica and again from its start, 1 to 1000000."`

	ReconcileInterval Duration `name:"reconcile-interval" env:"RECONCILE_INTERVAL" default:"15m" placeholder:"DURATION" help:"The time between two catch-ups from Stripe's list of events: 10s to 24h. The server also catches up at the start and after an outage. It needs the API key."`

	CacheSessions        Count    `name:"cache-sessions" env:"CACHE_SESSIONS" default:"20000" placeholder:"N" help:"The number of sessions in the cache of each replica, 1000 to 10000000. Each takes about 2 kB."`
	MaxRetries           Count    `name:"max-retries" env:"MAX_RETRIES" default:"2" placeholder:"N" help:"How many retries a person gets after failures, 0 to 100. A session and the sessions that replace it are counted together."`
	RetryCooldown        Duration `name:"retry-cooldown" env:"RETRY_COOLDOWN" default:"0s" placeholder:"DURATION" help:"How long after a failure a retry is granted at the earliest: 1s to 720h, or 0s for at once."`
	RetryDenyCodes       string   `name:"retry-deny-codes" env:"RETRY_DENY_CODES" default:"${retry_deny_codes}" placeholder:"CODES" help:"Stripe's error codes after which no retry is granted, separated by commas, or none. The list replaces the default."`
	ComparisonLimit      Count    `name:"comparison-limit" env:"COMPARISON_LIMIT" default:"10" placeholder:"N" help:"How often the verified data of a session can be compared within 24 hours, 1 to 1000, by all callers together, or 0 for never. A caller with many tries can guess."`
	ReferenceMetadataKey string   `name:"reference-metadata-key" env:"REFERENCE_METADATA_KEY" placeholder:"KEY" help:"The metadata key with the caller's own id, for a session without client_reference_id."`

	StreamMaxAge Duration `name:"stream-max-age" env:"STREAM_MAX_AGE" default:"30m" placeholder:"DURATION" help:"The age at which the server ends a watch: 1s to 24h. Its client then resumes, perhaps at another replica."`
	DrainTimeout Duration `name:"drain-timeout" env:"DRAIN_TIMEOUT" default:"25s" placeholder:"DURATION" help:"How long a stop may take: 1s to 10m. Keep it shorter than the time after which the platform kills the process."`
	LogLevel     string   `name:"log-level" env:"LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"The lowest level that is logged: debug, info, warn or error."`
	LogFormat    string   `name:"log-format" env:"LOG_FORMAT" default:"json" placeholder:"FORMAT" help:"The format of log lines: json or text."`

	// StripeAccountKeys has the lines of the file at StripeAPIKeyFile that name an account. Load sets it. See AccountKeys.
	StripeAccountKeys string `kong:"-"`
}

// The values of RedisMode.
const (
	RedisStandalone = "standalone"
	RedisSentinel   = "sentinel"
	RedisCluster    = "cluster"
)

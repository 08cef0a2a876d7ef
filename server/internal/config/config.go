// Package config holds the settings of the server: their names, defaults and help, where secrets
// are read from, and what makes a set of them unsafe or contradictory.
//
// It refuses to know what the settings are used for: of the project it imports reload alone, to read
// files as that does, opens no connection and starts nothing. The struct tags are those of alecthomas/kong.
package config

// Config is every setting of the server: a flag and an environment variable each. Embed it in a
// kong command, let kong fill it, then call Load before anything else uses it. After Load it is
// only read, and safe for concurrent use.
type Config struct {
	GRPCAddr       string `name:"grpc-addr" env:"GRPC_ADDR" placeholder:"HOST:PORT" help:"Where the gRPC API listens. By default 127.0.0.1:50051, and with TLS :50051. Any other than a loopback address needs TLS, or GRPC_INSECURE."`
	GRPCInsecure   Bool   `name:"grpc-insecure" env:"GRPC_INSECURE" default:"false" help:"Serve gRPC in plain text on an address that other machines reach. Only where a service mesh encrypts."`
	GRPCReflection Bool   `name:"grpc-reflection" env:"GRPC_REFLECTION" default:"true" negatable:"" help:"Let gRPC clients list the services and their messages."`

	GRPCTLSCertFile     string `name:"grpc-tls-cert-file" env:"GRPC_TLS_CERT_FILE" placeholder:"PATH" help:"A PEM file with the certificate chain of the gRPC server. This and the files below are read again when they change."`
	GRPCTLSKeyFile      string `name:"grpc-tls-key-file" env:"GRPC_TLS_KEY_FILE" placeholder:"PATH" help:"A PEM file with the certificate's private key."`
	GRPCClientCAFile    string `name:"grpc-client-ca-file" env:"GRPC_CLIENT_CA_FILE" placeholder:"PATH" help:"A PEM file with the authorities that client certificates may be from. Needs TLS and GRPC_AUTHZ_POLICY_FILE."`
	GRPCAuthzPolicyFile string `name:"grpc-authz-policy-file" env:"GRPC_AUTHZ_POLICY_FILE" placeholder:"PATH" help:"The authorization policy of grpc, in JSON: which client certificates may call what."`
	GRPCTokensFile      string `name:"grpc-tokens-file" env:"GRPC_TOKENS_FILE" placeholder:"PATH" help:"A file of hashed bearer tokens with their rights, for callers without a client certificate. Lines are made by: server token new."`
	GRPCMaxStreams      Count  `name:"grpc-max-streams" env:"GRPC_MAX_STREAMS" default:"20000" placeholder:"N" help:"How many watches may be open in all, 1 to 1000000."`
	CallerSharePercent  Count  `name:"caller-share-percent" env:"CALLER_SHARE_PERCENT" default:"25" placeholder:"PERCENT" help:"How much of the calls at once, the watches, the health watches and the reads at Stripe one caller with a name can have, 1 to 100 percent, so that it keeps no other caller out. 0 for no bound by caller."`
	CallerMaxStreams    Count  `name:"caller-max-streams" env:"CALLER_MAX_STREAMS" default:"0" placeholder:"N" help:"How many watches each caller may have open, up to 1000000, or 0 for CALLER_SHARE_PERCENT of GRPC_MAX_STREAMS. Needs callers with names."`
	CallerRate          Count  `name:"caller-rate" env:"CALLER_RATE" default:"0" placeholder:"N" help:"How many calls a second each caller may make, up to 1000000, or 0 for any number. Needs callers with names."`

	WebhookAddr string `name:"webhook-addr" env:"WEBHOOK_ADDR" default:":4242" placeholder:"HOST:PORT" help:"Where Stripe's webhooks arrive, at the path /webhook."`
	AdminAddr   string `name:"admin-addr" env:"ADMIN_ADDR" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Where /metrics, /livez, /readyz and /debug/pprof are served. Never open it to the internet."`

	WebhookMaxConnections Count `name:"webhook-max-connections" env:"WEBHOOK_MAX_CONNECTIONS" default:"1000" placeholder:"N" help:"How many connections the webhook listener holds, 10 to 100000. At the limit the one without use for longest makes room for a new one."`
	WebhookMaxInFlight    Count `name:"webhook-max-in-flight" env:"WEBHOOK_MAX_IN_FLIGHT" default:"256" placeholder:"N" help:"How many events are committed at once, 1 to 10000. Further ones get 503 at once, and Stripe sends them again."`
	GRPCMaxConnections    Count `name:"grpc-max-connections" env:"GRPC_MAX_CONNECTIONS" default:"0" placeholder:"N" help:"How many connections the gRPC listener holds, 10 to 100000, or 0 for 1000 more than GRPC_MAX_STREAMS, since nginx opens one for each watch. At the limit one without a call makes room for a new one."`
	GRPCMaxInFlight       Count `name:"grpc-max-in-flight" env:"GRPC_MAX_IN_FLIGHT" default:"512" placeholder:"N" help:"How many calls of each unary method are served at once, 1 to 100000. Further ones get UNAVAILABLE at once. Streams are not counted."`

	RedisURL            string `name:"redis-url" env:"REDIS_URL" secret:"true" placeholder:"URL" help:"Redis, as redis:// or, with TLS, rediss://user:password@host:6379/0. Several addresses are separated by commas. With sentinel, those of the sentinels. Required."`
	RedisURLFile        string `name:"redis-url-file" env:"REDIS_URL_FILE" placeholder:"PATH" help:"A file that holds REDIS_URL. It is read again when it changes."`
	RedisMode           string `name:"redis-mode" env:"REDIS_MODE" default:"standalone" placeholder:"MODE" help:"What REDIS_URL leads to: standalone, sentinel or cluster."`
	RedisSentinelMaster string `name:"redis-sentinel-master" env:"REDIS_SENTINEL_MASTER" placeholder:"NAME" help:"The name under which the sentinels know the master. Required with sentinel."`

	RedisSentinelUsername     string `name:"redis-sentinel-username" env:"REDIS_SENTINEL_USERNAME" placeholder:"NAME" help:"The user that the sentinels know this service by. By default their default user."`
	RedisSentinelUsernameFile string `name:"redis-sentinel-username-file" env:"REDIS_SENTINEL_USERNAME_FILE" placeholder:"PATH" help:"A file that holds REDIS_SENTINEL_USERNAME. It is read again when it changes."`
	RedisSentinelPassword     string `name:"redis-sentinel-password" env:"REDIS_SENTINEL_PASSWORD" secret:"true" placeholder:"PASSWORD" help:"The password that the sentinels ask for. They are never shown that of REDIS_URL."`
	RedisSentinelPasswordFile string `name:"redis-sentinel-password-file" env:"REDIS_SENTINEL_PASSWORD_FILE" placeholder:"PATH" help:"A file that holds REDIS_SENTINEL_PASSWORD. It is read again when it changes."`

	RedisCAFile    string `name:"redis-ca-file" env:"REDIS_CA_FILE" placeholder:"PATH" help:"A PEM file with the authorities that Redis's certificate may be from. By default the system's. Only with rediss://. It is read again when it changes."`
	RedisKeyPrefix string `name:"redis-key-prefix" env:"REDIS_KEY_PREFIX" default:"vs:" placeholder:"TEXT" help:"What every key in Redis begins with. Services that share a Redis need one each."`

	RecordFormat      Count    `name:"record-format" env:"RECORD_FORMAT" default:"2" placeholder:"N" help:"The format of the records that are written: 2, or 1 while replicas of the version before this one still run."`
	FeedMaxLen        Count    `name:"feed-max-len" env:"FEED_MAX_LEN" default:"100000" placeholder:"N" help:"About how many changes each of the 16 partitions of the feed keeps, 1000 to 10000000. Older resume tokens of all_sessions are refused."`
	FeedMaxAge        Duration `name:"feed-max-age" env:"FEED_MAX_AGE" default:"168h" placeholder:"DURATION" help:"How long the feed keeps a change: 1h to 8760h, or 0s for as long as FEED_MAX_LEN allows."`
	SettledTTL        Duration `name:"settled-ttl" env:"SETTLED_TTL" default:"0s" placeholder:"DURATION" help:"How long after its last change a settled session keeps its details: 24h to 87600h, or 0s for ever. After that its status and counts stay for 36 days more."`
	RedisWaitReplicas Count    `name:"redis-wait-replicas" env:"REDIS_WAIT_REPLICAS" default:"0" placeholder:"N" help:"How many Redis replicas must have an event before the webhook is answered 2xx, 0 to 10. Without enough of them Stripe is told to send it again."`
	RedisWaitTimeout  Duration `name:"redis-wait-timeout" env:"REDIS_WAIT_TIMEOUT" default:"1s" placeholder:"DURATION" help:"How long to wait for those replicas: 10ms to 5s."`

	StripeAPIKey            string `name:"stripe-api-key" env:"STRIPE_API_KEY" secret:"true" placeholder:"KEY" help:"Stripe's secret (sk_) or restricted (rk_) key. Without it nothing is retried, read back or caught up."`
	StripeAPIKeyFile        string `name:"stripe-api-key-file" env:"STRIPE_API_KEY_FILE" placeholder:"PATH" help:"A file that holds STRIPE_API_KEY. It is read again when it changes."`
	StripeAPIBase           string `name:"stripe-api-base" env:"STRIPE_API_BASE" default:"https://api.stripe.com" placeholder:"URL" help:"Where Stripe's API is. http:// is for a loopback address only."`
	StripeWebhookSecret     string `name:"stripe-webhook-secret" env:"STRIPE_WEBHOOK_SECRET" secret:"true" placeholder:"SECRET" help:"The webhook endpoint's signing secret (whsec_...). Several, during a roll, are separated by commas. Required."`
	StripeWebhookSecretFile string `name:"stripe-webhook-secret-file" env:"STRIPE_WEBHOOK_SECRET_FILE" placeholder:"PATH" help:"A file that holds STRIPE_WEBHOOK_SECRET. It is read again when it changes."`
	Livemode                string `name:"livemode" env:"LIVEMODE" placeholder:"BOOL" help:"Which events to accept: true for live ones, false for test ones. By default those of the API key's mode, and without a key both."`
	StripeAccounts          string `name:"stripe-accounts" env:"STRIPE_ACCOUNTS" placeholder:"IDS" help:"With Connect: the connected accounts (acct_...) whose sessions concern this service, separated by commas. Events of others are acknowledged and ignored. By default all. The platform's own always do."`
	APIReadsPerDay          Count  `name:"api-reads-per-day" env:"API_READS_PER_DAY" default:"5000" placeholder:"N" help:"The greatest number of reads at Stripe's API in a day, 1 to 1000000."`

	ReconcileInterval Duration `name:"reconcile-interval" env:"RECONCILE_INTERVAL" default:"15m" placeholder:"DURATION" help:"How often to catch up from Stripe's list of events, beside at start and after an outage: 10s to 24h. Needs the API key."`

	CacheSessions        Count    `name:"cache-sessions" env:"CACHE_SESSIONS" default:"20000" placeholder:"N" help:"How many sessions each replica answers for from its memory, 1000 to 10000000: about 2 kB each."`
	MaxRetries           Count    `name:"max-retries" env:"MAX_RETRIES" default:"2" placeholder:"N" help:"How often a person may try again after a failure, 0 to 100, replaced sessions included."`
	RetryCooldown        Duration `name:"retry-cooldown" env:"RETRY_COOLDOWN" default:"0s" placeholder:"DURATION" help:"How long after a failure a retry is granted: 1s to 720h, or 0s for at once."`
	RetryDenyCodes       string   `name:"retry-deny-codes" env:"RETRY_DENY_CODES" default:"consent_declined,country_not_supported,selfie_manipulated,under_supported_age" placeholder:"CODES" help:"Stripe's error codes after which no retry is granted, separated by commas, or none. They replace the default."`
	ReferenceMetadataKey string   `name:"reference-metadata-key" env:"REFERENCE_METADATA_KEY" placeholder:"KEY" help:"The metadata key that holds the caller's own id where a session has no client_reference_id."`

	StreamMaxAge Duration `name:"stream-max-age" env:"STREAM_MAX_AGE" default:"30m" placeholder:"DURATION" help:"After how long a watch is ended so that its client resumes, perhaps elsewhere: 1s to 24h."`
	DrainTimeout Duration `name:"drain-timeout" env:"DRAIN_TIMEOUT" default:"25s" placeholder:"DURATION" help:"How long a stop may take: 1s to 10m. Keep it below the platform's own limit before it kills."`
	LogLevel     string   `name:"log-level" env:"LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"The least level that is logged: debug, info, warn or error."`
	LogFormat    string   `name:"log-format" env:"LOG_FORMAT" default:"json" placeholder:"FORMAT" help:"How log lines look: json or text."`
}

// What RedisMode may be.
const (
	RedisStandalone = "standalone"
	RedisSentinel   = "sentinel"
	RedisCluster    = "cluster"
)

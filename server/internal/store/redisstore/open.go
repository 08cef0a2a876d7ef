package redisstore

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// Timeouts of one attempt of one command. The context of the caller bounds all attempts together.
const (
	dialTimeout = 2 * time.Second
	ioTimeout   = 2 * time.Second
	poolTimeout = 3 * time.Second
)

// Store is a store.Store in Redis. It is safe for concurrent use, except Follow and Prepare.
type Store struct {
	client       redis.UniversalClient
	follower     *follower
	cache        *recordCache
	guard        *guard
	fresh        func() redis.UniversalClient // returns a new client without a connection; close it
	unchecked    func() redis.UniversalClient // like fresh, but its connections have no admission
	suspect      atomic.Bool                  // see Suspect
	advised      map[string]bool              // the warnings of Prepare that still hold
	commitScript *redis.Script
	committers   []*committer // one or, on a Cluster, one for each partition
	keys         *keys
	mode         Mode
	addrs        []string        // the addresses that hinted tests
	secured      bool            // whether connections use TLS
	prepared     bool            // whether Prepare has returned nil before
	passwords    func() []string // to remove them from errors
	unreadable   hourly          // the consumers that are logged
	feedMaxLen   int64
	feedMaxAge   time.Duration
	format       byte // the format of the records that are written
	split        bool
	policy       verification.RetryPolicy
	logger       *slog.Logger
	rand         io.Reader
	clock        func() time.Time
	trace        func(context.Context) string

	// writer is the client for commits that wait for replicas. Each occupies a connection meanwhile, and reads must not queue
	// behind them if a replica is slow. Without WaitReplicas it is client.
	writer       redis.UniversalClient
	waitReplicas int
	waitTimeout  time.Duration

	observeServers func([]Server)
	node           func(addr string) *redis.Client // returns a new client of one node; close it
}

var _ store.Backend = (*Store)(nil)

// Open returns a Store. It sends nothing to Redis, because a Redis that is unavailable must not end the process. It returns an error
// that wraps ErrMisconfigured if the options are not valid. Call Prepare before the first use, and Close at the end.
func Open(options Options) (*Store, error) {
	o, err := options.completed()
	if err != nil {
		return nil, err
	}
	redis.SetLogger(driverLog{logger: o.Logger, passwords: o.passwords})
	names := newKeys(o.Prefix)
	g := &guard{}
	client := newClient(o, g)
	writer := client
	if o.WaitReplicas > 0 {
		writer = newClient(o, g)
	}
	commitScript := newCommitScript(o.FeedMaxLen, o.FeedMaxAge)
	return &Store{
		commitScript: commitScript,
		client:       client,
		follower:     newFollower(newFollowClient(o, g), names, o.Mode == Cluster),
		cache:        newRecordCache(),
		guard:        g,
		fresh:        func() redis.UniversalClient { return newClient(o, &guard{}) },
		unchecked:    func() redis.UniversalClient { return newUnchecked(o) },
		committers:   newCommitters(client, commitScript, o.Mode),
		keys:         names,
		mode:         o.Mode,
		addrs:        o.Addrs,
		secured:      o.TLS != nil,
		prepared:     o.Dial != nil, // hinted cannot test the addresses then
		passwords:    o.passwords,
		feedMaxLen:   o.FeedMaxLen,
		feedMaxAge:   o.FeedMaxAge,
		format:       byte(o.RecordFormat),
		split:        o.SplitIndex,
		policy:       o.Policy,
		logger:       o.Logger,
		rand:         o.Rand,
		clock:        o.Clock,
		trace:        o.Trace,

		observeServers: o.ObserveServers,

		writer:       writer,
		waitReplicas: o.WaitReplicas,
		waitTimeout:  o.WaitTimeout,
		node: func(addr string) *redis.Client {
			single := o
			single.Addrs = []string{addr}
			client := redis.NewClient(universal(single).Simple())
			client.AddHook(g)
			return client
		},
	}, nil
}

// Close ends every call, including Follow, and waits for the goroutines of this package.
func (s *Store) Close() error {
	err := errors.Join(s.follower.close(), s.client.Close())
	if s.writer != s.client {
		err = errors.Join(err, s.writer.Close())
	}
	for _, b := range s.committers {
		b.close()
	}
	return err
}

// Ping returns nil if Redis answers on the connections that other calls use.
func (s *Store) Ping(ctx context.Context) error {
	err := s.client.Ping(ctx).Err()
	if err == nil && s.writer != s.client {
		err = s.writer.Ping(ctx).Err()
	}
	if err != nil {
		return s.failed(ctx, "ping", err)
	}
	return nil
}

// random returns a random number that is not 0.
func (s *Store) random() (uint64, error) {
	for {
		var b [8]byte
		if _, err := io.ReadFull(s.rand, b[:]); err != nil {
			return 0, fmt.Errorf("no randomness: %w", err)
		}
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n, nil
		}
	}
}

// universal returns the options of the driver. Maintenance notifications and the driver's self-description are off, because servers
// before 7.2 count each as an error. Pipelines use the same pool as other commands.
func universal(o Options) *redis.UniversalOptions {
	dial := o.Dial
	if dial == nil && o.TLS != nil {
		dial = o.dialTLS
	}
	return &redis.UniversalOptions{
		// A Cluster's client appends to its addresses, so each client needs its own slice.
		Addrs: slices.Clone(o.Addrs), MasterName: o.SentinelMaster, IsClusterMode: o.Mode == Cluster,
		CredentialsProvider: o.Credentials, DB: o.DB, Dialer: dial, OnConnect: greeting(o, admission(o)),
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: poolTimeout,
		DialerRetries:            1, // commands are retried anyway
		ContextTimeoutEnabled:    true,
		DisableIdentity:          true,
		PipelinePoolSize:         -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// dialTLS dials with the current TLS configuration. The driver would keep the configuration of the start.
func (o Options) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: o.TLS()}
	return dialer.DialContext(ctx, network, addr)
}

func newClient(o Options, g *guard) redis.UniversalClient { return guarded(open(universal(o)), g) }

// newUnchecked returns a client that sends commands to a server that must not be used. It is for INFO only.
func newUnchecked(o Options) redis.UniversalClient {
	u := universal(o)
	u.OnConnect = greeting(o, func(context.Context, *redis.Conn) error { return nil })
	return guarded(open(u), &guard{})
}

// open returns a client. On a Cluster the client reloads the slots every second while it is used: a node that died redirects no
// command, and the driver's own interval is a minute.
func open(u *redis.UniversalOptions) redis.UniversalClient {
	if !u.IsClusterMode {
		return redis.NewUniversalClient(u)
	}
	o := u.Cluster()
	o.ClusterStateReloadInterval = time.Second
	return redis.NewClusterClient(o)
}

// newFollowClient returns the client for blocked reads. It has few connections and no retries, because Follow is called again anyway.
func newFollowClient(o Options, g *guard) redis.UniversalClient {
	u := universal(o)
	u.PoolSize = partitions
	u.MaxRetries = -1
	return guarded(open(u), g)
}

// driverLog logs the driver's messages at debug level. Everything important is also returned as an error, and a Redis that is
// unavailable would fill the log.
type driverLog struct {
	logger    *slog.Logger
	passwords func() []string
}

// Printf implements the driver's logging interface.
func (l driverLog) Printf(ctx context.Context, text string, args ...any) {
	if l.logger.Enabled(ctx, slog.LevelDebug) {
		l.logger.DebugContext(ctx, "redis driver", "text", redact(fmt.Sprintf(text, args...), l.passwords()))
	}
}

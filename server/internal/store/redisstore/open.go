// Package redisstore keeps sessions in Redis: standalone, behind Sentinel, or on a Cluster, with one
// code path for all. It alone knows keys, encodings, scripts and the driver. It knows nothing of what
// a session means: it stores what the pure core makes, and asks the core where a record belongs.
//
// What Redis loses (a failover is asynchronous), this package cannot keep; it makes the loss seen, by
// epochs, gapless numbers and nonces.
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

// Timeouts of one attempt of one command. The caller's context bounds all attempts together.
const (
	dialTimeout = 2 * time.Second
	ioTimeout   = 2 * time.Second
	poolTimeout = 3 * time.Second
)

// Store is a store.Store in Redis. It is safe for concurrent use, but for Follow.
type Store struct {
	client     redis.UniversalClient
	follower   *follower
	cache      *recordCache
	guard      *guard
	fresh      func() redis.UniversalClient // a client with no connection yet, to be closed
	suspect    atomic.Bool                  // see Suspect
	advised    map[string]bool              // what Prepare has warned of and still holds
	committers []*committer                 // one; on a Cluster one for each partition
	keys       *keys
	mode       Mode
	addrs      []string        // what a hint is about
	secured    bool            // by TLS
	prepared   bool            // Prepare has returned nil before
	passwords  func() []string // to keep them out of errors
	feedMaxLen int64
	feedMaxAge time.Duration
	format     byte // in which records are written
	split      bool
	policy     verification.RetryPolicy
	logger     *slog.Logger
	rand       io.Reader
	clock      func() time.Time
	trace      func(context.Context) string

	// writer is for commits that wait for replicas: each holds a connection meanwhile, and reads must
	// not queue behind them when a replica is slow. It is client where nothing is waited for.
	writer       redis.UniversalClient
	waitReplicas int
	waitTimeout  time.Duration
	node         func(addr string) *redis.Client // a client of one node, to be closed
}

var _ store.Backend = (*Store)(nil)

// Open makes the clients and asks Redis nothing: a Redis that is away must not stop the process. Its
// errors wrap ErrMisconfigured. Call Prepare before relying on what is there, and Close in the end.
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
	return &Store{
		client:     client,
		follower:   newFollower(newFollowClient(o, g), names, o.Mode == Cluster),
		cache:      newRecordCache(),
		guard:      g,
		fresh:      func() redis.UniversalClient { return newClient(o, &guard{}) },
		committers: newCommitters(client, o.Mode),
		keys:       names,
		mode:       o.Mode,
		addrs:      o.Addrs,
		secured:    o.TLS != nil,
		prepared:   o.Dial != nil, // no hint can be found out
		passwords:  o.passwords,
		feedMaxLen: o.FeedMaxLen,
		feedMaxAge: o.FeedMaxAge,
		format:     byte(o.RecordFormat),
		split:      o.SplitIndex,
		policy:     o.Policy,
		logger:     o.Logger,
		rand:       o.Rand,
		clock:      o.Clock,
		trace:      o.Trace,

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

// Close ends every call, also Follow, and waits for what this package has begun.
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

// Ping reports whether Redis answers, on the connections that calls are made on.
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

// random returns a number that is not 0.
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

// universal are the driver's options. Maintenance notifications and the driver's self-description
// are off: servers before 7.2 count each as an error. There is no pool of its own for pipelines.
func universal(o Options) *redis.UniversalOptions {
	dial := o.Dial
	if dial == nil && o.TLS != nil {
		dial = o.dialTLS
	}
	return &redis.UniversalOptions{
		// A Cluster's client appends to its addresses: each needs a list of its own.
		Addrs: slices.Clone(o.Addrs), MasterName: o.SentinelMaster, IsClusterMode: o.Mode == Cluster,
		CredentialsProvider: o.Credentials, DB: o.DB, Dialer: dial, OnConnect: greeting(o),
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: poolTimeout,
		DialerRetries:            1, // commands are tried again already
		ContextTimeoutEnabled:    true,
		DisableIdentity:          true,
		PipelinePoolSize:         -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// dialTLS makes a connection by the TLS of this moment: the driver would keep that of the start.
func (o Options) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: o.TLS()}
	return dialer.DialContext(ctx, network, addr)
}

func newClient(o Options, g *guard) redis.UniversalClient { return guarded(open(universal(o)), g) }

// open makes the client. On a Cluster it asks for the slots every second while it is used: a node
// that died redirects nobody, and the driver's own interval is a minute.
func open(u *redis.UniversalOptions) redis.UniversalClient {
	if !u.IsClusterMode {
		return redis.NewUniversalClient(u)
	}
	o := u.Cluster()
	o.ClusterStateReloadInterval = time.Second
	return redis.NewClusterClient(o)
}

// newFollowClient is for blocked reads: few connections, and no repeats, since Follow is called
// again anyway.
func newFollowClient(o Options, g *guard) redis.UniversalClient {
	u := universal(o)
	u.PoolSize = partitions
	u.MaxRetries = -1
	return guarded(open(u), g)
}

// driverLog hands the driver's messages on. They are at debug level: whatever matters comes back as
// an error too, and a Redis that is away would fill the log.
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

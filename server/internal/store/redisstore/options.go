package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// Mode is how Redis is deployed.
type Mode string

// The modes.
const (
	Standalone Mode = "standalone"
	Sentinel   Mode = "sentinel"
	Cluster    Mode = "cluster"
)

// Defaults and bounds of Options.
const (
	DefaultPrefix      = "vs:"
	DefaultFeedMaxLen  = 100_000
	DefaultWaitTimeout = time.Second
	maxPrefix          = 64
	maxAddrs           = 64
	traceSize          = 24 // a trace id and a span id: w3.org/TR/trace-context
)

// Options configure a Store. The zero value of each field is valid, except Addrs and, in Sentinel mode, SentinelMaster.
type Options struct {
	// Addrs holds addresses as host:port: the server, the Sentinels, or some nodes of the Cluster.
	Addrs []string
	// Mode is how Redis is deployed. Empty means Standalone.
	Mode Mode
	// SentinelMaster is the name of the master at the Sentinels. It is only for Sentinel mode.
	SentinelMaster string
	// Credentials returns the current user and password for the data nodes. It is called for every new connection, by many
	// goroutines at once. Open connections keep their credentials. nil means no credentials.
	Credentials func() (username, password string)
	// SentinelCredentials is the same for the Sentinels. An empty user means the default user.
	SentinelCredentials func() (username, password string)
	// DB is the number of the database. It must be 0 on a Cluster.
	DB int
	// TLS returns the current TLS configuration for new connections. It is called like Credentials. nil means plain text. It has
	// no effect on connections that Dial makes.
	TLS func() *tls.Config

	// Prefix is the prefix of every key: at most 64 bytes without braces. Empty means DefaultPrefix.
	Prefix string
	// FeedMaxLen is approximately how many entries each partition of the feed keeps, at least 1. Redis trims in steps of 100. 0
	// means DefaultFeedMaxLen.
	FeedMaxLen int64
	// FeedMaxAge is how long the feed keeps an entry. 0 means as long as FeedMaxLen allows. Old entries are removed when new ones
	// are written to their partition.
	FeedMaxAge time.Duration
	// RecordFormat is the format of the records that are written: 3, or 2 or 1 while replicas run that write this older format. They
	// keep the new fields but cannot fill them. 0 means 3.
	RecordFormat int
	// SplitIndex writes the index of references in a separate script. A Cluster always does.
	SplitIndex bool

	// Policy decides which sessions are in the lists of denied retries. All replicas need the same policy. After a change
	// RepairLists updates the lists.
	Policy verification.RetryPolicy

	// WaitReplicas is how many replicas must have a commit before Update returns. With 1 or more, a failover to such a replica does
	// not lose the commit. 0 waits for none. The index of references on a Cluster, and the data of CatchUp, are not waited for.
	WaitReplicas int
	// WaitTimeout is how long Update waits for the replicas before it returns store.ErrUnavailable. The commit can then be kept or
	// lost. 0 means DefaultWaitTimeout.
	WaitTimeout time.Duration

	// Logger gets warnings, and the driver's messages at debug level. nil discards them. The driver has one logger for the whole
	// process: that of the last Open.
	Logger *slog.Logger
	// Rand is the source of nonces and epochs. It must be safe for concurrent use. nil means crypto/rand.
	Rand io.Reader
	// Clock is the clock for FeedMaxAge and ListsRepaired. nil means time.Now.
	Clock func() time.Time
	// Trace returns the trace of a commit for its feed entries: 24 bytes, or "" for none. nil means none.
	Trace func(ctx context.Context) string
	// ObserveServers is called by Prepare with what each master says of its memory, whether Prepare then refuses the servers or not. It is
	// not called if a master does not answer. nil: not called.
	ObserveServers func([]Server)
	// Dial makes the connections if it is not nil, for example to a Redis within this process.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// completed returns the options with their defaults. It returns one error with every problem.
func (o Options) completed() (Options, error) {
	if o.Mode == "" {
		o.Mode = Standalone
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.FeedMaxLen == 0 {
		o.FeedMaxLen = DefaultFeedMaxLen
	}
	if o.RecordFormat == 0 {
		o.RecordFormat = format
	}
	if o.WaitTimeout == 0 {
		o.WaitTimeout = DefaultWaitTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	none := func() (string, string) { return "", "" }
	if o.Credentials == nil {
		o.Credentials = none
	}
	if o.SentinelCredentials == nil {
		o.SentinelCredentials = none
	}
	if o.Trace == nil {
		o.Trace = func(context.Context) string { return "" }
	}
	if o.ObserveServers == nil {
		o.ObserveServers = func([]Server) {}
	}
	o.SplitIndex = o.SplitIndex || o.Mode == Cluster

	var problems []error
	wrong := func(bad bool, text string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf("%w: "+text, append([]any{ErrMisconfigured}, args...)...))
		}
	}
	wrong(o.Mode != Standalone && o.Mode != Sentinel && o.Mode != Cluster, "the mode %q is none of standalone, sentinel, cluster", o.Mode)
	wrong(len(o.Addrs) == 0 || len(o.Addrs) > maxAddrs, "%d addresses; give 1 to %d", len(o.Addrs), maxAddrs)
	wrong(o.Mode == Standalone && len(o.Addrs) > 1, "%d addresses, but mode standalone; set the mode to sentinel or cluster", len(o.Addrs))
	wrong((o.Mode == Sentinel) != (o.SentinelMaster != ""), "the name of Sentinel's master goes with mode sentinel, and only with it")
	wrong(o.Mode == Cluster && o.DB != 0, "database %d; a Cluster has only 0", o.DB)
	wrong(o.DB < 0, "database %d; give 0 or more", o.DB)
	wrong(len(o.Prefix) > maxPrefix || strings.ContainsAny(o.Prefix, "{}"), "the key prefix must have at most %d bytes and no braces", maxPrefix)
	wrong(o.FeedMaxAge < 0 || o.FeedMaxAge > 0 && o.FeedMaxAge < time.Second, "the feed's age %v; give 1s or more, or 0 for no bound", o.FeedMaxAge)
	wrong(o.WaitReplicas < 0, "%d replicas to wait for; give 0 or more", o.WaitReplicas)
	wrong(o.WaitTimeout < time.Millisecond, "%v to wait for replicas; give 1ms or more", o.WaitTimeout)
	wrong(o.RecordFormat < oldest || o.RecordFormat > format, "records of format %d; give %d to %d", o.RecordFormat, oldest, format)
	wrong(o.FeedMaxLen < 0, "the feed's length %d; give 1 or more", o.FeedMaxLen)
	return o, errors.Join(problems...)
}

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

// Mode is how Redis is run.
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

// Options say where Redis is and how it is used. The zero value of each field is usable but for
// Addrs, and SentinelMaster in Sentinel mode.
type Options struct {
	// Addrs are host:port: the server, or the Sentinels, or some nodes of the Cluster.
	Addrs []string
	// Mode is Standalone if empty.
	Mode Mode
	// SentinelMaster is the name of the master set, in Sentinel mode only.
	SentinelMaster string
	// Credentials returns the user and password for the data nodes as they are now. It is called for every
	// new connection, from many goroutines at once: connections that are open keep what they began with.
	// nil: none are given.
	Credentials func() (username, password string)
	// SentinelCredentials are the same for the Sentinels. An empty user is the default one.
	SentinelCredentials func() (username, password string)
	// DB is the database number; 0 on a Cluster.
	DB int
	// TLS returns what new connections are secured with, as it is now; called like Credentials. nil:
	// plain text. It does not concern connections that Dial makes.
	TLS func() *tls.Config

	// Prefix begins every key: at most 64 bytes without braces. DefaultPrefix if empty.
	Prefix string
	// FeedMaxLen is about how many entries each partition of the feed keeps, at least 1.
	// DefaultFeedMaxLen if 0. Redis cuts in steps of 100.
	FeedMaxLen int64
	// FeedMaxAge is how long the feed keeps an entry; 0 for as long as FeedMaxLen allows. Old entries
	// go when new ones are written to their partition.
	FeedMaxAge time.Duration
	// RecordFormat is the format in which records are written: 2, or 1 as long as replicas of the version
	// before run, which keep the new fields but cannot fill them. 2 if 0.
	RecordFormat int
	// SplitIndex commits the index of references in a script of its own. Always so on a Cluster.
	SplitIndex bool

	// Policy is what the lists of those who are denied a retry go by. All replicas need the same one;
	// after a change RepairLists puts right what is there.
	Policy verification.RetryPolicy

	// WaitReplicas is how many replicas must have a commit before Update returns it: with 1 or more
	// no failover to a replica that kept up loses it. 0 waits for none. The index of references on a
	// Cluster, and what CatchUp remembers, are not waited for.
	WaitReplicas int
	// WaitTimeout is how long Update waits for them before it fails with store.ErrUnavailable; the
	// commit may then be kept or not. DefaultWaitTimeout if 0.
	WaitTimeout time.Duration

	// Logger gets warnings, and the driver's messages at debug level. Discarded if nil. The driver
	// has one logger for the whole process: that of the last Open.
	Logger *slog.Logger
	// Rand is where nonces and epochs come from. It must be safe for concurrent use. crypto/rand's
	// reader if nil.
	Rand io.Reader
	// Clock is what FeedMaxAge and ListsRepaired go by; time.Now if nil.
	Clock func() time.Time
	// Trace tells the trace in which a commit is made, as its feed entries are to hold it: 24 bytes, or
	// nothing for none. None if nil.
	Trace func(ctx context.Context) string
	// Dial, if not nil, makes the connections, such as to a Redis within this process.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// completed fills in defaults and reports everything that is wrong at once.
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
	wrong(o.RecordFormat != format && o.RecordFormat != format-1, "records of format %d; give %d or %d", o.RecordFormat, format-1, format)
	wrong(o.FeedMaxLen < 0, "the feed's length %d; give 1 or more", o.FeedMaxLen)
	return o, errors.Join(problems...)
}

package redisstore

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"example.com/verification-status/server/internal/store"
)

// ErrMisconfigured means: Redis answers, but must not be used as it is configured, or this service must be
// configured otherwise. Waiting does not help, until somebody corrects it.
var ErrMisconfigured = errors.New("Redis is not configured as this service needs it")

// Reason says in one word what must be corrected, for a metric. The empty Reason is none.
type Reason string

// The reasons.
const (
	ReasonPassword   Reason = "password"   // wrong user or password, or the user is off
	ReasonPermission Reason = "permission" // the user may not run a command, or not on these keys
	ReasonCommand    Reason = "command"    // the server does not have a command: renamed, or disabled
	ReasonEviction   Reason = "eviction"   // its maxmemory-policy deletes sessions
	ReasonMode       Reason = "mode"       // not what REDIS_MODE or the database number says
	ReasonData       Reason = "data"       // data of another layout
	ReasonVersion    Reason = "version"    // too old
	ReasonTopology   Reason = "topology"   // a Cluster or its Sentinels do not tell where the data are
)

// Reasons are all of them.
var Reasons = []Reason{
	ReasonPassword, ReasonPermission, ReasonCommand, ReasonEviction, ReasonMode, ReasonData, ReasonVersion, ReasonTopology,
}

// NewConnectionsOnly reports whether connections that are open already can still be used.
func (r Reason) NewConnectionsOnly() bool { return r == ReasonPassword || r == ReasonTopology }

// RefusedError says why Redis must not be used, or does not let this service in.
type RefusedError struct {
	Reason Reason
	Text   string // what is wrong, and what corrects it
}

func (e *RefusedError) Error() string {
	if e.Reason == ReasonTopology || e.Reason == ReasonPassword { // not Redis must be configured, but this service
		return e.Text
	}
	return ErrMisconfigured.Error() + ": " + e.Text
}

// Unwrap returns ErrMisconfigured, or store.ErrUnavailable if it can pass by itself: a Cluster and its
// Sentinels are set up while this service starts.
func (e *RefusedError) Unwrap() error {
	if e.Reason == ReasonTopology {
		return store.ErrUnavailable
	}
	return ErrMisconfigured
}

// Refusal returns what store.RefusalOf returns.
func (e *RefusedError) Refusal() store.Refusal {
	return store.Refusal{
		Reason:             string(e.Reason),
		Misconfigured:      e.Reason != ReasonTopology,
		NewConnectionsOnly: e.Reason.NewConnectionsOnly(),
	}
}

func refuse(reason Reason, text string, args ...any) error {
	return &RefusedError{Reason: reason, Text: fmt.Sprintf(text, args...)}
}

// ReasonOf returns why Prepare says that somebody must correct something; the first one of several, empty
// if there is none.
func ReasonOf(err error) Reason {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return ""
}

// errTopology is in place of the driver's redis.Nil, which a command would take for its own answer.
var errTopology = refuse(ReasonTopology,
	"CLUSTER SLOTS names a node without an address; set cluster-preferred-endpoint-type to ip on all nodes, or announce their hostnames")

// errNoMaster is the same for a name that the Sentinels do not know.
var errNoMaster = refuse(ReasonTopology,
	"the Sentinels do not know the master's name; compare REDIS_SENTINEL_MASTER with their configuration (SENTINEL MASTERS)")

var (
	// unknownCommand matches what servers say of a command that they do not have, from a client or a script.
	unknownCommand = regexp.MustCompile(`(?i)\bunknown (\w+ )?(sub)?command\b`)
	// forbiddenCommand matches what they say of a command or a key that the user has no right to: the first
	// of a client, then of a script in Redis up to 7.0, then since 7.2 and in Valkey.
	forbiddenCommand = regexp.MustCompile(`\bNOPERM\b|The user executing the script|ACL failure in script|has no permissions to (run|access)`)
	// wrongPassword matches the answers to credentials, and to their absence. The last is that of a server
	// without a password.
	wrongPassword = regexp.MustCompile(`\bWRONGPASS\b|\bNOAUTH\b|without any password configured`)
	// wrongMode matches the answers of servers that are run otherwise than REDIS_MODE says, or have fewer databases.
	wrongMode = regexp.MustCompile(`\b(MOVED|CROSSSLOT) |cluster support disabled|DB index is out of range|invalid DB index|SELECT is not allowed in cluster mode`)
)

// reasonIn returns why a server will go on to refuse, if that is what its answer says.
func reasonIn(mode Mode, text string) Reason {
	switch {
	case wrongPassword.MatchString(text):
		return ReasonPassword
	case forbiddenCommand.MatchString(text):
		return ReasonPermission
	case unknownCommand.MatchString(text):
		return ReasonCommand
	case mode == Cluster && strings.Contains(text, "MOVED "):
		return "" // it passes
	case wrongMode.MatchString(text):
		return ReasonMode
	}
	return ""
}

// refused makes a refusal of an error of the driver; nil if it is none. A server that answers otherwise,
// or not at all, may be another one in a moment.
func (s *Store) refused(err error) error {
	var known *RefusedError
	if errors.As(err, &known) {
		return known
	}
	text := s.redacted(err.Error())
	switch reason := reasonIn(s.mode, text); reason {
	case "":
		return nil
	case ReasonPassword:
		return refuse(reason, "%s (Redis says: %s)", passwordAdvice(text), text)
	case ReasonPermission:
		return refuse(reason, "it says: %s; allow its user %s", text, s.rule())
	case ReasonCommand:
		return refuse(reason, "it says: %s; this service needs the command: remove its rename-command, or use another server", text)
	default:
		return refuse(reason, "it says: %s; compare REDIS_MODE and the database in REDIS_URL with how Redis is run", text)
	}
}

// passwordAdvice says what to do about an answer to credentials, or to their absence.
func passwordAdvice(text string) string {
	switch {
	case strings.Contains(text, "NOAUTH"):
		return "Redis wants a password and was given none: write it into REDIS_URL, as in redis://user:password@host:6379"
	case strings.Contains(text, "without any password configured"):
		return "Redis has no password, and REDIS_URL has one: take it out of REDIS_URL, or set requirepass in Redis"
	default:
		return "Redis does not let this service in: correct the user and password in REDIS_URL, or switch the user on"
	}
}

// rule is what ACL SETUSER must be given.
func (s *Store) rule() string {
	return "~" + s.keys.prefix + "* -@all +" + strings.Join(ACLCommands(s.mode), " +")
}

package redisstore

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"example.com/verification-status/server/internal/store"
)

// ErrMisconfigured means that Redis answers, but its configuration or that of this service is wrong. It does not pass by itself:
// an operator must correct it.
var ErrMisconfigured = errors.New("Redis is not configured as this service needs it")

// Reason is what must be corrected, in one word for a metric. The empty Reason means that nothing must be corrected.
type Reason string

// The reasons.
const (
	ReasonPassword   Reason = "password"   // wrong user or password, or the user is off
	ReasonPermission Reason = "permission" // the user has no permission for a command or for the keys
	ReasonCommand    Reason = "command"    // the server does not have a command: it is renamed or disabled
	ReasonEviction   Reason = "eviction"   // its maxmemory-policy deletes sessions
	ReasonMode       Reason = "mode"       // not what REDIS_MODE or the database number says
	ReasonData       Reason = "data"       // data of another layout
	ReasonVersion    Reason = "version"    // too old
	ReasonTopology   Reason = "topology"   // the Cluster or the Sentinels do not say where the data are
)

// Reasons holds all reasons.
var Reasons = []Reason{
	ReasonPassword, ReasonPermission, ReasonCommand, ReasonEviction, ReasonMode, ReasonData, ReasonVersion, ReasonTopology,
}

// NewConnectionsOnly reports whether the reason concerns only new connections. Open connections can still be used then.
func (r Reason) NewConnectionsOnly() bool { return r == ReasonPassword || r == ReasonTopology }

// RefusedError is why Redis must not be used, or why it refuses this service.
type RefusedError struct {
	Reason Reason
	Text   string // what is wrong, and how to correct it
}

func (e *RefusedError) Error() string {
	if e.Reason == ReasonTopology || e.Reason == ReasonPassword { // the configuration of this service is wrong, not that of Redis
		return e.Text
	}
	return ErrMisconfigured.Error() + ": " + e.Text
}

// Unwrap returns ErrMisconfigured, or store.ErrUnavailable if the refusal can pass by itself: a Cluster or the Sentinels might still
// be starting.
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

// ReasonOf returns the reason in an error of Prepare: the first one if there are several, or "" if there is none.
func ReasonOf(err error) Reason {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return ""
}

// errTopology replaces the driver's redis.Nil, which would look like the answer to the command.
var errTopology = refuse(ReasonTopology,
	"CLUSTER SLOTS names a node without an address; set cluster-preferred-endpoint-type to ip on all nodes, or announce their hostnames")

// errNoMaster replaces redis.Nil for a master's name that the Sentinels do not know.
var errNoMaster = refuse(ReasonTopology,
	"the Sentinels do not know the master's name; compare REDIS_SENTINEL_MASTER with their configuration (SENTINEL MASTERS)")

var (
	// unknownCommand matches a server's answer to a command that it does not have, from a client or a script.
	unknownCommand = regexp.MustCompile(`(?i)\bunknown (\w+ )?(sub)?command\b`)
	// forbiddenCommand matches the answer if the user has no permission for a command or a key: to a client, to a script in Redis
	// up to 7.0, and to a script since Redis 7.2 and in Valkey.
	forbiddenCommand = regexp.MustCompile(`\bNOPERM\b|The user executing the script|ACL failure in script|has no permissions to (run|access)`)
	// wrongPassword matches the answers to wrong or missing credentials, and to credentials for a server without a password.
	wrongPassword = regexp.MustCompile(`\bWRONGPASS\b|\bNOAUTH\b|without any password configured`)
	// wrongMode matches the answers of a server that is deployed differently from REDIS_MODE, or that has fewer databases.
	wrongMode = regexp.MustCompile(`\b(MOVED|CROSSSLOT) |cluster support disabled|DB index is out of range|invalid DB index|SELECT is not allowed in cluster mode`)
)

// reasonIn returns the reason if a server's answer means that it will keep refusing. It returns "" for other answers.
func reasonIn(mode Mode, text string) Reason {
	switch {
	case wrongPassword.MatchString(text):
		return ReasonPassword
	case forbiddenCommand.MatchString(text):
		return ReasonPermission
	case unknownCommand.MatchString(text):
		return ReasonCommand
	case mode == Cluster && strings.Contains(text, "MOVED "):
		return "" // the driver follows the redirection
	case wrongMode.MatchString(text):
		return ReasonMode
	}
	return ""
}

// refused converts an error of the driver to a refusal. It returns nil if the error can pass by itself.
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

// passwordAdvice returns how to correct the credentials, by the server's answer.
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

// rule returns the rule for ACL SETUSER.
func (s *Store) rule() string {
	return "~" + s.keys.prefix + "* -@all +" + strings.Join(ACLCommands(s.mode), " +")
}

package redisstore

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
)

var sentinelRule = strings.Fields(SentinelRule)

// guardSentinels makes the Sentinels ask for a password, also among each other.
func guardSentinels(set *redistest.SentinelSet, password string) {
	for _, sentinel := range set.Sentinels {
		sentinel.MustAsk("SENTINEL", "CONFIG", "SET", "sentinel-pass", password)
		sentinel.MustAsk("ACL", "SETUSER", "default", "resetpass", ">"+password)
		sentinel.AskWith(password)
	}
}

// TestSentinelsWithAPassword: Sentinels have credentials of their own, and the store follows a failover with them.
func TestSentinelsWithAPassword(t *testing.T) {
	t.Parallel()
	set := redistest.StartSentinel(t, 1, 3)
	guardSentinels(set, "sentinels-secret")
	for _, server := range set.Servers {
		allow(server, ACLCommands(Sentinel))
	}
	o := sentinelOptions(set)
	o.Addrs = o.Addrs[:1] // it learns the others from the first, and has to authenticate there too
	o.Credentials = credentials("vs", "swordfish")
	o.SentinelCredentials = credentials("", "sentinels-secret")
	s := openStore(t, o)
	if err := s.Prepare(testContext(t)); err != nil {
		t.Fatal(err)
	}
	untilApplied(t, s, event("vs_a", 0))
	set.Servers[1].AwaitSynced(set.Servers[0])
	set.Sentinels[0].Stop()
	set.Servers[0].Stop()
	if session, _ := untilApplied(t, s, event("vs_a", 1)); session.Revision != 2 {
		t.Errorf("revision %d after the failover; want 2", session.Revision)
	}
}

// TestPrepareNamesTheSentinelsSettings: the refusal of a Sentinel names the wrong setting and contains no password.
func TestPrepareNamesTheSentinelsSettings(t *testing.T) {
	set := redistest.StartSentinel(t, 0, 2)
	guardSentinels(set, "sentinels-secret")
	for _, sentinel := range set.Sentinels {
		sentinel.MustAsk("ACL", "SETUSER", "idle", "on", ">sentinels-secret", "-@all", "+ping")
	}
	for _, test := range []struct {
		name, username, password string
		reason                   Reason
		want                     string
	}{
		{"no password", "", "", ReasonPassword, "set REDIS_SENTINEL_PASSWORD"},
		{"a wrong password", "", "planted-secret", ReasonPassword, "correct REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD"},
		{"an unknown user", "someone", "planted-secret", ReasonPassword, "correct REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD"},
		{"a user without rights", "idle", "sentinels-secret", ReasonTopology, "allow its user " + SentinelRule},
	} {
		var log safeBuffer
		o := sentinelOptions(set)
		o.SentinelCredentials = credentials(test.username, test.password)
		o.Logger = debugLogger(&log)
		err := openStore(t, o).Prepare(testContext(t))
		if ReasonOf(err) != test.reason {
			t.Errorf("%s: %v; want the reason %s", test.name, err, test.reason)
			continue
		}
		if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "+evalsha") {
			t.Errorf("%s: %v; want %q, and nothing of rights in Redis", test.name, err, test.want)
		}
		if told := err.Error() + log.String(); strings.Contains(told, "planted-secret") || strings.Contains(told, "sentinels-secret") {
			t.Errorf("%s: a password is told:\n%s", test.name, told)
		}
	}
}

// TestSentinelsThatDoNotKnowTheMaster: their answer does not mean that a session does not exist.
func TestSentinelsThatDoNotKnowTheMaster(t *testing.T) {
	t.Parallel()
	set := redistest.StartSentinel(t, 0, 2)
	o := sentinelOptions(set)
	s := openStore(t, o)
	apply(t, s, event("vs_a", 0))
	for _, sentinel := range set.Sentinels {
		sentinel.MustAsk("SENTINEL", "REMOVE", redistest.MasterName)
	}
	set.Servers[0].MustAsk("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	for what, err := range map[string]error{
		"Prepare": s.Prepare(testContext(t)),
		"Get":     func() error { _, err := s.Get(testContext(t), "vs_a"); return err }(),
	} {
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "REDIS_SENTINEL_MASTER") {
			t.Errorf("%s: %v; want ErrUnavailable and the setting", what, err)
		}
	}
}

// TestG17_SentinelsCredentialsChange: the credentials of the Sentinels can change while the store is open. Each new
// connection uses the current ones, and open connections stay.
func TestG17_SentinelsCredentialsChange(t *testing.T) {
	t.Parallel()
	set := redistest.StartSentinel(t, 0, 1)
	sentinel, master := set.Sentinels[0], set.Servers[0]
	sentinel.MustAsk(append([]string{"ACL", "SETUSER", "app", "on", ">first-secret"}, sentinelRule...)...)
	guardSentinels(set, "sentinels-secret")
	var password atomic.Pointer[string]
	use := func(text string) { password.Store(&text) }
	use("first-secret")
	o := sentinelOptions(set)
	o.SentinelCredentials = func() (string, string) { return "app", *password.Load() }
	s := openStore(t, o)
	// reconnect makes the next call ask a Sentinel again, over a new connection.
	reconnect := func() {
		t.Helper()
		for _, server := range []*redistest.Server{sentinel, master} {
			server.MustAsk("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			server.MustAsk("CLIENT", "KILL", "TYPE", "pubsub")
		}
	}
	if err := s.Ping(testContext(t)); err != nil {
		t.Fatal(err)
	}
	sentinel.MustAsk("ACL", "SETUSER", "app", "<first-secret", ">second-secret")
	if err := s.Ping(testContext(t)); err != nil {
		t.Errorf("on the open connections: %v", err)
	}
	reconnect()
	if err := s.Ping(testContext(t)); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "REDIS_SENTINEL_PASSWORD") {
		t.Errorf("by the old password: %v; want ErrUnavailable and the setting", err)
	}
	use("second-secret")
	if err := s.Ping(testContext(t)); err != nil {
		t.Errorf("by the new password: %v", err)
	}
}

// TestSentinelRuleIsExact: with the documented rule nothing is refused to a user of the Sentinels. Without any part
// of it something is: to ask for the master, to learn the other Sentinels, to be told of a new master, or to check
// the connection.
func TestSentinelRuleIsExact(t *testing.T) {
	t.Parallel()
	set := redistest.StartSentinel(t, 0, 1)
	sentinel := set.Sentinels[0]
	refused := func(user string) bool { return strings.Contains(sentinel.MustAsk("ACL", "LOG"), user) }
	pinged := func(user string) bool {
		for line := range strings.Lines(sentinel.MustAsk("CLIENT", "LIST", "TYPE", "pubsub")) {
			if strings.Contains(line, "user="+user+" ") && strings.Contains(line, " cmd=ping ") {
				return true
			}
		}
		return false
	}
	begin := func(user string, rule []string) {
		sentinel.MustAsk(append([]string{"ACL", "SETUSER", user, "on", ">sentinels-secret"}, rule...)...)
		o := sentinelOptions(set)
		o.SentinelCredentials = credentials(user, "sentinels-secret")
		_ = openStore(t, o).Prepare(testContext(t)) // some are refused
	}
	begin("whole", sentinelRule)
	for i, part := range sentinelRule {
		if strings.HasPrefix(part, "+") || strings.HasPrefix(part, "&") {
			begin("without"+part, slices.Delete(slices.Clone(sentinelRule), i, i+1))
		}
	}
	waitUntil(t, func() bool { return pinged("whole") }) // the last that it does, after some seconds
	for _, part := range sentinelRule {
		if strings.HasPrefix(part, "+") || strings.HasPrefix(part, "&") {
			waitUntil(t, func() bool { return refused("without" + part) })
		}
	}
	if refused("whole") {
		t.Errorf("with the whole rule something is refused:\n%s", sentinel.MustAsk("ACL", "LOG"))
	}
}

// TestASentinelThatDoesNotAnswerIsNotUsed: its late answer would be taken for the answer to the next command.
func TestASentinelThatDoesNotAnswerIsNotUsed(t *testing.T) {
	o := Options{Mode: Sentinel, SentinelMaster: "main", SentinelCredentials: credentials("", "")}
	mute := redis.NewClient(&redis.Options{
		Dialer:      func(context.Context, string, string) (net.Conn, error) { return greeted(t), nil },
		ReadTimeout: 50 * time.Millisecond, MaxRetries: -1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer mute.Close()
	conn := mute.Conn()
	defer conn.Close()
	var timeout net.Error
	if err := o.greetSentinel(testContext(t), conn); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v; want the timeout", err)
	}
}

// greeted returns a connection to a server that refuses HELLO, which the driver accepts, and answers nothing else.
func greeted(t *testing.T) net.Conn {
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close(); server.Close() })
	go func() {
		buffer := make([]byte, 1024)
		if _, err := server.Read(buffer); err != nil {
			return
		}
		_, _ = io.WriteString(server, "-ERR unknown command 'HELLO'\r\n")
		_, _ = io.Copy(io.Discard, server)
	}()
	return client
}

package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// sentinelRefusal means: a Sentinel refuses this service, and waiting does not help.
type sentinelRefusal struct {
	what string // the end of "a Sentinel refuses"
	err  error  // the Sentinel's answer
}

func (r *sentinelRefusal) Error() string {
	return fmt.Sprintf("a Sentinel refuses %s: %v", r.what, r.err)
}

// SentinelRule is what a user of the Sentinels needs, as an ACL rule: the driver asks for the master and for
// the other Sentinels, and is told of a new master.
const SentinelRule = "resetchannels &+switch-master &+replica-reconf-done -@all +ping +sentinel|get-master-addr-by-name +sentinel|sentinels +subscribe"

// toMaster begins the driver's name of a connection to a data node that it found through Sentinels. The name of
// a connection to a Sentinel has that one's address.
const toMaster = "Redis<FailoverClient "

// greetSentinel authenticates a new connection to a Sentinel by the credentials of this moment: the driver can
// be given fixed ones only. It asks what the driver asks next, so that a refusal names the setting to change.
// The driver calls it for connections to data nodes too; those have authenticated by then.
func (o Options) greetSentinel(ctx context.Context, conn *redis.Conn) error {
	if strings.HasPrefix(conn.String(), toMaster) {
		return nil
	}
	username, password := o.SentinelCredentials()
	if password != "" {
		// With a user's name, because Sentinels without a password refuse AUTH without one.
		if err := conn.AuthACL(ctx, cmp.Or(username, "default"), password).Err(); redis.HasErrorPrefix(err, "WRONGPASS") {
			return &sentinelRefusal{"the user or password of REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD", err}
		} else if err != nil {
			return err
		}
	}
	err := conn.Do(ctx, "sentinel", "get-master-addr-by-name", o.SentinelMaster).Err()
	switch {
	case redis.HasErrorPrefix(err, "NOAUTH"):
		return &sentinelRefusal{"to answer without a password; set REDIS_SENTINEL_PASSWORD, since that of REDIS_URL is for Redis only", err}
	case errors.Is(err, redis.Nil): // no refusal: one that has just started might learn the name yet
		return errors.New("a Sentinel knows no master of the name in REDIS_SENTINEL_MASTER")
	case redis.HasErrorPrefix(err, "NOPERM"):
		return &sentinelRefusal{"a command; allow its user " + SentinelRule, err}
	}
	return nil // the driver asks again
}

// passwords are those that no error and no log line may hold, the longest first: it can contain the other.
func (o Options) passwords() []string {
	var set []string
	for _, credentials := range []func() (string, string){o.Credentials, o.SentinelCredentials} {
		if _, password := credentials(); password != "" {
			set = append(set, password)
		}
	}
	slices.SortFunc(set, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return set
}

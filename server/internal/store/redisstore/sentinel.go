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

// SentinelRule is the ACL rule for a user of the Sentinels. The driver asks for the master and for the other Sentinels, and subscribes
// to the announcements of a new master.
const SentinelRule = "resetchannels &+switch-master &+replica-reconf-done -@all +ping +sentinel|get-master-addr-by-name +sentinel|sentinels +subscribe"

// toMaster is the prefix of the driver's name for a connection to a data node that it found through Sentinels. The name of a connection
// to a Sentinel has the address of the Sentinel.
const toMaster = "Redis<FailoverClient "

// greeting returns the first steps on each new connection: admit on a data node, and greetSentinel on a Sentinel.
func greeting(o Options, admit func(ctx context.Context, conn *redis.Conn) error) func(ctx context.Context, conn *redis.Conn) error {
	return func(ctx context.Context, conn *redis.Conn) error {
		if o.Mode == Sentinel && !strings.HasPrefix(conn.String(), toMaster) {
			if err := o.greetSentinel(ctx, conn); err != nil {
				return fmt.Errorf("a Sentinel was not asked: %w", err) // the driver unwraps it once
			}
			return nil
		}
		return admit(ctx, conn)
	}
}

// greetSentinel authenticates a new connection to a Sentinel with the current credentials, because the driver takes only fixed ones. It
// sends the driver's next command too, so that a refusal names the setting to change.
func (o Options) greetSentinel(ctx context.Context, conn *redis.Conn) error {
	username, password := o.SentinelCredentials()
	if password != "" {
		// With a user's name, because Sentinels without a password refuse AUTH without one.
		if err := conn.AuthACL(ctx, cmp.Or(username, "default"), password).Err(); redis.HasErrorPrefix(err, "WRONGPASS") {
			return refuse(ReasonPassword, "a Sentinel says: %v; correct REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD, or switch the user on", err)
		} else if err != nil {
			return err
		}
	}
	err := conn.Do(ctx, "sentinel", "get-master-addr-by-name", o.SentinelMaster).Err()
	var answer redis.Error
	switch {
	case err != nil && !errors.As(err, &answer):
		return err // a late answer would be taken for the answer to another command
	case redis.HasErrorPrefix(err, "NOAUTH"):
		return refuse(ReasonPassword, "a Sentinel says: %v; set REDIS_SENTINEL_PASSWORD, since that of REDIS_URL is for Redis only", err)
	case redis.HasErrorPrefix(err, "NOPERM"):
		return refuse(ReasonTopology, "a Sentinel says: %v; allow its user %s", err, SentinelRule)
	case errors.Is(err, redis.Nil):
		return errNoMaster
	}
	return nil // the driver sends the same command next, and handles other answers
}

// passwords returns the passwords that no error and no log line may contain. The longest comes first, because it can contain the other.
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

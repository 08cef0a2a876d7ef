package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// guard stands between this package and the driver, as a hook of each client. It makes three promises, so
// that no caller has to think of them:
//   - While Redis must not be used as it is, nothing is sent to it.
//   - redis.Nil is the answer of the command itself. The driver returns it too where CLUSTER SLOTS has no
//     address for a node, or no Sentinel knows the master: every session would seem to be absent.
//   - A pipeline that failed is seen in each of its commands. The driver leaves them without an error where a
//     connection is refused (WRONGPASS): an empty answer would be taken for an absent or corrupt record.
type guard struct {
	refused atomic.Pointer[RefusedError] // nil: nothing is held back
}

var _ redis.Hook = (*guard)(nil)

// hold makes every further command fail with a refusal; nil lets them pass again.
func (g *guard) hold(r *RefusedError) { g.refused.Store(r) }

// pass returns why nothing may be sent.
func (g *guard) pass() error {
	if r := g.refused.Load(); r != nil {
		return r
	}
	return nil
}

// DialHook implements redis.Hook. It is where a client asks the Sentinels for the master.
func (g *guard) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if errors.Is(err, redis.Nil) {
			return nil, errNoMaster
		}
		return conn, err
	}
}

// ProcessHook implements redis.Hook.
func (g *guard) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := g.pass()
		if err == nil {
			err = next(ctx, cmd)
		}
		if cmd.Name() == "cluster" && errors.Is(err, redis.Nil) {
			return errTopology // the driver makes it the command's own
		}
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (g *guard) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		err := g.pass()
		if err == nil {
			err = next(ctx, commands)
		}
		if err == nil {
			return nil
		}
		own := false
		for _, cmd := range commands {
			own = own || cmd.Err() != nil
			// The server names a command that it refused within a transaction in that command's answer only.
			if redis.IsExecAbortError(err) && cmd.Err() != nil && !redis.IsExecAbortError(cmd.Err()) {
				return cmd.Err()
			}
		}
		for _, cmd := range commands {
			if !own {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

// guarded gives a client the hook, and on a Cluster those of its nodes too: the driver asks each for the
// topology by itself, and this package walks over them.
func guarded(client redis.UniversalClient, g *guard) redis.UniversalClient {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(g) })
	}
	client.AddHook(g)
	return client
}

// admission returns what each new connection must pass before anything else is sent on it: its server may
// be another one than the last connection's. Only what it says about itself counts here; what it refuses to
// say shows in Prepare.
func admission(o Options) func(ctx context.Context, conn *redis.Conn) error {
	names := newKeys(o.Prefix)
	return func(ctx context.Context, conn *redis.Conn) error {
		var info *redis.StringCmd
		var layouts [partitions]*redis.SliceCmd
		_, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
			info = p.Info(ctx)
			for partition := range layouts {
				layouts[partition] = p.HMGet(ctx, names.meta(partition), "partitions", "format")
			}
			return nil
		})
		var answer redis.Error
		if err != nil && !errors.As(err, &answer) {
			return err // an answer may still come, and would be taken for another command's
		}
		problems := []error{judgeServer(parseInfo(info.Val()), o.Mode)}
		for _, layout := range layouts {
			problems = append(problems, judgeLayout(layout.Val()))
		}
		if err := errors.Join(problems...); err != nil {
			return fmt.Errorf("a connection was not used: %w", err)
		}
		return nil
	}
}

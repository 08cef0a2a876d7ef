package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// guard is a hook of each client, between this package and the driver. It makes three promises:
//   - While Redis must not be used, nothing is sent to it.
//   - redis.Nil is always the answer of the command itself. The driver also returns redis.Nil if CLUSTER SLOTS has no address
//     for a node, or if no Sentinel knows the master. Every session would then seem to be missing.
//   - If a pipeline failed, each of its commands has an error. The driver sets none if a connection is refused (WRONGPASS).
//     The empty answer would then look like a missing or corrupt record.
type guard struct {
	refused atomic.Pointer[RefusedError] // nil if commands may pass
}

var _ redis.Hook = (*guard)(nil)

// hold makes every further command fail with a refusal. nil lets commands pass again.
func (g *guard) hold(r *RefusedError) { g.refused.Store(r) }

// pass returns nil if commands may pass, or the refusal.
func (g *guard) pass() error {
	if r := g.refused.Load(); r != nil {
		return r
	}
	return nil
}

// DialHook implements redis.Hook. Dialing includes the request for the master to the Sentinels.
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
			// In a transaction only the answer of the refused command says which command was refused.
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

// guarded adds the hook to a client. On a Cluster it also adds it to the clients of the nodes: the driver asks each node for the
// topology, and this package uses them directly.
func guarded(client redis.UniversalClient, g *guard) redis.UniversalClient {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(g) })
	}
	client.AddHook(g)
	return client
}

// admission returns the check of each new connection. It runs before anything else is sent, because the connection can lead to
// another server than the one before. It decides by what the server says about itself. Prepare reports what the server
// refuses to say.
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
			return err // a late answer would be taken for the answer to another command
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

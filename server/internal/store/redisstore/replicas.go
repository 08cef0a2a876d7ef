package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
)

// pinnedTries is how often a write on one connection is tried. It equals the driver's default.
const pinnedTries = 4

// errTooFewReplicas: the replicas did not confirm a write within WaitTimeout. The write is not tried again.
var errTooFewReplicas = errors.New("too few replicas have the write")

// runCommit runs the commit script. With WaitReplicas it returns "ok" only after that many replicas have the commit.
func (s *Store) runCommit(ctx context.Context, id string, keys []string, args []any) (answer []string, err error) {
	if s.waitReplicas == 0 {
		return s.committerOf(id).run(ctx, keys, args)
	}
	err = s.pinned(ctx, keys[0], func(run runner) (wrote bool, err error) {
		answer, err = runAlone(run(s.commitScript, keys, args...))
		return len(answer) == 1 && answer[0] == "ok", err
	})
	return answer, err
}

// confirm is for an update that writes nothing. The delivery before it can have written the record and then failed because the
// replicas were late. So confirm waits for the replicas too. It returns false if the record has changed or was lost by a failover.
// Then the update must start again.
func (s *Store) confirm(ctx context.Context, current stored) (same bool, err error) {
	if s.waitReplicas == 0 || current.header == "" {
		return true, nil
	}
	err = s.pinned(ctx, s.keys.record(current.session.ID), func(run runner) (wrote bool, err error) {
		answer, err := run(fenceScript, []string{s.keys.record(current.session.ID)}, current.header).Text()
		same = answer == "1"
		return same, err
	})
	if err != nil {
		return false, s.failed(ctx, "wait for the replicas", err)
	}
	return same, nil
}

// runner runs a script on one connection.
type runner func(script *redis.Script, keys []string, args ...any) *redis.Cmd

// pinned calls write with one connection to the master of a key, and waits on this connection until enough replicas have the write.
// On any other connection WAIT does not know the write and returns at once. pinned calls write again with another connection if
// the master has changed or is unavailable. wrote is whether there is a write to wait for. pinned returns an error of the driver,
// or one that wraps errTooFewReplicas.
func (s *Store) pinned(ctx context.Context, key string, write func(runner) (wrote bool, err error)) error {
	var err error
	var to redirection
	for try := range pinnedTries {
		if try > 0 && to.addr == "" {
			if err := backoff(ctx, 2*try+1); err != nil { // up to 8, 32 and 64 ms
				return err
			}
		}
		if err = s.pinnedOnce(ctx, key, to, write); err == nil {
			return nil
		}
		if ctx.Err() != nil || !worthAnother(err) {
			return err
		}
		to = redirectionOf(err)
		if cluster, ok := s.writer.(*redis.ClusterClient); ok && !to.ask {
			cluster.ReloadState(ctx)
		}
	}
	return err
}

func (s *Store) pinnedOnce(ctx context.Context, key string, to redirection, write func(runner) (bool, error)) error {
	master, release, err := s.master(ctx, key, to.addr)
	if err != nil {
		return err
	}
	defer release()
	conn := master.Conn()
	defer conn.Close()
	wrote, err := write(func(script *redis.Script, keys []string, args ...any) *redis.Cmd {
		if to.ask {
			// ASKING is valid for one command, so there is no second command if the script is not known.
			if err := conn.Do(ctx, "asking").Err(); err != nil {
				return errorCmd(ctx, err)
			}
			return script.Eval(ctx, conn, keys, args...)
		}
		return script.Run(ctx, conn, keys, args...)
	})
	if err != nil || !wrote {
		return err
	}
	timeout := s.waitTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	have, err := conn.Wait(ctx, s.waitReplicas, max(timeout, time.Millisecond)).Result() // 0 would mean forever
	if err == nil && have < int64(s.waitReplicas) {
		return fmt.Errorf("%w: %d instead of %d after %v; look at the replication, or lower REDIS_WAIT_REPLICAS", errTooFewReplicas, have, s.waitReplicas, timeout)
	}
	return err
}

func errorCmd(ctx context.Context, err error) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(err)
	return cmd
}

// master returns a client of the master of a key or, if addr is not empty, of the node to which a Cluster has redirected. Call
// release after use.
func (s *Store) master(ctx context.Context, key, addr string) (master *redis.Client, release func(), err error) {
	none := func() {}
	switch client := s.writer.(type) {
	case *redis.ClusterClient:
		if addr == "" {
			master, err = client.MasterForKey(ctx, key)
			return master, none, err
		}
		master = s.node(addr)
		return master, func() { _ = master.Close() }, nil
	case *redis.Client:
		return client, none, nil
	}
	return nil, none, fmt.Errorf("%w: the driver's client is a %T", store.ErrUnavailable, s.writer)
}

// redirection is a Cluster node's answer that a key is on another node. The zero value is no redirection.
type redirection struct {
	addr string
	ask  bool // only for one command, while the slot is migrating
}

func redirectionOf(err error) redirection {
	if addr, ok := redis.IsMovedError(err); ok {
		return redirection{addr: addr}
	}
	if addr, ok := redis.IsAskError(err); ok {
		return redirection{addr: addr, ask: true}
	}
	return redirection{}
}

// passing holds the prefixes of the answers of servers that will accept the same write later, or on another node.
var passing = []string{"MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED"}

// worthAnother reports whether a write can succeed on another connection: if the connection ended, or if the answer is one of passing.
func worthAnother(err error) bool {
	if errors.Is(err, errTooFewReplicas) {
		return false
	}
	var answer redis.Error
	if !errors.As(err, &answer) {
		return true
	}
	for _, prefix := range passing {
		if strings.HasPrefix(answer.Error(), prefix) {
			return true
		}
	}
	return false
}

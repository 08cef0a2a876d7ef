package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/document"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// allow gives the test's user these commands and no others.
func allow(server *redistest.Server, commands []string) {
	rule := []string{"ACL", "SETUSER", "vs", "reset", "on", ">swordfish", "~vs:*"}
	for _, command := range commands {
		if !strings.HasPrefix(command, "-") {
			command = "+" + command
		}
		rule = append(rule, command)
	}
	server.MustAsk(rule...)
}

// exercise makes every call that sends a command of its own, and returns the first error. The feed age must be a
// minute.
func exercise(ctx context.Context, s *Store) error {
	if err := s.Prepare(ctx); err != nil {
		return err
	}
	update := func(e verification.Event) error {
		for ctx.Err() == nil {
			_, err := s.Update(ctx, e.Object.ID, applying(e))
			if !errors.Is(err, store.ErrConflict) {
				return err
			}
		}
		return ctx.Err()
	}
	start, err := s.Head(ctx, s.Partition("vs_a"))
	if err != nil {
		return err
	}
	now := s.clock()
	connected := func(e *verification.Event) { e.Object.Account = "acct_1" }
	for n, reference := range []string{"one", "two", "two"} {
		s.clock = func() time.Time { return now.Add(time.Duration(n) * time.Hour) } // the oldest entries go
		for range 2 {
			if err := update(event("vs_a", n, withReference(reference), connected)); err != nil {
				return err
			}
		}
	}
	s.clock = func() time.Time { return now }
	if err := update(event("vs_a", 3, redacted)); err != nil {
		return err
	}
	positions := make([]store.Position, partitions)
	calls := []func() error{
		func() error { return s.Ping(ctx) },
		func() error { _, err := s.Get(ctx, "vs_a"); return err },
		func() error { _, err := s.Newest(ctx, "one"); return err },
		func() error { _, err := s.ReadFeed(ctx, s.Partition("vs_a"), start, 10); return err },
		func() error { _, err := s.Follow(ctx, positions, time.Second); return err },
		func() error { _, err := s.Due(ctx, 0, 1, 0, 1); return err },
		func() error { _, err := s.Accounts(ctx); return err },
		func() error { return s.SetCursor(ctx, "", 1) },
		func() error { _, err := s.Cursor(ctx, ""); return err },
		func() error { _, err := s.Lease(ctx, "work", "a", time.Second); return err },
		func() error { return s.Release(ctx, "work", "a") },
		func() error { _, err := s.Marks(ctx, "work"); return err },
		func() error { return s.SetMark(ctx, "work", 1) },
		func() error {
			_, err := s.List(ctx, store.ListQuery{Limit: 1, After: store.ListCursor{Second: 1, ID: "vs_a"}})
			return err
		},
		func() error {
			_, err := s.RepairLists(ctx, func(context.Context) error { return nil })
			return err
		},
		func() error {
			created, _, err := s.CreateConsumer(ctx, store.Consumer{Name: "billing", Positions: positions}, 0)
			if err != nil {
				return err
			}
			_, err = s.ListConsumers(ctx)
			return errors.Join(err, s.DeleteConsumer(ctx, "billing", created.Incarnation, nil))
		},
		func() error {
			return s.Walk(ctx, func(context.Context, verification.Session) error { return nil })
		},
	}
	for _, call := range calls {
		if err := call(); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrTrimmed) {
			return err
		}
	}
	return nil
}

// TestACLListIsExact: with the documented list everything works. Without any one of its commands something is
// refused.
func TestACLListIsExact(t *testing.T) {
	master := redistest.Start(t)
	redistest.StartReplica(t, master)
	attempt := func(allowed []string) error {
		master.MustAsk("FLUSHALL")
		master.MustAsk("SCRIPT", "FLUSH")
		allow(master, allowed)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s, err := Open(Options{
			Addrs: []string{master.Addr}, Credentials: credentials("vs", "swordfish"), DB: 1,
			WaitReplicas: 1, WaitTimeout: 5 * time.Second, FeedMaxAge: time.Minute,
		})
		if err != nil {
			return err
		}
		return errors.Join(exercise(ctx, s), s.Close())
	}
	all := ACLCommands(Standalone)
	if err := attempt(all); err != nil {
		t.Fatalf("with all of the list: %v", err)
	}
	t.Logf("ACL SETUSER ... -@all +%s", strings.Join(all, " +"))
	for i, command := range all {
		err := attempt(slices.Delete(slices.Clone(all), i, i+1))
		if err == nil {
			t.Errorf("nothing needs %s", command)
		} else if !forbiddenCommand.MatchString(err.Error()) {
			t.Errorf("without %s: %v; want a refusal", command, err)
		}
	}
}

// TestACLListIsExactOnACluster: a Cluster needs more commands. During a migration a server without a key of the slot
// redirects the client.
func TestACLListIsExactOnACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2, 0)
	lost := fmt.Sprint(slot(newKeys("vs:").record("vs_a")))
	from := cluster.MasterOf(slot(newKeys("vs:").record("vs_a")))
	to := cluster.Nodes[0]
	if to == from {
		to = cluster.Nodes[1]
	}
	attempt := func(allowed []string) error {
		for _, node := range cluster.Nodes {
			node.MustAsk("FLUSHALL")
			allow(node, allowed)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s, err := Open(Options{Addrs: cluster.Addrs(), Mode: Cluster, Credentials: credentials("vs", "swordfish"), FeedMaxAge: time.Minute})
		if err != nil {
			return err
		}
		if err := exercise(ctx, s); err != nil {
			return errors.Join(err, s.Close())
		}
		for _, node := range cluster.Nodes {
			node.MustAsk("FLUSHALL")
		}
		to.MustAsk("CLUSTER", "SETSLOT", lost, "IMPORTING", from.MustAsk("CLUSTER", "MYID"))
		from.MustAsk("CLUSTER", "SETSLOT", lost, "MIGRATING", to.MustAsk("CLUSTER", "MYID"))
		_, err = s.Get(ctx, "vs_a")
		for _, node := range cluster.Nodes {
			node.MustAsk("CLUSTER", "SETSLOT", lost, "STABLE")
		}
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return errors.Join(err, s.Close())
	}
	all := ACLCommands(Cluster)
	if err := attempt(all); err != nil {
		t.Fatalf("with all of the list: %v", err)
	}
	for _, command := range []string{"asking", "cluster|slots", "evalsha"} {
		i := slices.Index(all, command)
		if err := attempt(slices.Delete(slices.Clone(all), i, i+1)); err == nil {
			t.Errorf("nothing needs %s", command)
		}
	}
}

// TestReadmeHasTheRules: the documented rules for users of Redis and of the Sentinels are the rules that the tests check.
func TestReadmeHasTheRules(t *testing.T) {
	text := strings.Join(strings.Fields(document.Text(t, "server/docs/redis.md")), " ")
	for _, rule := range []string{"~vs:* -@all +" + strings.Join(ACLCommands(Standalone), " +"), SentinelRule} {
		if !strings.Contains(text, "ACL SETUSER verification on >… "+rule+" ```") {
			t.Errorf("server/docs/redis.md does not have the rule %s", rule)
		}
	}
}

// TestPrepareNamesTheCommands: the error says which commands are missing.
func TestPrepareNamesTheCommands(t *testing.T) {
	server := redistest.Start(t)
	allow(server, []string{"info"})
	s := openStore(t, Options{Addrs: []string{server.Addr}, Credentials: credentials("vs", "swordfish")})
	err := s.Prepare(testContext(t))
	if !errors.Is(err, ErrMisconfigured) || !strings.Contains(err.Error(), "+evalsha +exec") {
		t.Errorf("Prepare: %v; want ErrMisconfigured and the commands", err)
	}
	allow(server, append(slices.Clone(commands), "-hset"))
	if err := s.Prepare(testContext(t)); !errors.Is(err, ErrMisconfigured) {
		t.Errorf("Prepare with a script that is refused half way: %v; want ErrMisconfigured", err)
	}
}

package redisstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
)

// TestG17_APermissionThatIsTakenForAMomentLeavesNothingBroken: Redis does not undo a script that is refused half way.
// When the permission is back, the same update succeeds and the feed continues.
func TestG17_APermissionThatIsTakenForAMomentLeavesNothingBroken(t *testing.T) {
	server := redistest.Start(t)
	for _, command := range commands {
		t.Run(command, func(t *testing.T) {
			server.MustAsk("FLUSHALL")
			allow(server, commands)
			s := openStore(t, Options{Addrs: []string{server.Addr}, Credentials: credentials("vs", "swordfish"), Policy: listPolicy})
			apply(t, s, event("vs_a", 0, withReference("case")))
			start, err := s.Head(testContext(t), s.Partition("vs_a"))
			if err != nil {
				t.Fatal(err)
			}
			update := applying(event("vs_a", 1, failing, withReference("new")))
			allow(server, append(slices.Clone(commands), "-"+command))
			if _, err := s.Update(testContext(t), "vs_a", update); err != nil && !errors.Is(err, store.ErrUnavailable) {
				t.Fatalf("Update without %s: %v; want ErrUnavailable or nil", command, err)
			}
			allow(server, commands)
			if got, err := s.Update(testContext(t), "vs_a", update); err != nil || got.Revision != 2 {
				t.Fatalf("Update with %s again: revision %d, %v; want 2", command, got.Revision, err)
			}
			apply(t, s, event("vs_a", 2))
			entries, err := s.ReadFeed(testContext(t), s.Partition("vs_a"), start, 10)
			if err != nil || len(entries) < 2 || entries[len(entries)-1].Revision != 3 {
				t.Errorf("ReadFeed: %+v, %v; want revisions 2 and 3", entries, err)
			}
			wantTruth(t, s, rawClient(t, server.Addr))
		})
	}
}

// TestG6_AnEntryThatARefusedScriptLeftIsNoLoss: the position of its reader is valid as soon as Prepare has run, and
// not only after the next commit of the partition.
func TestG6_AnEntryThatARefusedScriptLeftIsNoLoss(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		ctx := testContext(t)
		s, raw := openStore(t, Options{Addrs: []string{addr}}), rawClient(t, addr)
		partition := s.Partition("vs_a")
		for n, look := range map[string]func() error{
			"Prepare": func() error { return s.Prepare(ctx) },
			"Head":    func() error { _, err := s.Head(ctx, partition); return err },
		} {
			t.Run(n, func(t *testing.T) {
				raw.FlushAll(ctx)
				apply(t, s, event("vs_a", 0))
				positions := make([]store.Position, partitions)
				for partition := range positions {
					head, err := s.Head(ctx, partition)
					if err != nil {
						t.Fatal(err)
					}
					positions[partition] = head
				}
				before := positions[partition]
				left := store.Position{Epoch: before.Epoch, Seq: before.Seq + 1, Nonce: 77}
				leaveEntry(t, raw, s, "vs_a", before, left)
				positions[partition] = left
				if err := look(); err != nil {
					t.Fatal(err)
				}
				if head, err := s.Head(ctx, partition); err != nil || head != left {
					t.Errorf("Head: %+v, %v; want %+v, the entry that was left", head, err, left)
				}
				if each, err := s.Check(ctx, positions); err != nil || each[partition] != nil {
					t.Errorf("Check: %v, %v; want the position to be good", each[partition], err)
				}
				apply(t, s, event("vs_a", 1))
				entries, err := s.ReadFeed(ctx, partition, before, 10)
				if err != nil || len(entries) != 2 || entries[1].Before != left.Nonce {
					t.Errorf("ReadFeed: %+v, %v; want the entry that was left, and one that names it", entries, err)
				}
			})
		}
	})
}

// leaveEntry writes a feed entry like a script that is refused before it writes the meta.
func leaveEntry(t *testing.T, raw *redis.Client, s *Store, id string, before, left store.Position) {
	t.Helper()
	err := raw.XAdd(testContext(t), &redis.XAddArgs{
		Stream: s.keys.feed(s.Partition(id)), ID: streamID(left.Seq),
		Values: []any{"s", id, "r", 2, "n", signed(left.Nonce), "b", signed(before.Nonce), "t", time.Now().Unix()},
	}).Err()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRefusalsAreRecognised: the texts of Valkey and of Redis since 7.2 differ from those of older versions (redis
// pull 11160, valkey pull 306).
func TestRefusalsAreRecognised(t *testing.T) {
	for text, want := range map[string]Reason{
		"WRONGPASS invalid username-password pair or user is disabled.": ReasonPassword,
		"NOAUTH Authentication required.":                               ReasonPassword,
		"failed to authenticate: ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?": ReasonPassword,
		"redis: all sentinels specified in configuration are unreachable: NOAUTH Authentication required.":                                                     ReasonPassword,

		"NOPERM this user has no permissions to run the 'zadd' command":                                                    ReasonPermission, // 7.0
		"NOPERM this user has no permissions to run the 'zadd' command or its subcommand":                                  ReasonPermission, // 6.2
		"NOPERM this user has no permissions to access one of the keys used as arguments":                                  ReasonPermission,
		"NOPERM User vs has no permissions to run the 'zadd' command":                                                      ReasonPermission, // 7.2
		"NOPERM No permissions to access a key":                                                                            ReasonPermission,
		"ERR The user executing the script can't run this command or subcommand script: 0a1, on @user_script:24.":          ReasonPermission,
		"ERR ACL failure in script: User vs has no permissions to run the 'zadd' command script: 0a1, on @user_script:24.": ReasonPermission,
		"ERR ACL failure in script: No permissions to access a key script: 0a1, on @user_script:24.":                       ReasonPermission,
		"ERR Error running script (call to f_0a1): @user_script:24: The user executing the script can't run this command":  ReasonPermission, // 6.2
		"ERR unknown command 'xread', with args beginning with: 'STREAMS'":                                                 ReasonCommand,    // 7.0
		"ERR unknown command `XREAD`, with args beginning with: ":                                                          ReasonCommand,    // 6.2
		"ERR unknown subcommand 'SLOTS'. Try CLUSTER HELP.":                                                                ReasonCommand,
		"ERR Unknown Redis command called from script script: 0a1, on @user_script:24.":                                    ReasonCommand,
		"ERR Unknown command called from script script: 0a1, on @user_script:24.":                                          ReasonCommand, // Valkey
		"ERR Error running script (call to f_0a1): @user_script:1: Unknown Redis command called from Lua script":           ReasonCommand, // 6.2
		"MOVED 3999 127.0.0.1:6381":                             ReasonMode,
		"CROSSSLOT Keys in request don't hash to the same slot": ReasonMode,
		"ERR This instance has cluster support disabled":        ReasonMode,
		"ERR DB index is out of range":                          ReasonMode,
		"ERR SELECT is not allowed in cluster mode":             ReasonMode,

		"LOADING Redis is loading the dataset in memory":                             "",
		"READONLY You can't write against a read only replica.":                      "",
		"OOM command not allowed when used memory > 'maxmemory'.":                    "",
		"MISCONF Redis is configured to save RDB snapshots, but it's currently ...":  "",
		"BUSY Redis is busy running a script.":                                       "",
		"NOREPLICAS Not enough good replicas to write.":                              "",
		"CLUSTERDOWN The cluster is down":                                            "",
		"ERR max number of clients reached":                                          "",
		"dial tcp 127.0.0.1:6379: connect: connection refused":                       "",
		"WRONGTYPE Operation against a key holding the wrong kind of value":          "",
		"NOSCRIPT No matching script. Please use EVAL.":                              "",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to": "",
	} {
		if got := reasonIn(Standalone, text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	if got := reasonIn(Cluster, "MOVED 3999 127.0.0.1:6381"); got != "" {
		t.Errorf("MOVED on a Cluster: got %q, want none: it passes", got)
	}
}

// TestG17_EveryPermissionThatIsMissingIsNamed: one error names all missing permissions.
func TestG17_EveryPermissionThatIsMissingIsNamed(t *testing.T) {
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}, Credentials: credentials("vs", "swordfish")})
	allow(server, append(slices.Clone(commands), "-zrem", "-xread", "-hset", "-smembers"))
	err := s.Prepare(testContext(t))
	if ReasonOf(err) != ReasonPermission || !strings.Contains(err.Error(), "no right to HSET, SMEMBERS, XREAD, ZREM (") {
		t.Errorf("Prepare: %v; want all four by name", err)
	}
	for _, command := range commands {
		allow(server, append(slices.Clone(commands), "-"+command))
		err := s.Prepare(testContext(t))
		if command == "wait" { // of no use without WaitReplicas
			if err != nil {
				t.Errorf("without wait: %v", err)
			}
			continue
		}
		if ReasonOf(err) != ReasonPermission || !errors.Is(err, ErrMisconfigured) || !strings.Contains(strings.ToLower(err.Error()), command) {
			t.Errorf("without %s: %v; want ErrMisconfigured and the name", command, err)
		}
	}
	allow(server, commands)
	if err := s.Prepare(testContext(t)); err != nil {
		t.Errorf("with all: %v", err)
	}
}

// TestProbeChangesNothing: the probe runs every few seconds, forever.
func TestProbeChangesNothing(t *testing.T) {
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	if err := s.Prepare(testContext(t)); err != nil {
		t.Fatal(err)
	}
	raw := rawClient(t, server.Addr)
	before := dump(t, raw)
	if err := s.Prepare(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if after := dump(t, raw); after != before {
		t.Errorf("with an empty feed, before:\n%s\nafter:\n%s", before, after)
	}
	for n := range 3 * partitions {
		apply(t, s, event(fmt.Sprint("vs_", n), 0, withReference("case")))
	}
	before = dump(t, raw)
	changes := server.Info("rdb_changes_since_last_save")
	for range 3 {
		if err := s.Prepare(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	if after := dump(t, raw); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if now := server.Info("rdb_changes_since_last_save"); now != changes {
		t.Errorf("Redis counts %s changes, and before %s: each is written to its files", now, changes)
	}
	raw.FlushAll(testContext(t))
	if err := s.probe(testContext(t), s.client); err != nil {
		t.Fatal(err)
	}
	if keys := raw.Keys(testContext(t), "*").Val(); len(keys) != 0 {
		t.Errorf("an empty Redis got %v", keys)
	}
}

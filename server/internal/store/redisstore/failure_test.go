package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// TestLostAnswersOfACommit (G2): the driver sends a commit again if its answer was lost. The commit counts once.
func TestLostAnswersOfACommit(t *testing.T) {
	server := redistest.Start(t)
	proxy := newProxy(t, server.Addr)
	s := openStore(t, Options{Addrs: []string{proxy.addr()}})
	partition := s.Partition("vs_a")
	apply(t, s, event("vs_a", 0, failing, withReference("case")))
	start, err := s.Head(testContext(t), partition)
	if err != nil {
		t.Fatal(err)
	}

	calls := 0
	proxy.loseAnswers("evalsha", 2)
	got, err := s.Update(testContext(t), "vs_a", func(current verification.Session) (verification.Session, bool, error) {
		calls++
		next, outcome := verification.Transition(current, event("vs_a", 1, failing, withReference("case")))
		return next, outcome.Write, nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	if proxy.lost() != 0 {
		t.Fatal("no answer was lost")
	}
	// One call: the second sending was recognised and not taken for another writer's.
	if calls != 1 || got.FailedAttempts != 2 {
		t.Errorf("%d calls and %d failures; want 1 and 2", calls, got.FailedAttempts)
	}
	entries, err := s.ReadFeed(testContext(t), partition, start, 10)
	if err != nil || len(entries) != 1 {
		t.Errorf("the feed grew by %+v, %v; want one entry", entries, err)
	}
	if kept, err := s.Get(testContext(t), "vs_a"); err != nil || kept.FailedAttempts != 2 {
		t.Errorf("kept %d failures, %v; want 2", kept.FailedAttempts, err)
	}
}

// TestEveryAnswerOfACommitLost: if every answer is lost the caller gets an error. The same update again makes nothing
// twice.
func TestEveryAnswerOfACommitLost(t *testing.T) {
	server := redistest.Start(t)
	proxy := newProxy(t, server.Addr)
	s := openStore(t, Options{Addrs: []string{proxy.addr()}})
	start, err := s.Head(testContext(t), s.Partition("vs_a"))
	if err != nil {
		t.Fatal(err)
	}
	proxy.loseAnswers("eval", 100)
	if _, err := s.Update(testContext(t), "vs_a", applying(event("vs_a", 0, failing))); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("Update: %v; want ErrUnavailable", err)
	}
	proxy.loseAnswers("", 0)
	if got := apply(t, s, event("vs_a", 0, failing)); got.FailedAttempts != 1 || got.Revision != 1 {
		t.Errorf("%d failures in revision %d; want 1 in 1", got.FailedAttempts, got.Revision)
	}
	head, err := s.Head(testContext(t), s.Partition("vs_a"))
	if err != nil || head.Seq != start.Seq+1 {
		t.Errorf("the feed grew from %d to %d, %v; want by one", start.Seq, head.Seq, err)
	}
}

// TestLostAnswerOfTheIndex: the watchers of a split index are woken although the script's answer that the newest
// session changed was lost.
func TestLostAnswerOfTheIndex(t *testing.T) {
	server := redistest.Start(t)
	proxy := newProxy(t, server.Addr)
	s := openStore(t, Options{Addrs: []string{proxy.addr()}, SplitIndex: true})
	apply(t, s, event("vs_warm", 0, withReference("other"))) // the scripts are known from now on
	start, err := s.Head(testContext(t), s.Partition("vs_a"))
	if err != nil {
		t.Fatal(err)
	}
	proxy.loseAnswers(indexScript.Hash(), 1)
	apply(t, s, event("vs_a", 0, withReference("case")))
	if proxy.lost() != 0 {
		t.Fatal("no answer was lost")
	}
	entries, err := s.ReadFeed(testContext(t), s.Partition("vs_a"), start, 10)
	if err != nil || len(entries) != 2 || !entries[1].Pointer || entries[1].Revision != 0 {
		t.Errorf("the feed = %+v, %v; want the revision and a pointer", entries, err)
	}
}

func TestFlushAllIsSeen(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}})
		ctx := testContext(t)
		partition := s.Partition("vs_a")
		empty, err := s.Head(ctx, partition)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, event("vs_a", 0))
		old, err := s.Head(ctx, partition)
		if err != nil {
			t.Fatal(err)
		}
		rawClient(t, addr).FlushAll(ctx)
		check := func(when string) {
			t.Helper()
			for _, position := range []store.Position{empty, old} {
				if _, err := s.ReadFeed(ctx, partition, position, 10); !errors.Is(err, store.ErrRewound) {
					t.Errorf("%s: ReadFeed after %+v: %v; want ErrRewound", when, position, err)
				}
			}
		}
		check("without any data")
		apply(t, s, event("vs_a", 0)) // the same number, in another epoch
		check("with new data")
		now, err := s.Head(ctx, partition)
		if err != nil || now.Epoch == old.Epoch || now.Seq != 1 {
			t.Errorf("the head is %+v, %v; want another epoch than %d and 1", now, err, old.Epoch)
		}
	})
}

// TestLostMetaHeals: without its meta a feed begins again. With its old numbers every commit would fail.
func TestLostMetaHeals(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}})
		for n := range 3 {
			apply(t, s, event("vs_a", n))
		}
		partition := s.Partition("vs_a")
		rawClient(t, addr).Del(testContext(t), s.keys.meta(partition))
		apply(t, s, event("vs_a", 3))
		entries, err := s.ReadFeed(testContext(t), partition, store.Position{}, 10)
		if err != nil || len(entries) != 1 || entries[0].Position.Seq != 1 || entries[0].Revision != 4 {
			t.Errorf("the feed = %+v, %v; want revision 4 as number 1", entries, err)
		}
	})
}

func TestLostFeedIsTrimmedNotSilent(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}})
		apply(t, s, event("vs_a", 0))
		partition := s.Partition("vs_a")
		missing, err := s.Head(testContext(t), partition)
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, event("vs_a", 1))
		before, err := s.Head(testContext(t), partition)
		if err != nil {
			t.Fatal(err)
		}
		rawClient(t, addr).Del(testContext(t), s.keys.feed(partition))
		if entries, err := s.ReadFeed(testContext(t), partition, before, 10); err != nil || len(entries) != 0 {
			t.Errorf("after the head nothing is missing, but: %v, %v", entries, err)
		}
		apply(t, s, event("vs_a", 2))
		if entries, err := s.ReadFeed(testContext(t), partition, before, 10); err != nil || len(entries) != 1 {
			t.Errorf("after the entry before the loss: %v, %v; want the one that followed", entries, err)
		}
		if _, err := s.ReadFeed(testContext(t), partition, missing, 10); !errors.Is(err, store.ErrTrimmed) {
			t.Errorf("ReadFeed before a missing entry: %v; want ErrTrimmed", err)
		}
	})
}

func TestScriptsSurviveScriptFlush(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}, SplitIndex: true})
		for n := range 3 {
			if err := rawClient(t, addr).ScriptFlush(testContext(t)).Err(); err != nil {
				t.Fatal(err)
			}
			apply(t, s, event("vs_a", n, withReference("case")))
		}
	})
}

// TestForeignTypesChangeNothing: Redis does not undo a script that fails half way. If one of its keys has a foreign
// type, nothing is written.
func TestForeignTypesChangeNothing(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		for _, key := range []string{"record", "feed", "meta", "reference", "due", "list"} {
			raw, ctx := rawClient(t, addr), testContext(t)
			raw.FlushAll(ctx)
			s := openStore(t, Options{Addrs: []string{addr}})
			partition := s.Partition("vs_a")
			foreign := map[string]string{
				"record": s.keys.record("vs_a"), "feed": s.keys.feed(partition),
				"meta": s.keys.meta(partition), "reference": s.keys.reference("case"),
				"due": s.keys.due(partition), "list": s.keys.list(partition, verification.ListProcessing),
			}[key]
			raw.RPush(ctx, foreign, "x")
			_, err := s.Update(ctx, "vs_a", applying(event("vs_a", 0, withReference("case"))))
			if !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: Update: %v; want an error", key, err)
			}
			if keys := raw.Keys(ctx, "*").Val(); len(keys) != 1 || keys[0] != foreign {
				t.Errorf("%s: written: %v", key, keys)
			}
		}
	})
}

// TestAKeyThatBecomesForeignChangesNothing: this holds for a session with data too. The commit restores what it has
// written before it fails.
func TestAKeyThatBecomesForeignChangesNothing(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		for _, key := range []string{"record", "feed", "meta", "due", "left", "entered", "reference", "old reference"} {
			raw, ctx := rawClient(t, addr), testContext(t)
			raw.FlushAll(ctx)
			s := openStore(t, Options{Addrs: []string{addr}, Policy: listPolicy})
			partition := s.Partition("vs_a")
			foreign := map[string]string{
				"record": s.keys.record("vs_a"), "feed": s.keys.feed(partition), "meta": s.keys.meta(partition), "due": s.keys.due(partition),
				"left": s.keys.list(partition, verification.ListProcessing), "entered": s.keys.list(partition, verification.ListLimitReached),
				"reference": s.keys.reference("new"), "old reference": s.keys.reference("case"),
			}[key]
			apply(t, s, event("vs_a", 0, withReference("case")))
			raw.Rename(ctx, foreign, "kept")
			raw.RPush(ctx, foreign, "x")
			before := dump(t, raw)
			update := applying(event("vs_a", 1, failing, withReference("new")))
			if _, err := s.Update(ctx, "vs_a", update); !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: Update: %v; want an error", key, err)
			}
			if after := dump(t, raw); after != before {
				t.Errorf("%s: before:\n%s\nafter:\n%s", key, before, after)
			}
			raw.Del(ctx, foreign)
			raw.Rename(ctx, "kept", foreign)
			if got, err := s.Update(ctx, "vs_a", update); err != nil || got.Revision != 2 {
				t.Errorf("%s: fixed, Update = %+v, %v", key, got, err)
			}
			wantTruth(t, s, raw)
		}
	})
}

func TestStoppedServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	apply(t, s, event("vs_a", 0))
	server.Stop()
	ctx := testContext(t)
	positions := make([]store.Position, partitions)
	calls := map[string]func() error{
		"Get":    func() error { _, err := s.Get(ctx, "vs_a"); return err },
		"Update": func() error { _, err := s.Update(ctx, "vs_a", applying(event("vs_a", 1))); return err },
		"Newest": func() error { _, err := s.Newest(ctx, "case"); return err },
		"Head":   func() error { _, err := s.Head(ctx, 0); return err },
		"Follow": func() error { _, err := s.Follow(ctx, positions, time.Second); return err },
		"ReadFeed": func() error {
			_, err := s.ReadFeed(ctx, 0, store.Position{}, 10)
			return err
		},
		"Due":       func() error { _, err := s.Due(ctx, 0, 1, 0, 1); return err },
		"Accounts":  func() error { _, err := s.Accounts(ctx); return err },
		"Cursor":    func() error { _, err := s.Cursor(ctx, ""); return err },
		"SetCursor": func() error { return s.SetCursor(ctx, "", 1) },
		"Lease":     func() error { _, err := s.Lease(ctx, "work", "a", time.Second); return err },
		"Release":   func() error { return s.Release(ctx, "work", "a") },
		"Marks":     func() error { _, err := s.Marks(ctx, "work"); return err },
		"SetMark":   func() error { return s.SetMark(ctx, "work", 1) },
		"Ping":      func() error { return s.Ping(ctx) },
		"Prepare":   func() error { return s.Prepare(ctx) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, store.ErrUnavailable) || errors.Is(err, ErrMisconfigured) {
			t.Errorf("%s: %v; want ErrUnavailable", name, err)
		}
	}
	server.Start()
	// The driver looks once a second whether a server is there again.
	waitUntil(t, func() bool {
		got, err := s.Update(ctx, "vs_a", applying(event("vs_a", 1)))
		if err == nil && got.Revision != 2 {
			t.Errorf("revision %d after the server came back; want 2", got.Revision)
		}
		return err == nil
	})
}

// TestPausedServer: a call to a hanging server takes no longer than its context allows, and Follow returns an error.
func TestPausedServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := openStore(t, Options{Addrs: []string{server.Addr}})
	apply(t, s, event("vs_a", 0))
	server.Pause()
	defer server.Resume()

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "vs_a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get: %v; want DeadlineExceeded", err)
	}
	if _, err := s.Follow(testContext(t), make([]store.Position, partitions), 10*time.Second); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Follow: %v; want ErrUnavailable", err)
	}
}

func TestCloseEndsFollow(t *testing.T) {
	server := redistest.Start(t)
	s, err := Open(Options{Addrs: []string{server.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Follow(context.Background(), make([]store.Position, partitions), time.Hour)
		done <- err
	}()
	waitUntil(t, func() bool { return server.Info("blocked_clients") == "1" })
	if _, err := s.Follow(context.Background(), make([]store.Position, partitions), 0); !errors.Is(err, errFollowTwice) {
		t.Errorf("a second Follow: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := await.One(t, done); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Follow: %v; want ErrUnavailable", err)
	}
}

// TestCloseWaitsForNoConnectionThatIsChecked: a server that accepts connections and then hangs must not delay the end
// of the process.
func TestCloseWaitsForNoConnectionThatIsChecked(t *testing.T) {
	for _, o := range []Options{{Mode: Standalone}, {Mode: Cluster}, {Mode: Cluster, WaitReplicas: 1}, {Mode: Sentinel, SentinelMaster: "main"}} {
		t.Run(fmt.Sprint(o.Mode, o.WaitReplicas), func(t *testing.T) {
			t.Parallel()
			var dialed atomic.Int64
			o.Addrs = []string{"redis:6379"}
			o.Dial = func(context.Context, string, string) (net.Conn, error) {
				dialed.Add(1)
				return greeted(t), nil
			}
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			ended, closed := make(chan error, 3), make(chan error, 1)
			for _, call := range []func() error{
				func() error { _, err := s.Get(context.Background(), "vs_a"); return err },
				func() error {
					_, err := s.Update(context.Background(), "vs_a", applying(event("vs_a", 1)))
					return err
				},
				func() error {
					_, err := s.Follow(context.Background(), make([]store.Position, partitions), time.Hour)
					return err
				},
			} {
				go func() { ended <- call() }()
			}
			waitUntil(t, func() bool { return dialed.Load() >= 2 })
			began := time.Now()
			go func() { closed <- s.Close() }()
			if err, took := await.One(t, closed), time.Since(began); err != nil || took > 10*time.Second {
				t.Errorf("Close: %v after %v", err, took)
			}
			for range 3 {
				if err := await.One(t, ended); err == nil {
					t.Error("a call has an answer")
				}
			}
		})
	}
}

func waitUntil(t *testing.T, what func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !what() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("waited in vain")
		}
	}
}

// TestIndexingARedactedSession: an index entry that was added during a redaction is removed again.
func TestIndexingARedactedSession(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}})
		stale := apply(t, s, event("vs_a", 0, withReference("case")))
		apply(t, s, event("vs_a", 1, redacted))
		if err := s.ensureIndex(testContext(t), stale); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Newest(testContext(t), "case"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Newest: %v; want ErrNotFound", err)
		}
	})
}

// TestDuplicatesRepairTheIndex: an update that writes nothing, such as a redelivery, restores a lost index entry.
func TestDuplicatesRepairTheIndex(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		s := openStore(t, Options{Addrs: []string{addr}})
		apply(t, s, event("vs_a", 0, withReference("case")))
		rawClient(t, addr).Del(testContext(t), s.keys.reference("case"))
		apply(t, s, event("vs_a", 0, withReference("case")))
		if id, err := s.Newest(testContext(t), "case"); err != nil || id != "vs_a" {
			t.Errorf("Newest = %q, %v; want vs_a", id, err)
		}
	})
}

func TestIndexIsBounded(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		raw, ctx := rawClient(t, addr), testContext(t)
		for n := range 3 {
			if err := indexScript.Run(ctx, raw, []string{"ref"}, string(rune('a'+n)), n, 2).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(raw.ZRange(ctx, "ref", 0, -1).Val(), ""); got != "bc" {
			t.Errorf("kept %q; want the two newest, bc", got)
		}
	})
}

func TestErrorsShowNoSecret(t *testing.T) {
	const secret = "swordfish"
	server := redistest.Start(t, "--requirepass", "another")
	var log safeBuffer
	s := openStore(t, Options{Addrs: []string{server.Addr}, Credentials: credentials("", secret), Logger: debugLogger(&log)})
	err := s.Prepare(testContext(t))
	if !errors.Is(err, ErrMisconfigured) {
		t.Errorf("Prepare with a wrong password: %v; want ErrMisconfigured", err)
	}
	_, err2 := s.Get(testContext(t), "vs_a")
	if !errors.Is(err2, store.ErrUnavailable) {
		t.Errorf("Get with a wrong password: %v; want ErrUnavailable", err2)
	}
	old := s.failed(testContext(t), "x", errors.New("ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'x'"))
	echo := s.failed(testContext(t), "x", errors.New("bad "+secret))
	driverLog{logger: debugLogger(&log), passwords: func() []string { return []string{secret} }}.Printf(testContext(t), "auth %s", secret)
	for _, text := range []string{err.Error(), err2.Error(), old.Error(), echo.Error(), log.String()} {
		if strings.Contains(text, secret) || strings.Contains(text, "'AUTH'") {
			t.Errorf("shows the password: %s", text)
		}
	}
}

func TestDialIsUsed(t *testing.T) {
	mini := redistest.Imitate(t)
	s := openStore(t, Options{
		Addrs: []string{"nowhere.invalid:1"},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, mini.Addr())
		},
	})
	apply(t, s, event("vs_a", 0))
	if err := s.Ping(testContext(t)); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

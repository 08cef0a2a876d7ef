package redisstore

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/testing/storetest"
	"example.com/verification-status/server/internal/verification"
)

// TestMain checks for leaked goroutines. The driver tries once a second whether a lost server is back, and notices
// only then that its client was closed.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// openStore opens a store that is closed with the test.
func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// credentials returns a user and a password that never change.
func credentials(username, password string) func() (string, string) {
	return func() (string, string) { return username, password }
}

// rawClient returns a client of the test's own, to read Redis directly.
func rawClient(t testing.TB, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
	t.Cleanup(func() { client.Close() })
	return client
}

func event(id string, n int, change ...func(*verification.Event)) verification.Event {
	e := verification.Event{
		ID: fmt.Sprintf("evt_%s_%d", id, n), Type: verification.EventProcessing, Source: verification.SourceWebhook,
		Second: 1_790_000_000 + int64(n), RecordTime: (1_790_000_000+int64(n))*1000 + 250,
		Object: verification.Object{ID: id, Type: "document", Status: verification.StatusProcessing, Created: 1_790_000_000},
	}
	for _, f := range change {
		f(&e)
	}
	return e
}

func failing(e *verification.Event) {
	e.Object.Status = verification.StatusRequiresInput
	e.Object.Error = verification.Error{Code: "document_expired", Reason: "The document has expired."}
	e.Object.Report = "vr_" + e.ID
}

func withReference(reference string) func(*verification.Event) {
	return func(e *verification.Event) { e.Object.Reference = reference }
}

func redacted(e *verification.Event) {
	e.Object.Redaction = verification.RedactionRedacted
}

func apply(t testing.TB, s *Store, e verification.Event) verification.Session {
	t.Helper()
	session, err := s.Update(testContext(t), e.Object.ID, applying(e))
	if err != nil {
		t.Fatalf("Update(%s): %v", e.ID, err)
	}
	return session
}

func applying(e verification.Event) store.UpdateFunc {
	return func(current verification.Session) (verification.Session, bool, error) {
		next, outcome := verification.Transition(current, e)
		return next, outcome.Write, nil
	}
}

// servers runs a test on the servers of this package. A run on another server than redis-server leaves out the
// imitation, which was tested beside redis-server. So does -short where redis-server is installed: it is four times as
// fast as the imitation.
func servers(t *testing.T, run func(t *testing.T, addr string)) {
	_, missing := exec.LookPath(redistest.Default)
	if redistest.Program() == redistest.Default && (missing != nil || !testing.Short()) {
		t.Run("miniredis", func(t *testing.T) { run(t, redistest.Imitate(t).Addr()) })
	}
	t.Run("redis-server", func(t *testing.T) { run(t, redistest.Start(t).Addr) })
}

// conforming returns options as storetest needs them.
func conforming(o Options, clock func() time.Time) Options {
	o.FeedMaxLen, o.FeedMaxAge, o.Policy, o.Clock = storetest.FeedMaxLen, storetest.FeedMaxAge, storetest.Policy, clock
	return o
}

func TestConformance(t *testing.T) {
	t.Parallel()
	servers(t, func(t *testing.T, addr string) {
		for _, split := range []bool{false, true} {
			t.Run(fmt.Sprintf("split=%v", split), func(t *testing.T) {
				raw := rawClient(t, addr)
				storetest.Run(t, func(t *testing.T, clock func() time.Time) store.Store {
					raw.FlushAll(testContext(t))
					return openStore(t, conforming(Options{Addrs: []string{addr}, SplitIndex: split}, clock))
				})
			})
		}
	})
}

// dump returns everything that a server holds, as text.
func dump(t *testing.T, raw *redis.Client) string {
	t.Helper()
	ctx := testContext(t)
	keys, err := raw.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	var text strings.Builder
	for _, key := range keys {
		fmt.Fprintln(&text, key)
		switch kind := raw.Type(ctx, key).Val(); kind {
		case "string":
			fmt.Fprintln(&text, raw.Get(ctx, key).Val())
		case "hash":
			fmt.Fprintln(&text, raw.HGetAll(ctx, key).Val())
		case "zset":
			fmt.Fprintln(&text, raw.ZRangeWithScores(ctx, key, 0, -1).Val())
		case "list":
			fmt.Fprintln(&text, raw.LRange(ctx, key, 0, -1).Val())
		case "set":
			fmt.Fprintln(&text, raw.SMembers(ctx, key).Val())
		case "stream":
			fmt.Fprintln(&text, raw.XRange(ctx, key, "-", "+").Val())
		default:
			t.Errorf("key %s has the type %s", key, kind)
		}
	}
	return text.String()
}

// TestRedactionErasesInRedis (G11): after a redaction no personal data is anywhere in Redis.
func TestRedactionErasesInRedis(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		for _, split := range []bool{false, true} {
			raw := rawClient(t, addr)
			raw.FlushAll(testContext(t))
			s := openStore(t, Options{Addrs: []string{addr}, SplitIndex: split})
			apply(t, s, event("vs_a", 0, failing, withReference("person-4711")))
			before := dump(t, raw)
			if !strings.Contains(before, "has expired") || !strings.Contains(before, "person-4711") || !strings.Contains(before, ":ref:") && !strings.Contains(before, "vs:ref:") || !strings.Contains(before, "}:l:") {
				t.Fatalf("nothing to erase in:\n%s", before)
			}
			apply(t, s, event("vs_a", 1, failing, withReference("person-4711"), redacted))
			after := dump(t, raw)
			for _, word := range []string{"expired", "person-4711", "vr_", "vs:ref:", "}:l:"} {
				if strings.Contains(after, word) {
					t.Errorf("split=%v: %q is still in:\n%s", split, word, after)
				}
			}
		}
	})
}

func TestEveryKeyHasThePrefix(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		raw := rawClient(t, addr)
		one := openStore(t, Options{Addrs: []string{addr}, Prefix: "one:"})
		two := openStore(t, Options{Addrs: []string{addr}, Prefix: "two:", SplitIndex: true})
		if err := one.Prepare(testContext(t)); err != nil {
			t.Fatal(err)
		}
		apply(t, one, event("vs_a", 0, withReference("case")))
		if _, err := two.Get(testContext(t), "vs_a"); err == nil {
			t.Error("a store reads another prefix's session")
		}
		apply(t, two, event("vs_a", 0, withReference("case")))
		for _, key := range raw.Keys(testContext(t), "*").Val() {
			if !strings.HasPrefix(key, "one:") && !strings.HasPrefix(key, "two:") {
				t.Errorf("the key %s has no prefix", key)
			}
		}
	})
}

// safeBuffer is a log for concurrent writers.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func debugLogger(to *safeBuffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

//go:build load

package load

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/tests/rig"
)

// seeders is the number of goroutines that seed at once: enough that Redis never waits for one.
const seeders = 64

// loadCount is how many of something a load test has: a number of the environment, within bounds.
func loadCount(t *testing.T, name string, standard, least, most int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		t.Fatalf("%s is %q; give a number from %d to %d", name, text, least, most)
	}
	return n
}

// seedSessions keeps sessions in Redis by the store's own code, as webhooks would, but each life in one update:
// that leaves the record of five webhooks, and as many feed entries, after one round trip.
func seedSessions(t *testing.T, addr string, from, to int, life func(n int) []verification.Event) {
	t.Helper()
	kept, err := redisstore.Open(redisstore.Options{Addrs: []string{addr}, Policy: verification.RetryPolicy{MaxRetries: 2}})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if err := kept.Prepare(rig.Within(t, rig.Soon)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	next := atomic.Int64{}
	next.Store(int64(from))
	seeding, ctx := errgroup.WithContext(rig.Within(t, 15*time.Minute))
	for range seeders {
		seeding.Go(func() error {
			for n := int(next.Add(1) - 1); n < to; n = int(next.Add(1) - 1) {
				events := life(n)
				_, err := kept.Update(ctx, events[0].Object.ID, func(session verification.Session) (verification.Session, bool, error) {
					for _, event := range events {
						session, _ = verification.Transition(session, event)
					}
					return session, true, nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := seeding.Wait(); err != nil {
		t.Fatal(err)
	}
	if to-from > 1 {
		t.Logf("%s sessions seeded in %v", grouped(to-from), time.Since(began).Round(time.Second))
	}
}

// decoded returns an event as the webhook listener decodes it.
func decoded(t *testing.T, e rig.Event) verification.Event {
	t.Helper()
	got, err := stripeevent.Decode(e.Body, stripeevent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got.Source, got.RecordTime = verification.SourceWebhook, time.Now().UnixMilli()
	return got
}

// grouped is a number as people read it.
func grouped[N ~int | ~int64](n N) string {
	text := strconv.FormatInt(int64(n), 10)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// mB is a number of bytes in millions.
func mB(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

//go:build load

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// planters is how many goroutines plant at once: enough that Redis never waits for one.
const planters = 64

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

// plant keeps sessions in Redis by the store's own code, as webhooks would, but each life in one update:
// that leaves the record of five webhooks, and as many feed entries, after one round trip.
func plant(t *testing.T, addr string, from, to int, life func(n int) []verification.Event) {
	t.Helper()
	kept, err := redisstore.Open(redisstore.Options{Addrs: []string{addr}, Policy: verification.RetryPolicy{MaxRetries: 2}})
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if err := kept.Prepare(within(t, soon)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	next := atomic.Int64{}
	next.Store(int64(from))
	planting, ctx := errgroup.WithContext(within(t, 15*time.Minute))
	for range planters {
		planting.Go(func() error {
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
	if err := planting.Wait(); err != nil {
		t.Fatal(err)
	}
	if to-from > 1 {
		t.Logf("%s sessions planted in %v", grouped(to-from), time.Since(began).Round(time.Second))
	}
}

// decoded is what the webhook listener makes of an event.
func decoded(t *testing.T, e event) verification.Event {
	t.Helper()
	got, err := stripeevent.Decode(e.body, stripeevent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got.Source, got.RecordTime = verification.SourceWebhook, time.Now().UnixMilli()
	return got
}

// awaitLists waits for the server's look at every session, which a Redis that no server has seen before
// gets at once, in the background: what is measured meanwhile would be slower.
func (p *process) awaitLists() {
	p.t.Helper()
	for over := time.Now().Add(10 * time.Minute); ; {
		if strings.Contains(p.stderr.String(), "lists: all sessions were checked") {
			return
		}
		select {
		case <-p.ended:
			p.t.Fatal("the process has ended")
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(over) {
			p.t.Fatal("the lists are not put right")
		}
	}
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

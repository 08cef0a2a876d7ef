package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

// costFeedPause is the pause of a follower that reads only entries of its own process, as in package live. Beside a Redis in a
// profiler that makes it fifty times slower, make it longer too.
var costFeedPause = flag.Duration("cost.pause", 5*time.Millisecond, "pause between two reads of the feed in BenchmarkCost")

// BenchmarkCost commits lives of five events through the store alone, beside a reader of the feed, and reports what an event
// costs: processor time of Redis (all of it, and that of the scripts) and of this process, bytes to and from Redis, and the memory of
// Redis for each session, its feed included, which is rough with fewer than 100,000 events. Processor time is what counts on a machine that does other work too. Compare two
// commits with .ci/cost, which alternates between them.
//
// rate=full: 32 callers, each with the next event as soon as its last one is kept. Else so many events a second.
func BenchmarkCost(b *testing.B) {
	for _, rate := range []int{0, 500, 2000} {
		name := "rate=full"
		if rate > 0 {
			name = "rate=" + strconv.Itoa(rate)
		}
		b.Run(name, func(b *testing.B) {
			server := redistest.Start(b, "--appendonly", "yes", "--appendfsync", "everysec")
			s, err := redisstore.Open(redisstore.Options{Addrs: []string{server.Addr}, Policy: verification.RetryPolicy{MaxRetries: 3}})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Prepare(b.Context()); err != nil {
				b.Fatal(err)
			}
			raw := redis.NewClient(&redis.Options{Addr: server.Addr})
			defer raw.Close()
			stop := followFeed(b, s)
			events := costEvents(b.N + costAbreast*costLife)
			share(b, s, events[:costAbreast*costLife], 0) // the script is known, connections are open
			events = events[costAbreast*costLife:]

			before := readUsage(b, raw)
			b.ResetTimer()
			share(b, s, events, rate)
			b.StopTimer()
			used := readUsage(b, raw)
			stop()
			if err := s.Close(); err != nil {
				b.Error(err)
			}
			used.report(b, before, float64(len(events)))
			raw.ShutdownNoSave(b.Context()) // in order: a profiler around TEST_REDIS_SERVER writes its file then
		})
	}
}

const costAbreast, costLife = 64, 5

// costEvents returns lives of five events. The events of 64 sessions alternate.
func costEvents(n int) []verification.Event {
	const second = 1_790_000_000
	events := make([]verification.Event, 0, n)
	for i := range n {
		group, within := i/(costAbreast*costLife), i%(costAbreast*costLife)
		session, step := group*costAbreast+within%costAbreast, within/costAbreast
		at := int64(second + group)
		object := verification.Object{
			ID: fmt.Sprintf("vs_1MgnjdLkdIwHu7ix%08d", session), Livemode: true, Type: "document", Created: at,
			Status: verification.StatusProcessing, Reference: fmt.Sprintf("4f9c1d2e-8a3b-4c5d-9e6f-%012d", session),
		}
		kind := verification.EventProcessing
		switch step {
		case 0:
			kind, object.Status = verification.EventCreated, verification.StatusRequiresInput
		case 2:
			kind, object.Status = verification.EventRequiresInput, verification.StatusRequiresInput
			object.Error = verification.Error{Code: "document_unverified_other", Reason: "The document could not be verified, please try another one."}
			object.Report = fmt.Sprintf("vr_1MgnkZLkdIwHu7ix%08d", session)
		case 4:
			kind, object.Status = verification.EventVerified, verification.StatusVerified
			object.Report = fmt.Sprintf("vr_1MgnmXLkdIwHu7iy%08d", session)
		}
		at += int64(60 * step)
		events = append(events, verification.Event{
			ID: fmt.Sprintf("evt_%dMgnkALkdIwHu7ix%08d", step, session), Type: kind, Source: verification.SourceWebhook,
			Second: at, RecordTime: at*1000 + 1312, Object: object,
		})
	}
	return events
}

// share lets 32 callers keep the events, at most rate of them a second unless it is 0. The events of one session are kept in order.
func share(b *testing.B, s *redisstore.Store, events []verification.Event, rate int) {
	b.Helper()
	const callers = 32
	var next atomic.Int64
	var calling sync.WaitGroup
	began := time.Now()
	for range callers {
		calling.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(events)); n = next.Add(1) - 1 {
				if rate > 0 {
					time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(rate))))
				}
				event := events[n]
				_, err := s.Update(b.Context(), event.Object.ID, func(current verification.Session) (verification.Session, bool, error) {
					next, outcome := verification.Transition(current, event)
					return next, outcome.Write, nil
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	calling.Wait()
}

// followFeed reads the feed as package live does for its own entries, until stop is called.
func followFeed(b *testing.B, s *redisstore.Store) (stop func()) {
	b.Helper()
	positions := make([]store.Position, s.Partitions())
	for partition := range positions {
		head, err := s.Head(b.Context(), partition)
		if err != nil {
			b.Fatal(err)
		}
		positions[partition] = head
	}
	ctx, cancel := context.WithCancel(b.Context())
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			entries, err := s.Follow(ctx, positions, time.Second)
			if err != nil && !errors.Is(err, context.Canceled) {
				b.Error(err)
				return
			}
			for _, entry := range entries {
				if err := entry.Follows(positions[entry.Partition]); err != nil {
					b.Error(err)
				}
				positions[entry.Partition] = entry.Position
			}
			if len(entries) > 0 {
				time.Sleep(*costFeedPause)
			}
		}
	})
	return func() { cancel(); reading.Wait() }
}

// usage is what was used since a start.
type usage struct {
	redis, scripts, own float64 // processor time, in µs
	toRedis, fromRedis  float64 // bytes
	memory              float64 // bytes
	commands            float64
}

func readUsage(b *testing.B, raw *redis.Client) usage {
	b.Helper()
	text, err := raw.Info(b.Context(), "everything").Result()
	if err != nil {
		b.Fatal(err)
	}
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		b.Fatal(err)
	}
	number := func(text string) float64 {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	u := usage{own: float64(self.Utime.Nano()+self.Stime.Nano()) / 1000}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_cpu_user", "used_cpu_sys":
			u.redis += number(value) * 1e6
		case "total_net_input_bytes":
			u.toRedis = number(value)
		case "total_net_output_bytes":
			u.fromRedis = number(value)
		case "used_memory_dataset":
			u.memory = number(value)
		case "total_commands_processed":
			u.commands = number(value)
		case "cmdstat_evalsha":
			_, value, _ = strings.Cut(value, "usec=")
			value, _, _ = strings.Cut(value, ",")
			u.scripts = number(value)
		}
	}
	return u
}

func (u usage) report(b *testing.B, before usage, events float64) {
	b.Helper()
	b.ReportMetric((u.redis-before.redis)/events, "redis-µs/op")
	b.ReportMetric((u.scripts-before.scripts)/events, "script-µs/op")
	b.ReportMetric((u.own-before.own)/events, "own-µs/op")
	b.ReportMetric((u.toRedis-before.toRedis)/events, "to-redis-B/op")
	b.ReportMetric((u.fromRedis-before.fromRedis)/events, "from-redis-B/op")
	b.ReportMetric((u.memory-before.memory)/events*costLife, "B/session")
	b.ReportMetric((u.commands-before.commands)/events, "commands/op")
}

package rpc

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
)

// TestManyWatchesOfAllSessionsReadTogetherWhatComes: under a thousand changes a second, a few watches read after each, many at a pace.
// The first change after a silence is read at once.
func TestManyWatchesOfAllSessionsReadTogetherWhatComes(t *testing.T) {
	const changes = 1000
	for _, test := range []struct{ watches, least, most int }{
		{1, changes, changes},
		{int(paceLeast/pacePerWatch) - 1, changes, changes},
		{50, 60, 160}, // each 5 to 15 ms, and up to a change later
		{1000, 30, 90},
	} {
		t.Run(fmt.Sprint(test.watches), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatching(t, 0)
				reads := &countedReads{Sessions: w.service.watcher.sessions}
				w.service.watcher.sessions = reads
				for range test.watches - 1 {
					defer w.hub.Subscribe(w.service.watcher.partitionTopics()...).Close()
				}
				w.start(allSessions())
				time.Sleep(time.Second)
				before := reads.n.Load()
				w.hub.Wake(hub.Partition(0))
				synctest.Wait()
				if got := reads.n.Load() - before; got != 1 {
					t.Errorf("the first change was read %d times at once, want once", got)
				}
				time.Sleep(time.Second)
				before = reads.n.Load()
				for range changes {
					w.hub.Wake(hub.Partition(0))
					time.Sleep(time.Millisecond)
					synctest.Wait()
				}
				if got := int(reads.n.Load() - before); got < test.least || got > test.most {
					t.Errorf("the feed was read %d times, want %d to %d", got, test.least, test.most)
				}
				w.stop()
			})
		})
	}
}

// TestAPauseOfAWatchEndsWithTheServer, and with its caller: both wait for nothing.
func TestAPauseOfAWatchEndsWithTheServer(t *testing.T) {
	for name, end := range map[string]func(*watching){
		"the server stops":   func(w *watching) { w.service.Drain() },
		"the caller is gone": func(w *watching) { w.cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatching(t, 0)
				for range 1000 {
					defer w.hub.Subscribe(w.service.watcher.partitionTopics()...).Close()
				}
				w.start(allSessions())
				began := time.Now()
				end(w)
				<-w.ended
				if took := time.Since(began); took != 0 {
					t.Errorf("the stream ended after %v, want at once", took)
				}
			})
		})
	}
}

// countedReads counts the reads of the feed.
type countedReads struct {
	live.Sessions
	n atomic.Int64
}

func (c *countedReads) ReadFeed(ctx context.Context, partition int, after store.Position, limit int) ([]store.Entry, error) {
	c.n.Add(1)
	return c.Sessions.ReadFeed(ctx, partition, after, limit)
}

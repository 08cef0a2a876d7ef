//go:build load

package load

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

const (
	// maxStoredBytes is the greatest size of a life of five events in Redis, without the feed. maxFixedBytes is the
	// greatest size of what does not grow with the sessions: the lists of the newest settled ones, with 1,920 entries, and
	// the partitions' own keys.
	maxStoredBytes, maxFixedBytes = 700, 128 << 10
	// feedMaxLen is FEED_MAX_LEN's default, for each of the 16 partitions; Redis cuts in steps of 100.
	feedMaxLen, feedPartitions, feedStep = 100_000, 16, 100

	loadStarts     = 5  // starts of each server that are timed
	loadRounds     = 25 // in each, every server gets its commits and reads; the first is not counted
	livesPerRound  = 40 // of five commits each
	readsPerRound  = 200
	smallestStored = 1000
)

// TestLoadSessions: 1,000, 100,000 and 1,000,000 sessions, each a life of five events, in a Redis of
// their own, with a server each. What a session takes in Redis is bounded, and so is the feed. Times to
// start, commit and read are reported beside those with 1,000 sessions, not judged: they are measured by
// turns, so that whatever else the machine does meets all three.
//
//	go test -tags load -run TestLoadSessions -v -count 1 -timeout 30m ./server/tests/load
//
// LOAD_SESSIONS is another greatest number of sessions; the middle one is a tenth of it.
func TestLoadSessions(t *testing.T) {
	most := loadCount(t, "LOAD_SESSIONS", 1_000_000, 10*smallestStored, 20_000_000)
	second := secondOfLives()
	lives := newLifeMaker(t, second)
	var all []*storedLoad
	for _, sessions := range []int{smallestStored, most / 10, most} {
		s := &storedLoad{t: t, sessions: sessions, next: sessions, second: second, http: rig.NewHTTPClient(t)}
		s.redis = redistest.Start(t)
		s.env = rig.Settings(s.redis.Addr)
		s.fill(lives)
		all = append(all, s)
	}
	for _, s := range all {
		s.firstStart()
	}
	for range loadStarts {
		for _, s := range all {
			s.start()
			s.p.Signal(syscall.SIGTERM)
			s.p.Exit(rig.Soon)
		}
	}
	for _, s := range all {
		s.start()
	}
	checkSeeded(t, all[0].p, smallestStored/2, 99_999_999, second)
	for round := range loadRounds {
		for i := range all {
			all[(round+i)%len(all)].round(round > 0)
		}
	}
	t.Log("| sessions | Redis before | after | each session | the feed | start to ready | commit p50, p99 | read p50, p99 |")
	t.Log("|---|---|---|---|---|---|---|---|")
	for _, s := range all {
		t.Log(s.row(all[0]))
	}
}

// storedLoad is so many sessions in a Redis, and a server for them.
type storedLoad struct {
	t        *testing.T
	sessions int
	second   int64
	redis    *redistest.Server
	env      []string
	p        *rig.Process
	client   verificationv1.VerificationServiceClient
	http     *http.Client

	before, after, records, feed int64 // bytes of Redis
	entries                      int64 // of the feed
	next                         int   // the number of the next life that is delivered
	starts, commits, reads       []time.Duration
}

// fill seeds the sessions and measures their size. The first session is stored before: the scripts and the partitions' own
// keys come with it.
func (s *storedLoad) fill(lives lifeMaker) {
	s.t.Helper()
	seedSessions(s.t, s.redis.Addr, 0, 1, lives.life)
	before, rest, _ := s.taken()
	seedSessions(s.t, s.redis.Addr, 1, s.sessions, lives.life)
	after, restAfter, entries := s.taken()
	s.before, s.after, s.records, s.feed, s.entries = before, after, restAfter-rest, after-restAfter, entries
	if most := int64(s.sessions)*maxStoredBytes + maxFixedBytes; s.records <= 0 || s.records > most {
		s.t.Errorf("%s sessions take %d bytes; want at most %d", grouped(s.sessions), s.records, most)
	}
	if most := int64(min(5*s.sessions, feedPartitions*(feedMaxLen+feedStep))); entries == 0 || entries > most {
		s.t.Errorf("the feed has %d entries; want at most %d", entries, most)
	}
}

// each returns the bytes of a session in Redis without the feed: the record, the index of its reference, its entry in a
// list, and its part of the table of keys, which doubles now and then.
func (s *storedLoad) each() int64 { return s.records / int64(s.sessions-1) }

// firstStart is the one at which the server looks at every session, in the background: it is let finish.
func (s *storedLoad) firstStart() {
	s.t.Helper()
	s.start()
	began := time.Now()
	s.p.AwaitLists()
	s.t.Logf("%s sessions: the first server that ever starts is ready after %v, and has put the lists right %.1f s later",
		grouped(s.sessions), s.starts[0].Round(time.Millisecond), time.Since(began).Seconds())
	s.starts = nil
	s.p.Signal(syscall.SIGTERM)
	s.p.Exit(rig.Soon)
}

// start starts a server and notes when it is ready.
func (s *storedLoad) start() {
	s.t.Helper()
	began := time.Now()
	s.p = rig.Serve(s.t, s.env)
	s.starts = append(s.starts, time.Since(began))
	s.client = rig.ClientOf(s.t, s.p)
}

// round delivers new lives and reads sessions at random, one after the other.
func (s *storedLoad) round(counts bool) {
	s.t.Helper()
	var commits, reads []time.Duration
	for range livesPerRound {
		l := storedLife(s.next, s.second)
		s.next++
		for _, e := range l.Events {
			began := time.Now()
			rig.Deliver(s.t, s.http, s.p.Webhook, e)
			commits = append(commits, time.Since(began))
		}
	}
	for range readsPerRound {
		id := storedLife(rand.IntN(s.sessions), s.second).ID
		began := time.Now()
		_, err := s.client.GetStatus(s.t.Context(), &verificationv1.GetStatusRequest{
			Subject:        &verificationv1.GetStatusRequest_SessionId{SessionId: id},
			IncludeHistory: true, // which is never answered from memory
		})
		if status.Code(err) != codes.OK {
			s.t.Fatal(err)
		}
		reads = append(reads, time.Since(began))
	}
	if counts {
		s.commits, s.reads = append(s.commits, commits...), append(s.reads, reads...)
	}
}

// row is one of the report's table, with ratios to the smallest.
func (s *storedLoad) row(smallest *storedLoad) string {
	quantile := func(of []time.Duration, percent int) time.Duration {
		slices.Sort(of)
		return of[len(of)*percent/100]
	}
	pair := func(of, least []time.Duration) string {
		text := ""
		for _, percent := range []int{50, 99} {
			q := quantile(of, percent)
			text += fmt.Sprintf(", %v (%.2f)", q.Round(10*time.Microsecond), q.Seconds()/quantile(least, percent).Seconds())
		}
		return text[2:]
	}
	return fmt.Sprintf("| %s | %s | %s | %d B | %s entries, %s | %v | %s | %s |",
		grouped(s.sessions), mB(s.before), mB(s.after), s.each(), grouped(s.entries), mB(s.feed),
		quantile(s.starts, 50).Round(time.Millisecond), pair(s.commits, smallest.commits), pair(s.reads, smallest.reads))
}

package rpc

import (
	"fmt"
	"testing"
	"time"

	"example.com/verification-status/server/internal/ingest"
	"example.com/verification-status/server/internal/live"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
)

// silenceRig is a replica that reads, and a writer whose clock is the test's and whose feed keeps entries for
// a week.
type silenceRig struct {
	*replica
	now     time.Time
	written int
	in      *ingest.Ingest
}

func newSilenceRig(t *testing.T) *silenceRig {
	b := newBackend(t)
	rig := &silenceRig{replica: b.replica(t), now: time.Now()}
	clock := func() time.Time { return rig.now }
	aged, err := redisstore.Open(redisstore.Options{Addrs: []string{b.addr}, FeedMaxAge: 168 * time.Hour, Clock: clock, Policy: b.policy})
	if err != nil {
		t.Fatal(err)
	}
	rig.in = ingest.New(ingest.Config{Store: aged, Clock: clock, Logger: b.logger})
	t.Cleanup(func() { rig.in.Close(); _ = aged.Close() })
	return rig
}

func (r *silenceRig) write(id, stripeStatus string) {
	r.t.Helper()
	r.written++
	e := eventOf(r.written, int64(r.written), object(id, stripeStatus, reference("of "+id)))
	if _, err := r.in.Apply(r.t.Context(), e); err != nil {
		r.t.Fatal(err)
	}
}

// Every partition is quiet for a year. A watch that had seen all, be it open all the time or resumed with a
// token from before the silence, continues with what comes then.
func TestG6_AWatchThatMissedNothingContinuesAfterASilence(t *testing.T) {
	r := newSilenceRig(t)
	var ids []string // one in each partition
	for n, seen := 0, map[int]bool{}; len(ids) < r.store.Partitions(); n++ {
		id := fmt.Sprintf("vs_%d", n)
		if partition := r.store.Partition(id); !seen[partition] {
			seen[partition], ids = true, append(ids, id)
		}
	}
	all := r.watch(allSessions())
	all.next()
	for _, id := range ids {
		r.write(id, "requires_input")
		all.wantNext(id, 1, "requires_input")
	}
	stored := resumed(allSessions(), all.token)
	session, person := r.watch(bySession(ids[0], 0)), r.watch(byReference("of "+ids[1]))
	session.next()
	person.next()
	storedSession, storedPerson := resumed(bySession(ids[0], 0), session.token), resumed(byReference("of "+ids[1]), person.token)
	for year := range int32(3) {
		r.now = r.now.AddDate(1, 0, 0)
		stripeStatus := []string{"processing", "requires_input"}[year%2]
		again, againSession, againPerson := r.watch(stored), r.watch(storedSession), r.watch(storedPerson)
		again.next() // the bookmark
		for _, id := range ids {
			r.write(id, stripeStatus)
			all.wantNext(id, year+2, stripeStatus)
			again.wantNext(id, year+2, stripeStatus)
		}
		late := r.watch(stored) // it comes only now, and the entries that it has seen are gone
		late.next()
		for range ids {
			if got := late.next(); got.GetRevision() != year+2 {
				t.Errorf("year %d: a token of before the silence continues with revision %d of %s; want %d", year, got.GetRevision(), got.GetSessionId(), year+2)
			}
		}
		for _, w := range []*watched{session, againSession, r.watch(storedSession)} {
			w.wantNext(ids[0], year+2, stripeStatus)
		}
		for _, w := range []*watched{person, againPerson, r.watch(storedPerson)} {
			w.wantNext(ids[1], year+2, stripeStatus)
		}
		stored = resumed(allSessions(), late.token)
		storedSession, storedPerson = resumed(bySession(ids[0], 0), session.token), resumed(byReference("of "+ids[1]), person.token)
	}
}

// A change that a token's holder has not seen is removed: it must be reported, in each partition.
func TestG6_AWatchThatMissedAChangeEndsWithOutOfRange(t *testing.T) {
	r := newSilenceRig(t)
	r.write("vs_1", "requires_input")
	w := r.watch(allSessions())
	w.next()
	missed := resumed(allSessions(), w.token)
	r.write("vs_1", "processing")
	w.wantNext("vs_1", 2, "processing")
	r.now = r.now.AddDate(1, 0, 0)
	r.write("vs_1", "requires_input")
	w.wantNext("vs_1", 3, "requires_input")
	wantExpiredToken(t, r.watch(missed).ended())
	r.now = r.now.AddDate(1, 0, 0)
	r.write("vs_1", "processing")
	w.wantNext("vs_1", 4, "processing")
}

// The store loses its newest write to a partition, and two others come before anybody asks whether the last
// position still is there. Nobody's connection fails. What was lost is not answered any more, neither while
// the store has less nor when it has another revision of the same number, and a watch that showed it ends.
func TestG8_ALossThatIsOvergrownIsNotVouchedFor(t *testing.T) {
	server := redistest.Start(t)
	b := newBackend(t)
	b.addr = server.Addr
	reads := b.replica(t)
	other, err := redisstore.Open(redisstore.Options{Addrs: []string{server.Addr}, Policy: b.policy})
	if err != nil {
		t.Fatal(err)
	}
	in := ingest.New(ingest.Config{Store: other, Clock: time.Now, Logger: b.logger})
	t.Cleanup(func() { in.Close(); _ = other.Close() })
	write := func(n int, id, stripeStatus string) {
		t.Helper()
		if _, err := in.Apply(t.Context(), eventOf(n, int64(n), object(id, stripeStatus))); err != nil {
			t.Fatal(err)
		}
	}
	neighbours := idsBeside(other, "vs_x", 2)
	write(1, "vs_x", "requires_input")
	write(2, "vs_x", "processing")
	wantCached := func(revision int32) {
		t.Helper()
		eventually(t, fmt.Sprintf("revision %d is answered from the cache", revision), func() bool {
			return reads.status("vs_x").GetRevision() == revision && reads.service.config.Live.Peek("vs_x", revision) != nil
		})
	}
	wantCached(2) // each partition is followed by now
	lose := server.Keep()
	write(3, "vs_x", "verified")
	wantCached(3) // before the watch, whose snapshot can come from an older cache entry
	w, all := reads.watch(bySession("vs_x", 0)), reads.watch(allSessions())
	w.wantNext("vs_x", 3, "verified")
	all.next()

	lose()
	for _, id := range neighbours {
		write(1, id, "requires_input")
	}
	lost := time.Now()
	agrees := func(when string) {
		t.Helper()
		for time.Since(lost) < live.FreshnessBound+time.Second {
			kept, err := other.Get(t.Context(), "vs_x")
			if err != nil {
				t.Fatal(err)
			}
			if got := reads.status("vs_x"); got.GetRevision() == kept.Revision && got.GetStripeStatus() == kept.Status {
				return
			}
		}
		t.Errorf("%s: a lost revision is answered for longer than the cache may", when)
	}
	agrees("two revisions are left")
	wantExpiredToken(t, w.ended())
	wantExpiredToken(t, all.ended())
	wantExpiredToken(t, reads.watch(resumed(bySession("vs_x", 0), w.token)).ended())
	lost = time.Now()
	write(4, "vs_x", "canceled")
	agrees("another revision has the number of the lost one")
	if v := reads.status("vs_x"); v.GetStripeStatus() != "canceled" || v.GetRevision() != 3 {
		t.Errorf("revision %d %s; want 3, which is canceled now", v.GetRevision(), v.GetStripeStatus())
	}
}

// idsBeside returns ids of further sessions of one's partition.
func idsBeside(s store.Store, id string, count int) (ids []string) {
	for n := 0; len(ids) < count; n++ {
		if beside := fmt.Sprintf("vs_beside%d", n); s.Partition(beside) == s.Partition(id) {
			ids = append(ids, beside)
		}
	}
	return ids
}

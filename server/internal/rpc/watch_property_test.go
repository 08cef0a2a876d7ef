package rpc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
)

// G5, over the wire: two replicas with one store take events in any order, while a watcher is cut and
// resumes, now here, now there.
func TestG5_SnapshotThenEveryRevisionNoHoleNoRepeatAcrossReplicasAndCuts(t *testing.T) {
	for seed := range uint64(12) {
		for _, kind := range []string{"session", "reference"} {
			t.Run(fmt.Sprintf("%s %d", kind, seed), func(t *testing.T) {
				t.Parallel()
				watchThroughCuts(t, newBackend(t), kind, seed)
			})
		}
	}
}

func TestG5_OnARealRedis(t *testing.T) {
	server := redistest.Start(t)
	b := newBackend(t)
	b.addr = server.Addr
	watchThroughCuts(t, b, "session", 99)
}

func watchThroughCuts(t *testing.T, b *backend, kind string, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	replicas := []*replica{b.replica(t), b.replica(t)}
	request := bySession("vs_1", 0)
	if kind == "reference" {
		request = byReference("ref_vs_1")
	}
	events := lifeOf("vs_1", 40)
	replicas[0].apply(events[0])
	// Late ones, repeats and early ones: the order is the store's, whatever it is.
	rest := append(slices.Clone(events[1:]), events[3], events[7])
	for n := 0; n+3 < len(rest)-3; n += 3 {
		random.Shuffle(3, func(i, j int) { rest[n+i], rest[n+j] = rest[n+j], rest[n+i] })
	}
	rest = append(rest, events[len(events)-1])
	var writing sync.WaitGroup
	writing.Go(func() {
		own := rand.New(rand.NewPCG(seed, 2))
		for _, event := range rest {
			replicas[own.IntN(2)].apply(event)
			pause(own.IntN(4))
		}
	})
	defer writing.Wait()

	var got []int32
	token, cuts := "", 0
	for done := false; !done; {
		w := replicas[random.IntN(2)].watch(resumed(request, token))
		for budget := 1 + random.IntN(6); budget > 0; budget-- {
			v := w.next()
			got = append(got, v.GetRevision())
			if done = v.GetSettled(); done {
				break
			}
		}
		token = w.token // of the last response handled: what came after it was not
		w.stop()
		cuts++
	}
	for n := range got {
		if n > 0 && got[n] != got[n-1]+1 {
			t.Fatalf("after %d cuts revision %d follows %d: %v", cuts, got[n], got[n-1], got)
		}
	}
	writing.Wait()
	if record := replicas[0].record("vs_1"); got[len(got)-1] != record.Revision {
		t.Errorf("ended at revision %d, the record is at %d", got[len(got)-1], record.Revision)
	}
}

// pause lets others run for a moment; nothing depends on how long.
func pause(milliseconds int) {
	timer := time.NewTimer(time.Duration(milliseconds) * time.Millisecond)
	<-timer.C
}

func TestG6_AllSessionsABookmarkAtOnceThenEveryChangeAtLeastOnceInOrderPerSession(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			watchAllThroughCuts(t, newBackend(t), seed)
		})
	}
}

func TestG6_OnARealRedis(t *testing.T) {
	server := redistest.Start(t)
	b := newBackend(t)
	b.addr = server.Addr
	watchAllThroughCuts(t, b, 99)
}

func watchAllThroughCuts(t *testing.T, b *backend, seed uint64) {
	const sessions, changes = 25, 6
	random := rand.New(rand.NewPCG(seed, 1))
	replicas := []*replica{b.replica(t), b.replica(t)}
	replicas[0].apply(eventOf(1, 1, object("vs_before", "verified"))) // before the watch: not sent
	w := replicas[0].watch(allSessions())
	if v := w.next(); v != nil {
		t.Fatalf("the first response is %v, want a bookmark", v)
	}
	tokens, settledAt := []string{w.token}, []int{0} // and how many sessions had settled by then
	w.stop()                                         // cut before the first change: nothing is lost

	var writing sync.WaitGroup
	for part := range 2 {
		writing.Go(func() {
			for n := range sessions {
				if n%2 != part {
					continue
				}
				for k, event := range lifeOf(fmt.Sprintf("vs_%d", n), changes) {
					replicas[k%2].apply(event)
				}
			}
		})
	}
	defer writing.Wait()

	last := map[string]int32{}
	settled := 0
	for settled < sessions {
		w := replicas[random.IntN(2)].watch(resumed(allSessions(), tokens[len(tokens)-1]))
		if v := w.next(); v != nil {
			t.Fatalf("resumed, the first response is %v, want a bookmark", v)
		}
		for budget := 1 + random.IntN(40); budget > 0 && settled < sessions; budget-- {
			v := w.next()
			id := v.GetSessionId()
			if id == "vs_before" || v.GetRevision() != last[id]+1 {
				t.Fatalf("%s: revision %d after %d", id, v.GetRevision(), last[id])
			}
			last[id] = v.GetRevision()
			if v.GetSettled() {
				settled++
			}
			tokens, settledAt = append(tokens, w.token), append(settledAt, settled)
		}
		w.stop()
	}
	writing.Wait()
	for n := range sessions {
		id := fmt.Sprintf("vs_%d", n)
		if record := replicas[0].record(id); last[id] != record.Revision {
			t.Errorf("%s ended at revision %d, the record is at %d", id, last[id], record.Revision)
		}
	}

	// Any token of the past is good: what follows it comes, in order within each session.
	for range 5 {
		from := random.IntN(len(tokens))
		w := replicas[random.IntN(2)].watch(resumed(allSessions(), tokens[from]))
		w.next()
		seen := map[string]int32{}
		for settled := settledAt[from]; settled < sessions; {
			v := w.next()
			id := v.GetSessionId()
			if before, ok := seen[id]; ok && v.GetRevision() != before+1 {
				t.Fatalf("again %s: revision %d after %d", id, v.GetRevision(), before)
			}
			seen[id] = v.GetRevision()
			if v.GetSettled() {
				settled++
			}
		}
		w.stop()
	}
}

package consumers

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
)

// TestG14_NothingUnhandledIsAcknowledged draws lives of one consumer: instances that open streams with filters of their own,
// handle, acknowledge, hang, die and come back, over a feed that is trimmed and loses entries, with the consumer or without. Up to
// the stored position each entry must have been handled, or have been excluded by the filter of a stream that had the lease,
// or could take it again, or whose client acknowledged. The seed is printed.
func TestG14_NothingUnhandledIsAcknowledged(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	counts := make(map[string]int)
	for round := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			l := newLife(t, seed, round, counts)
			defer l.end()
			for range 300 {
				l.step()
				l.check()
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%v", counts)
	for _, what := range []string{"acknowledged", "passed over", "busy", "lost", "expired", "not found", "rewound", "denied at the start", "not for its own filter"} {
		if counts[what] == 0 {
			t.Errorf("%q never happened", what)
		}
	}
}

const (
	lifeName      = "billing"
	lifeInstances = 3
)

var errOtherIncarnation = errors.New("a token of another incarnation")

// life is a consumer, its instances and the feed.
type life struct {
	t         *testing.T
	rng       *rand.Rand
	seed      string
	counts    map[string]int
	store     *fakeStore
	consumers *Consumers
	exists    bool // whether streams set MustExist
	instances [lifeInstances]*instance
	restore   func()
	opened    []*Stream // to be closed at the end

	class map[uint64]int                      // of an entry, by its nonce
	done  map[uint64]bool                     // entries that can be acknowledged, by nonce
	base  map[uint64][fakePartitions]position // where each incarnation was created
}

type position = store.Position

// instance is a program that consumes. It keeps the token of what it handled last.
type instance struct {
	stream *Stream
	hung   bool
	class  int // what the filter of the stream lets pass; -1 for all
	at     []position
	sent   []position
	queue  []response
	// What the program knows: the token of the last response that it handled.
	token       []position
	incarnation uint64
	excluded    []store.Entry // by filters, in the streams up to now, after what was acknowledged when the first one began
}

type response struct {
	entry store.Entry
	token []position
}

func newLife(t *testing.T, seed, round uint64, counts map[string]int) *life {
	l := &life{
		t: t, rng: rand.New(rand.NewPCG(seed, round)), seed: fmt.Sprintf("seed %d, round %d", seed, round), counts: counts,
		store: newFakeStore(), class: map[uint64]int{}, done: map[uint64]bool{}, base: map[uint64][fakePartitions]position{},
	}
	l.consumers = New(Config{Store: l.store, Logger: slog.New(slog.DiscardHandler)})
	for n := range l.instances {
		l.instances[n] = &instance{}
	}
	return l
}

func (l *life) end() {
	for _, stream := range l.opened {
		l.store.hang(stream.id, false)
		stream.Close()
	}
}

func (l *life) step() {
	i := l.instances[l.rng.IntN(lifeInstances)]
	partition := l.rng.IntN(fakePartitions)
	switch n := l.rng.IntN(100); {
	case n < 25:
		entry := l.store.append(partition)
		l.class[entry.Position.Nonce] = l.rng.IntN(2)
	case n < 50:
		l.read(i, partition)
	case n < 65:
		l.handle(i)
	case n < 75:
		l.acknowledge(i)
	case n < 83:
		l.passOver(i)
	case n < 90:
		l.open(i)
	case n < 92:
		l.stop(i)
	case n < 94:
		if i.stream != nil {
			i.hung = !i.hung
			l.store.hang(i.stream.id, i.hung)
		}
	case n < 96:
		time.Sleep(time.Duration(l.rng.IntN(20)) * time.Second)
	case n < 97:
		l.store.trim(partition, l.rng.IntN(4))
	case n < 98:
		if l.restore != nil {
			l.restore()
			l.restore = nil
		} else {
			l.restore = l.store.snapshot()
		}
	case n < 99:
		l.store.lose(partition, l.rng.IntN(4))
	default:
		if l.rng.IntN(4) == 0 {
			_ = l.consumers.Delete(l.t.Context(), lifeName, "", false)
		}
	}
}

// open opens a stream, at what was acknowledged or at the instance's own token.
func (l *life) open(i *instance) {
	if i.stream != nil {
		return
	}
	own := i.token != nil && l.rng.IntN(2) == 0
	request := Request{Name: lifeName, MustExist: l.exists}
	if own {
		request.Own = anyPosition // step looks at the incarnation
	}
	stream, err := l.consumers.Open(l.t.Context(), request)
	var busy *BusyError
	switch {
	case errors.As(err, &busy):
		l.counts["busy"]++
		if busy.RetryAfter <= 0 || busy.RetryAfter > DefaultLease {
			l.t.Fatalf("%s: busy for %v", l.seed, busy.RetryAfter)
		}
		return
	case errors.Is(err, store.ErrNotFound): // the operator lets a new one begin
		l.counts["not found"]++
		l.exists = false
		return
	case errors.Is(err, ErrExpired): // the operator deletes it
		l.counts["expired"]++
		if l.rng.IntN(2) == 0 {
			_ = l.consumers.Delete(l.t.Context(), lifeName, "", false)
		}
		return
	case err != nil:
		l.t.Fatalf("%s: Open: %v", l.seed, err)
	}
	l.opened = append(l.opened, stream)
	l.exists = true
	if _, known := l.base[stream.Incarnation()]; !known {
		l.base[stream.Incarnation()] = [fakePartitions]position(stream.Positions())
	}
	i.stream, i.hung, i.class, i.queue = stream, false, l.rng.IntN(3)-1, nil
	if own && i.incarnation == stream.Incarnation() {
		i.at = slices.Clone(i.token)
	} else {
		i.at, i.excluded = stream.Positions(), nil
		i.token, i.incarnation = nil, stream.Incarnation()
	}
	i.sent = slices.Clone(i.at)
	each, _ := l.store.Check(l.t.Context(), i.at)
	if errors.Join(each...) != nil {
		l.counts["denied at the start"]++
		l.stop(i)
		i.token = nil
	}
}

// read reads one partition to its end and sends what the filter lets pass.
func (l *life) read(i *instance, partition int) {
	if i.stream == nil || i.hung {
		return
	}
	if i.stream.Err() != nil {
		l.counts["lost"]++
		l.stop(i)
		return
	}
	entries, err := l.store.after(partition, i.at[partition])
	if err != nil {
		l.counts["rewound"]++
		l.stop(i)
		i.token = nil
		return
	}
	for _, entry := range entries {
		i.at[partition] = entry.Position
		if i.class >= 0 && l.class[entry.Position.Nonce] != i.class {
			i.excluded = append(i.excluded, entry)
			continue
		}
		i.sent[partition] = entry.Position
		i.queue = append(i.queue, response{entry, slices.Clone(i.at)})
	}
}

// handle handles the first responses that were sent. A program can do that after its stream has ended.
func (l *life) handle(i *instance) {
	for range min(len(i.queue), 1+l.rng.IntN(3)) {
		l.done[i.queue[0].entry.Position.Nonce] = true
		i.token = i.queue[0].token
		i.queue = i.queue[1:]
	}
}

// acknowledge acknowledges the instance's token. All that its filters excluded up to there is done with.
func (l *life) acknowledge(i *instance) {
	if i.token == nil {
		return
	}
	defer l.neverBack()()
	err := l.consumers.Acknowledge(l.t.Context(), lifeName, "", func(incarnation uint64) ([]position, error) {
		if incarnation != i.incarnation {
			return nil, errOtherIncarnation
		}
		return slices.Clone(i.token), nil
	})
	switch {
	case err == nil:
		l.counts["acknowledged"]++
		l.exclude(i, i.token)
	case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, errOtherIncarnation) && !errors.Is(err, store.ErrRewound) && !errors.Is(err, store.ErrTrimmed):
		l.t.Fatalf("%s: Acknowledge: %v", l.seed, err)
	}
}

// passOver lets the service acknowledge what the stream's filter excluded.
func (l *life) passOver(i *instance) {
	if i.stream == nil || i.hung {
		return
	}
	if l.store.isFreeFor(lifeName, i.stream.id) {
		l.exclude(i, i.at)
	} else {
		l.counts["not for its own filter"]++
	}
	defer l.neverBack()()
	if err := i.stream.PassOver(l.t.Context(), i.sent, i.at); err == nil {
		l.counts["passed over"]++
	}
}

func (l *life) exclude(i *instance, up []position) {
	for _, entry := range i.excluded {
		if entry.Position.Seq <= up[entry.Partition].Seq {
			l.done[entry.Position.Nonce] = true
		}
	}
}

// stop ends the stream of an instance: in order, or by its death.
func (l *life) stop(i *instance) {
	if i.stream == nil {
		return
	}
	if l.rng.IntN(2) == 0 {
		l.store.hang(i.stream.id, true) // it is closed at the end of the test
	} else if n := slices.Index(l.opened, i.stream); !i.hung {
		i.stream.Close()
		l.opened = slices.Delete(l.opened, n, n+1)
	}
	i.stream = nil
}

// neverBack returns a check that no stored position has gone back since, unless the feed denied it.
func (l *life) neverBack() (check func()) {
	before := l.store.stored(lifeName)
	return func() {
		after := l.store.stored(lifeName)
		for partition := range before {
			_, denied := l.store.after(partition, before[partition])
			if denied == nil && after[partition] != before[partition] && !isAfter(after[partition], before[partition]) {
				l.t.Fatalf("%s: partition %d moved from %+v to %+v", l.seed, partition, before[partition], after[partition])
			}
		}
	}
}

// check looks at every entry up to the stored positions.
func (l *life) check() {
	consumer, err := l.store.Consumer(l.t.Context(), lifeName)
	if err != nil {
		return
	}
	base, known := l.base[consumer.Incarnation]
	if !known {
		return // created, and not yet opened
	}
	for partition, stored := range consumer.Positions {
		if _, err := l.store.after(partition, stored); err != nil {
			continue // the next start is refused
		}
		for _, entry := range l.store.feed[partition].entries {
			if entry.Position.Seq > base[partition].Seq && entry.Position.Seq <= stored.Seq && !l.done[entry.Position.Nonce] {
				l.t.Fatalf("%s: partition %d is acknowledged up to %d, and entry %d was not handled", l.seed, partition, stored.Seq, entry.Position.Seq)
			}
		}
	}
}

package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store"
)

// consumers returns the store as a store.Consumers. Every Store under test must be one.
func consumers(t *testing.T, s store.Store) store.Consumers {
	t.Helper()
	c, ok := s.(store.Consumers)
	if !ok {
		t.Fatalf("%T does not implement store.Consumers", s)
	}
	return c
}

// created creates a consumer at the heads of the feed.
func created(t *testing.T, s store.Store, name, owner string) store.Consumer {
	t.Helper()
	consumer, fresh, err := consumers(t, s).CreateConsumer(testContext(t), store.Consumer{Name: name, Owner: owner, Positions: heads(t, s)}, 0)
	if err != nil || !fresh {
		t.Fatalf("CreateConsumer(%s): created %v, %v; want a new one", name, fresh, err)
	}
	return consumer
}

func names(t *testing.T, s store.Store) []string {
	t.Helper()
	all, err := consumers(t, s).ListConsumers(testContext(t))
	if err != nil {
		t.Fatalf("ListConsumers: %v", err)
	}
	var names []string
	for _, consumer := range all {
		names = append(names, consumer.Name)
	}
	return names
}

// consumersComeAndGo: a consumer keeps what it was created with. A later one of the same name is another one, and the calls for the
// deleted one do not find it.
func consumersComeAndGo(t *testing.T, s store.Store) {
	c, ctx := consumers(t, s), testContext(t)
	_, err := c.Consumer(ctx, "billing")
	wantError(t, "Consumer before the creation", err, store.ErrNotFound)
	same(t, "the list of no consumers", names(t, s), []string(nil))

	positions := heads(t, s)
	first := created(t, s, "billing", "pay")
	same(t, "the new consumer", first, store.Consumer{Name: "billing", Incarnation: first.Incarnation, Owner: "pay", Positions: positions})
	if first.Incarnation == 0 {
		t.Error("the incarnation is 0")
	}
	apply(t, s, event("vs_a", 0))
	again, fresh, err := c.CreateConsumer(ctx, store.Consumer{Name: "billing", Owner: "other", Positions: heads(t, s)}, 0)
	if err != nil || fresh {
		t.Errorf("CreateConsumer of a name that is taken: created %v, %v", fresh, err)
	}
	same(t, "the consumer with the name that is taken", again, first)
	read, err := c.Consumer(ctx, "billing")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "Consumer", read, first)
	for _, name := range []string{"a", "z", "billing:x", "owner:billing", "ü %s\n"} {
		created(t, s, name, "")
	}
	same(t, "the list", names(t, s), []string{"a", "billing", "billing:x", "owner:billing", "z", "ü %s\n"})

	if err := c.DeleteConsumer(ctx, "billing", first.Incarnation+1, nil); err != nil {
		t.Error(err)
	}
	if _, err := c.Consumer(ctx, "billing"); err != nil {
		t.Errorf("after a deletion of another incarnation: %v", err)
	}
	for range 2 {
		if err := c.DeleteConsumer(ctx, "billing", first.Incarnation, nil); err != nil {
			t.Error(err)
		}
	}
	_, err = c.Consumer(ctx, "billing")
	wantError(t, "Consumer after the deletion", err, store.ErrNotFound)
	second := created(t, s, "billing", "pay")
	if second.Incarnation == first.Incarnation {
		t.Error("the second consumer has the incarnation of the first")
	}
	_, _, err = c.LeaseConsumer(ctx, "billing", first.Incarnation, "stream", "pay", time.Minute)
	wantError(t, "LeaseConsumer of the deleted one", err, store.ErrNotFound)
	_, err = c.MoveConsumer(ctx, "billing", first.Incarnation, second.Positions, positions)
	wantError(t, "MoveConsumer of the deleted one", err, store.ErrNotFound)
	wantError(t, "ReleaseConsumer of the deleted one", c.ReleaseConsumer(ctx, "billing", first.Incarnation, "stream"), store.ErrNotFound)
	read, err = c.Consumer(ctx, "billing")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the second consumer after calls for the first", read, second)
	for _, wrong := range []store.Consumer{{Positions: positions}, {Name: "x"}, {Name: fmt.Sprintf("%065d", 0), Positions: positions}} {
		if _, _, err := c.CreateConsumer(ctx, wrong, 0); err == nil {
			t.Errorf("CreateConsumer(%q) with %d positions has no error", wrong.Name, len(wrong.Positions))
		}
	}
}

// consumersAreBounded: of concurrent creations as many succeed as there is room for. A name that is taken needs no room.
func consumersAreBounded(t *testing.T, s store.Store) {
	c, positions := consumers(t, s), heads(t, s)
	const free, more = 6, 6 // so many names find room, and so many do not
	var mu sync.Mutex       // guards made
	made := make(map[string]uint64)
	for n := range store.MaxConsumers - free {
		name := fmt.Sprintf("before-%02d", n)
		consumer, _, err := c.CreateConsumer(testContext(t), store.Consumer{Name: name, Positions: positions}, 0)
		if err != nil {
			t.Fatal(err)
		}
		made[name] = consumer.Incarnation
	}
	var refused atomic.Int32
	var wg sync.WaitGroup
	for n := range 2 * (free + more) { // two calls for each name
		wg.Go(func() {
			name := fmt.Sprintf("consumer-%02d", n/2)
			consumer, fresh, err := c.CreateConsumer(testContext(t), store.Consumer{Name: name, Positions: positions}, 0)
			if errors.Is(err, store.ErrTooManyConsumers) {
				refused.Add(1)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			before, known := made[name]
			if err != nil || consumer.Name != name || known && (before != consumer.Incarnation || fresh && made[name] == 0) {
				t.Errorf("CreateConsumer(%s) = %+v, %v, %v; want incarnation %d", name, consumer, fresh, err, before)
			}
			made[name] = consumer.Incarnation
		})
	}
	wg.Wait()
	same(t, "the number of names created", len(made), store.MaxConsumers)
	same(t, "the number of calls refused", refused.Load(), int32(2*more))
	listed := names(t, s)
	same(t, "the number of names listed", len(listed), store.MaxConsumers)

	ctx := testContext(t)
	if _, fresh, err := c.CreateConsumer(ctx, store.Consumer{Name: listed[0], Positions: positions}, 0); err != nil || fresh {
		t.Errorf("CreateConsumer of a name that is taken: created %v, %v", fresh, err)
	}
	_, _, err := c.CreateConsumer(ctx, store.Consumer{Name: "new", Positions: positions}, 0)
	wantError(t, "CreateConsumer without room", err, store.ErrTooManyConsumers)
	if err := c.DeleteConsumer(ctx, listed[0], made[listed[0]], nil); err != nil {
		t.Fatal(err)
	}
	created(t, s, "new", "")
	_, _, err = c.CreateConsumer(ctx, store.Consumer{Name: listed[0], Positions: positions}, 0)
	wantError(t, "CreateConsumer without room again", err, store.ErrTooManyConsumers)
}

// consumersAreShared: an owner creates no more consumers than its share, and does not count those of others. Its consumers that exist
// are found.
func consumersAreShared(t *testing.T, s store.Store) {
	c, ctx, positions := consumers(t, s), testContext(t), heads(t, s)
	create := func(name, owner string, share int) error {
		_, _, err := c.CreateConsumer(ctx, store.Consumer{Name: name, Owner: owner, Positions: positions}, share)
		return err
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := create(name, "hog", 3); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, "a fourth consumer of a share of 3", create("d", "hog", 3), store.ErrConsumerShare)
	same(t, "the list", names(t, s), []string{"a", "b", "c"})
	for _, test := range []struct {
		name, owner string
		share       int
	}{{"a", "hog", 3}, {"e", "hog", 4}, {"f", "hog", 0}, {"g", "pay", 1}, {"h", "", 1}} {
		if err := create(test.name, test.owner, test.share); err != nil {
			t.Errorf("CreateConsumer(%s) of %q with a share of %d: %v", test.name, test.owner, test.share, err)
		}
	}
	for n := range store.MaxConsumers - 7 {
		created(t, s, fmt.Sprint("x", n), "")
	}
	wantError(t, "without a share and without room", create("y", "hog", 3), store.ErrConsumerShare)
	wantError(t, "with a share and without room", create("y", "hog", 10), store.ErrTooManyConsumers)
}

// consumerLeaseHasOneStream: one stream has the lease, until it gives it back. A lease that was made longer than a stream asks for is
// cut.
func consumerLeaseHasOneStream(t *testing.T, s store.Store) {
	c, ctx := consumers(t, s), testContext(t)
	consumer := created(t, s, "billing", "pay")
	lease := func(stream string, duration time.Duration, want bool, atMost time.Duration) {
		t.Helper()
		held, left, err := c.LeaseConsumer(ctx, "billing", consumer.Incarnation, stream, "at-"+stream, duration)
		if err != nil || held != want || left > atMost || left < atMost-timeout {
			t.Errorf("LeaseConsumer(%s) = %v, %v, %v; want %v and about %v", stream, held, left, err, want, atMost)
		}
	}
	active := func(holder string) {
		t.Helper()
		read, err := c.Consumer(ctx, "billing")
		if err != nil || read.Active != (holder != "") || read.Holder != holder {
			t.Errorf("Consumer = active %v, holder %q, %v; want the holder %q", read.Active, read.Holder, err, holder)
		}
	}
	active("")
	lease("one", time.Minute, true, 0)
	active("at-one")
	lease("two", 2*time.Minute, false, time.Minute)
	lease("one", time.Hour, true, 0)
	lease("two", 2*time.Minute, false, 2*time.Minute)
	lease("two", time.Hour, false, 2*time.Minute) // what was cut stays cut
	lease("one", time.Hour, true, 0)
	if err := c.ReleaseConsumer(ctx, "billing", consumer.Incarnation, "two"); err != nil {
		t.Errorf("ReleaseConsumer by a stream without the lease: %v", err)
	}
	active("at-one")
	for range 2 {
		if err := c.ReleaseConsumer(ctx, "billing", consumer.Incarnation, "one"); err != nil {
			t.Error(err)
		}
	}
	active("")
	read, err := c.Consumer(ctx, "billing")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the consumer after its lease", read, consumer)
	for _, wrong := range []struct {
		stream   string
		duration time.Duration
	}{{"", time.Minute}, {"one", 0}, {"one", -time.Second}} {
		if _, _, err := c.LeaseConsumer(ctx, "billing", consumer.Incarnation, wrong.stream, "", wrong.duration); err == nil {
			t.Errorf("LeaseConsumer of %q for %v has no error", wrong.stream, wrong.duration)
		}
	}

	var holders atomic.Int32
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			held, _, err := c.LeaseConsumer(ctx, "billing", consumer.Incarnation, fmt.Sprint("stream-", n), "", time.Minute)
			if err != nil {
				t.Error(err)
			}
			if held {
				holders.Add(1)
			}
		})
	}
	wg.Wait()
	same(t, "the number of streams with the lease", holders.Load(), int32(1))
}

// consumerLeaseEnds: a lease that is not prolonged ends, by the store's clock. Then another stream gets it, and the first does not get
// it back.
func consumerLeaseEnds(t *testing.T, s store.Store) {
	c, ctx := consumers(t, s), testContext(t)
	consumer := created(t, s, "billing", "pay")
	const short = 50 * time.Millisecond
	began := time.Now()
	if held, _, err := c.LeaseConsumer(ctx, "billing", consumer.Incarnation, "one", "", short); err != nil || !held {
		t.Fatalf("LeaseConsumer = %v, %v", held, err)
	}
	for {
		held, left, err := c.LeaseConsumer(ctx, "billing", consumer.Incarnation, "two", "", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if held {
			break
		}
		if left <= 0 || left > short {
			t.Fatalf("the lease still runs for %v; want up to %v", left, short)
		}
	}
	if took := time.Since(began); took < short-5*time.Millisecond { // a clock with milliseconds
		t.Errorf("the lease ended after %v; want %v", took, short)
	}
	if held, _, err := c.LeaseConsumer(ctx, "billing", consumer.Incarnation, "one", "", short); err != nil || held {
		t.Errorf("the first stream: LeaseConsumer = %v, %v; want it held by the second", held, err)
	}
}

// consumerMovesByCompare: a position moves if it is the one that was compared, in each partition for itself, up or down: the caller
// decides.
func consumerMovesByCompare(t *testing.T, s store.Store) {
	c, ctx := consumers(t, s), testContext(t)
	consumer := created(t, s, "billing", "pay")
	want := slices.Clone(consumer.Positions)
	last := len(want) - 1
	from, to := slices.Clone(want), slices.Clone(want)
	from[0].Nonce++
	for partition := range to {
		to[partition] = store.Position{Epoch: ^uint64(0), Seq: ^uint64(0) - 1, Nonce: uint64(partition)}
	}
	to[last] = from[last]
	move := func(what string, from, to []store.Position) store.Consumer {
		t.Helper()
		before := time.Now().Add(-timeout)
		moved, err := c.MoveConsumer(ctx, "billing", consumer.Incarnation, from, to)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		same(t, what, moved.Positions, want)
		if acknowledged := moved.Acknowledged; acknowledged.Before(before) || acknowledged.After(time.Now().Add(timeout)) {
			t.Errorf("%s: acknowledged %v; want now", what, acknowledged)
		}
		read, err := c.Consumer(ctx, "billing")
		if err != nil {
			t.Fatal(err)
		}
		same(t, what+", read again", read, moved)
		return moved
	}
	unmoved, err := c.MoveConsumer(ctx, "billing", consumer.Incarnation, from, from)
	if err != nil || !unmoved.Acknowledged.IsZero() {
		t.Errorf("MoveConsumer to where it is: acknowledged %v, %v; want never", unmoved.Acknowledged, err)
	}
	copy(want[1:last], to[1:last])
	moved := move("all but the first and the last", from, to)
	same(t, "the same again", move("the same again", from, to), moved)
	want[0], want[1] = to[2], consumer.Positions[1] // the second goes back
	from, to = slices.Clone(moved.Positions), slices.Clone(want)
	move("the first two", from, to)
	if _, err := c.MoveConsumer(ctx, "billing", consumer.Incarnation, from[1:], to); err == nil {
		t.Error("MoveConsumer with too few positions has no error")
	}
}

// consumerMovesUnderConcurrency: of the callers that have compared one position, one moves it.
func consumerMovesUnderConcurrency(t *testing.T, s store.Store) {
	c, ctx := consumers(t, s), testContext(t)
	consumer := created(t, s, "billing", "pay")
	for round := range 5 {
		var winners atomic.Int32
		var wg sync.WaitGroup
		from := consumer.Positions
		for n := range 8 {
			wg.Go(func() {
				to := slices.Clone(from)
				to[3].Nonce = uint64(round*8 + n + 1)
				moved, err := c.MoveConsumer(ctx, "billing", consumer.Incarnation, from, to)
				if err != nil {
					t.Error(err)
				} else if moved.Positions[3] == to[3] {
					winners.Add(1)
				}
			})
		}
		wg.Wait()
		same(t, fmt.Sprintf("the number of winners in round %d", round), winners.Load(), int32(1))
		var err error
		if consumer, err = c.Consumer(ctx, "billing"); err != nil {
			t.Fatal(err)
		}
	}
}

func behind(t *testing.T, s store.Store, positions []store.Position) []store.Behind {
	t.Helper()
	got, err := consumers(t, s).Behind(testContext(t), positions)
	if err != nil {
		t.Fatalf("Behind: %v", err)
	}
	return got
}

// consumerInUseIsKept: a deletion of an unused consumer leaves one that a stream has, or that has moved.
func consumerInUseIsKept(t *testing.T, s store.Store) {
	c, ctx := consumers(t, s), testContext(t)
	consumer := created(t, s, "billing", "pay")
	remove := func(positions []store.Position) error {
		return c.DeleteConsumer(ctx, "billing", consumer.Incarnation, positions)
	}
	if held, _, err := c.LeaseConsumer(ctx, "billing", consumer.Incarnation, "stream", "", time.Minute); err != nil || !held {
		t.Fatalf("LeaseConsumer = %v, %v", held, err)
	}
	wantError(t, "DeleteConsumer with an open stream", remove(consumer.Positions), store.ErrConflict)
	if err := c.ReleaseConsumer(ctx, "billing", consumer.Incarnation, "stream"); err != nil {
		t.Fatal(err)
	}
	to := slices.Clone(consumer.Positions)
	to[3].Seq++
	moved, err := c.MoveConsumer(ctx, "billing", consumer.Incarnation, consumer.Positions, to)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "DeleteConsumer after a move", remove(consumer.Positions), store.ErrConflict)
	same(t, "the list", names(t, s), []string{"billing"})
	for range 2 {
		if err := remove(moved.Positions); err != nil {
			t.Error(err)
		}
	}
	same(t, "the list after the deletion", names(t, s), []string(nil))
	created(t, s, "other", "pay")
	created(t, s, "billing", "pay")
	if err := c.DeleteConsumer(ctx, "billing", 0, nil); err != nil {
		t.Error(err)
	}
	same(t, "the list after a deletion of any incarnation", names(t, s), []string{"other"})
}

// behindCounts: Behind counts the entries after each position, and knows the time of the oldest.
func behindCounts(t *testing.T, s store.Store) {
	start := heads(t, s)
	same(t, "behind at the heads of an empty feed", behind(t, s, start), make([]store.Behind, len(start)))
	began := time.Now().Truncate(time.Second)
	partition := s.Partition("vs_a")
	for n := range 5 {
		apply(t, s, event("vs_a", n))
	}
	entries := readFeed(t, s, partition, start[partition], 10)
	for after, position := range []store.Position{start[partition], entries[0].Position, entries[2].Position, entries[3].Position} {
		at := slices.Clone(start)
		at[partition] = position
		got := behind(t, s, at)
		want := make([]store.Behind, len(start))
		want[partition] = store.Behind{Entries: []int64{5, 4, 2, 1}[after], Oldest: got[partition].Oldest}
		same(t, fmt.Sprintf("behind after entry %d", position.Seq), got, want)
		if oldest := got[partition].Oldest; oldest.Before(began) || oldest.After(time.Now()) {
			t.Errorf("the oldest is from %v; want %v or a little later", oldest, began)
		}
	}
	same(t, "behind at the heads", behind(t, s, heads(t, s)), make([]store.Behind, len(start)))
	if _, err := consumers(t, s).Behind(testContext(t), start[1:]); err == nil {
		t.Error("Behind with too few positions has no error")
	}
}

// behindTrimmedAndRewound: Behind judges positions as Check does.
func behindTrimmedAndRewound(t *testing.T, s store.Store) {
	partition := s.Partition("vs_a")
	start := heads(t, s)
	written := int64(0)
	for n := 0; written < 3*FeedMaxLen; n++ {
		if id := fmt.Sprintf("vs_%d", n); s.Partition(id) == partition {
			for i := range 10 {
				apply(t, s, event(id, i))
				written++
			}
		}
	}
	newest := head(t, s, partition)
	at := func(position store.Position) store.Behind {
		positions := slices.Clone(start)
		positions[partition] = position
		return behind(t, s, positions)[partition]
	}
	trimmed := at(start[partition])
	wantError(t, "behind a trimmed position", trimmed.Err, store.ErrTrimmed)
	same(t, "the number of entries after a trimmed position", trimmed.Entries, written)
	if trimmed.Oldest.IsZero() {
		t.Error("the oldest entry that is held has no time")
	}
	for what, forged := range map[string]store.Position{
		"ahead":          {Epoch: newest.Epoch, Seq: newest.Seq + 1, Nonce: newest.Nonce},
		"a wrong nonce":  {Epoch: newest.Epoch, Seq: newest.Seq, Nonce: newest.Nonce + 1},
		"another epoch":  {Epoch: newest.Epoch + 1, Seq: newest.Seq, Nonce: newest.Nonce},
		"far ahead":      {Epoch: newest.Epoch, Seq: ^uint64(0), Nonce: 1},
		"another origin": {Epoch: newest.Epoch + 1},
	} {
		got := at(forged)
		wantError(t, "behind a position with "+what, got.Err, store.ErrRewound)
		if forged.Epoch != newest.Epoch {
			same(t, "the number of entries after a position with "+what, got.Entries, int64(newest.Seq))
		}
		if !got.Oldest.IsZero() || got.Entries < 0 {
			t.Errorf("behind a position with %s: %+v", what, got)
		}
	}
}

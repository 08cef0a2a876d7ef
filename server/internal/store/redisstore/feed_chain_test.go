package redisstore

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
)

// chainRig is a store, one partition of it, and positions in that partition.
type chainRig struct {
	*Store
	t         *testing.T
	raw       *redis.Client
	ctx       context.Context
	partition int
	now       time.Time
}

func newChainRig(t *testing.T, addr string) *chainRig {
	r := &chainRig{t: t, raw: rawClient(t, addr), ctx: testContext(t), now: time.Unix(1_800_000_000, 0)}
	r.Store = openStore(t, Options{Addrs: []string{addr}, FeedMaxAge: time.Hour, Clock: func() time.Time { return r.now }})
	r.partition = r.Partition("vs_a")
	return r
}

func (r *chainRig) head() store.Position {
	r.t.Helper()
	head, err := r.Head(r.ctx, r.partition)
	if err != nil {
		r.t.Fatal(err)
	}
	return head
}

// commit adds one entry and returns the position after it.
func (r *chainRig) commit(n int) store.Position {
	r.t.Helper()
	apply(r.t, r.Store, event("vs_a", n))
	return r.head()
}

// commitOld adds one entry as the version before did: without the nonce of the entry before.
func (r *chainRig) commitOld() store.Position {
	r.t.Helper()
	head := r.head()
	seq, nonce := strconv.FormatUint(head.Seq+1, 10), strconv.FormatUint(1000+head.Seq, 10)
	at := strconv.FormatInt(r.now.Unix(), 10)
	if err := r.raw.Do(r.ctx, "XADD", r.keys.feed(r.partition), seq+"-0", "s", "vs_a", "r", "1", "n", nonce, "t", at).Err(); err != nil {
		r.t.Fatal(err)
	}
	r.raw.HSet(r.ctx, r.keys.meta(r.partition), "seq", seq, "nonce", nonce)
	return r.head()
}

func (r *chainRig) length() int64 { return r.raw.XLen(r.ctx, r.keys.feed(r.partition)).Val() }

// wants checks a position by ReadFeed and by Check.
func (r *chainRig) wants(what string, after store.Position, entries int, want error) {
	r.t.Helper()
	got, err := r.ReadFeed(r.ctx, r.partition, after, 100)
	if len(got) != entries || !errors.Is(err, want) {
		r.t.Errorf("%s: %d entries, %v; want %d, %v", what, len(got), err, entries, want)
	}
	positions := make([]store.Position, partitions)
	positions[r.partition] = after
	each, err := r.Check(r.ctx, positions)
	if err != nil || !errors.Is(each[r.partition], want) {
		r.t.Errorf("%s: Check: %v, %v; want %v", what, each, err, want)
	}
}

// TestG6_AFeedThatIsTrimmedByHand: entries that an operator removes are missing only for readers that have not read
// them.
func TestG6_AFeedThatIsTrimmedByHand(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		r := newChainRig(t, addr)
		feed := r.keys.feed(r.partition)
		one, two, three := r.commit(0), r.commit(1), r.commit(2)
		r.raw.XTrimMaxLen(r.ctx, feed, 0)
		r.wants("all removed, before the last", two, 0, store.ErrTrimmed)
		r.wants("all removed, at the head", three, 0, nil)
		four := r.commit(3)
		r.wants("one more, before the last of those removed", two, 0, store.ErrTrimmed)
		r.wants("one more, at the last of those removed", three, 1, nil)
		r.wants("one more, at a number that was another's", store.Position{Epoch: three.Epoch, Seq: three.Seq, Nonce: 7}, 0, store.ErrRewound)
		five, six, seven := r.commit(4), r.commit(5), r.commit(6)
		r.raw.XDel(r.ctx, feed, "6-0")
		r.wants("an entry in the middle removed, before it", five, 0, store.ErrTrimmed)
		r.wants("and two before it, what there is comes first", four, 1, nil)
		r.wants("at the removed one", six, 1, nil)
		r.raw.XDel(r.ctx, feed, "7-0")
		r.wants("the newest removed, before it", six, 0, store.ErrTrimmed)
		r.wants("the newest removed, at it", seven, 0, nil)
		r.wants("the first", one, 0, store.ErrTrimmed)
	})
}

// TestG6_EntriesOfTheVersionBeforeStayAsLongAsTheyAreNeeded: the version before wrote entries without the nonce of
// the entry before. If the oldest young entry is of this kind, the newest old entry stays. Otherwise it is removed.
func TestG6_EntriesOfTheVersionBeforeStayAsLongAsTheyAreNeeded(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		r := newChainRig(t, addr)
		r.commitOld()
		two, three := r.commitOld(), r.commitOld()
		r.now = r.now.Add(50 * time.Minute)
		four := r.commitOld()
		r.now = r.now.Add(20 * time.Minute)
		r.commit(0)
		if got := r.length(); got != 3 {
			t.Errorf("%d entries; want 3: the one that nothing else names, and two that are young", got)
		}
		r.wants("at the one that is kept", three, 2, nil)
		r.wants("before it", two, 0, store.ErrTrimmed)
		r.wants("at a young one", four, 1, nil)
		if asked := commandsOf(t, r.raw, func() { apply(t, r.Store, event("vs_a", 1)) }); asked["xrange"] != 0 {
			t.Errorf("the next commit asks for %v; it need not look at the oldest entries", asked)
		}
		r.now = r.now.Add(45 * time.Minute)
		r.commit(2)
		if got := r.length(); got != 3 {
			t.Errorf("%d entries; want the 3 of this version, the oldest of which names the one before", got)
		}
		r.wants("at the last one of the version before", four, 3, nil)
		r.wants("at an older one", three, 0, store.ErrTrimmed)
		r.wants("at the last one's number with another nonce", store.Position{Epoch: four.Epoch, Seq: four.Seq, Nonce: 1}, 0, store.ErrRewound)
	})
}

// TestG6_EntriesOfBothVersionsAreOneFeed: a replica of the version before continues to write. Its entries are read,
// and the entries of this version contain their nonces.
func TestG6_EntriesOfBothVersionsAreOneFeed(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		r := newChainRig(t, addr)
		positions := []store.Position{r.head(), r.commit(0), r.commitOld(), r.commitOld(), r.commit(1), r.commitOld()}
		for n, position := range positions {
			r.wants("after entry "+strconv.Itoa(n), position, len(positions)-1-n, nil)
		}
		// Trimmed by that version, a position at the trimmed entry cannot be told from a lost one.
		r.raw.XTrimMinID(r.ctx, r.keys.feed(r.partition), "3-0")
		r.wants("before an entry that names nothing", positions[2], 0, store.ErrTrimmed)
		r.raw.XTrimMinID(r.ctx, r.keys.feed(r.partition), "4-0")
		r.wants("before an entry that names the one before", positions[3], 2, nil)
	})
}

// TestG7_APositionInALostCommitIsNotOneInTheSameCommitSentAgain: a commit of two revisions is lost and sent again
// after another commit. Its first entry then has the number that its second one had.
func TestG7_APositionInALostCommitIsNotOneInTheSameCommitSentAgain(t *testing.T) {
	r := newChainRig(t, redistest.Start(t).Addr)
	r.commit(0)
	current, err := r.read(r.ctx, "vs_a")
	if err != nil {
		t.Fatal(err)
	}
	next := current.session
	next.Revision += 2
	keys, args, _, err := r.commitArguments("", current, next, indexedBy(current.session), indexedBy(next))
	if err != nil {
		t.Fatal(err)
	}
	send := func() store.Position {
		t.Helper()
		if _, err := r.runCommit(r.ctx, "vs_a", keys, args); err != nil {
			t.Fatal(err)
		}
		return r.head()
	}
	kept := map[string]string{}
	for _, key := range r.raw.Keys(r.ctx, "*").Val() {
		kept[key] = r.raw.Dump(r.ctx, key).Val()
	}
	lost := send()
	for key, dump := range kept {
		if err := r.raw.RestoreReplace(r.ctx, key, 0, dump).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r.commitOld() // of another session
	if again := send(); again.Seq != lost.Seq+1 {
		t.Fatalf("the head is %+v; want one number after %+v", again, lost)
	}
	r.wants("at the second entry that was lost", lost, 0, store.ErrRewound)
}

func TestAnEntryWithoutANumberAsLinkIsCorrupt(t *testing.T) {
	_, err := parseEntry(redis.XMessage{ID: "1-0", Values: map[string]any{"s": "vs_a", "r": "1", "n": "7", "b": strings.Repeat("9", 30)}})
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("%v; want ErrCorrupt", err)
	}
}

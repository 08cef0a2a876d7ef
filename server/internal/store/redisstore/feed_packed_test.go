package redisstore

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/redistest"
)

// entryTrace is a trace as Options.Trace returns it. Its bytes are those that a careless parser takes for separators.
const entryTrace = "0123456789ab \x00\xff 9 p\n\r\t:-"

func TestPackedEntriesAreReadAsTheyWereMade(t *testing.T) {
	for _, want := range []store.Entry{
		{SessionID: "vs_a", Revision: 1, Committed: 1_790_000_000, Chained: true, Position: store.Position{Nonce: 7}},
		{SessionID: "vs_1MgnjdLkdIwHu7ixRNuiPmx8", Revision: math.MaxInt32, Committed: math.MaxUint32, Chained: true, Pointer: true,
			Position: store.Position{Nonce: math.MaxUint64}, Before: 1 << 63, Trace: entryTrace},
		{SessionID: "vs_p", Revision: 0, Chained: true, Position: store.Position{Nonce: 1 << 63}, Before: math.MaxUint64, Trace: entryTrace},
	} {
		trace := ""
		if want.Trace != "" {
			trace = ":" + want.Trace
		}
		value := packEntry(want.SessionID, want.Revision, want.Position.Nonce, want.Committed, trace) + strconv.FormatInt(int64(want.Before), 10)
		if want.Pointer {
			value += packedPointer
		}
		if got, err := unpackEntry(value); err != nil || got != want {
			t.Errorf("unpackEntry(%q): %v\n(-want +got):\n%s", value, err, cmp.Diff(want, got))
		}
	}
	for _, second := range []int64{-1, math.MaxUint32 + 1} {
		if got, err := unpackEntry(packEntry("vs_a", 1, 7, second, "") + "0"); err != nil || got.Committed != 0 {
			t.Errorf("second %d is read as %d, %v; want 0, which is no time", second, got.Committed, err)
		}
	}
}

func FuzzUnpackEntry(f *testing.F) {
	f.Add(packEntry("vs_a", 3, 7, 1_790_000_000, "") + "-9")
	f.Add(packEntry("vs_a", 3, 7, 1_790_000_000, ":"+entryTrace) + "9 p")
	f.Fuzz(func(t *testing.T, value string) {
		entry, err := unpackEntry(value)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("%v; want ErrCorrupt", err)
			}
			return
		}
		if entry.SessionID == "" || entry.Revision < 0 || !entry.Chained || len(entry.Trace) != 0 && len(entry.Trace) != traceSize {
			t.Errorf("%q is read as %+v", value, entry)
		}
	})
}

// readBefore reads an entry as the version before this one did. It knows no packed entries. Do not change it: see
// codec_versions_test.go.
func readBefore(t *testing.T, message redis.XMessage) store.Entry {
	t.Helper()
	number := func(name string) int64 {
		text, _ := message.Values[name].(string)
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatalf("entry %v: field %s: %v", message, name, err)
		}
		return n
	}
	seq, err := strconv.ParseUint(strings.TrimSuffix(message.ID, "-0"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	entry := store.Entry{
		Position: store.Position{Seq: seq, Nonce: uint64(number("n"))}, Revision: int32(number("r")),
		Before: uint64(number("b")), Chained: true, Committed: number("t"),
	}
	entry.SessionID, _ = message.Values["s"].(string)
	entry.Trace, _ = message.Values["c"].(string)
	_, entry.Pointer = message.Values["p"]
	return entry
}

// TestTheVersionBeforeReadsWhatTheDefaultWrites: during an update replicas of the version before read the same feed.
func TestTheVersionBeforeReadsWhatTheDefaultWrites(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		trace := ""
		s := openStore(t, Options{Addrs: []string{addr}, Trace: func(context.Context) string { return trace }})
		raw, ctx, partition := rawClient(t, addr), testContext(t), s.Partition("vs_a")
		apply(t, s, event("vs_a", 0, withReference("case")))
		apply(t, s, event("vs_a", 1, failing, withReference("case")))
		trace = entryTrace
		apply(t, s, event("vs_a", 2, withReference("case")))
		apply(t, s, event("vs_a", 3, failing, withReference("another")))
		want, err := s.ReadFeed(ctx, partition, store.Position{}, 10)
		if err != nil || len(want) != 4 {
			t.Fatalf("%d entries, %v; want 4", len(want), err)
		}
		for n, message := range raw.XRange(ctx, s.keys.feed(partition), "-", "+").Val() {
			got := readBefore(t, message)
			got.Partition, got.Position.Epoch = partition, want[n].Position.Epoch
			if diff := cmp.Diff(want[n], got); diff != "" {
				t.Errorf("entry %d (-this version, +the version before):\n%s", n, diff)
			}
		}
	})
}

// TestBothFormsOfEntriesInOneFeed: replicas with RECORD_FORMAT 3 and 4 commit in turn, as while the setting is changed in either
// direction. Every reader sees one unbroken feed, and it is trimmed by age whatever the form of its oldest entry.
func TestBothFormsOfEntriesInOneFeed(t *testing.T) {
	servers(t, func(t *testing.T, addr string) {
		now := time.Unix(1_800_000_000, 0)
		trace := ""
		open := func(format int) *Store {
			return openStore(t, Options{Addrs: []string{addr}, RecordFormat: format, FeedMaxAge: time.Hour,
				Clock: func() time.Time { return now }, Trace: func(context.Context) string { return trace }})
		}
		plain, packed := open(3), open(4)
		raw, ctx, partition := rawClient(t, addr), testContext(t), plain.Partition("vs_a")
		start, err := plain.Head(ctx, partition)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 12 {
			s, committed := plain, event("vs_a", n, withReference("case"))
			if n/2%2 == 1 {
				s = packed
			}
			if n%3 == 2 {
				trace = entryTrace
			}
			if n%4 == 3 {
				failing(&committed)
				committed.Object.Reference = "case" + strconv.Itoa(n)
			}
			apply(t, s, committed)
			trace = ""
		}
		isPacked := 0
		for _, message := range raw.XRange(ctx, plain.keys.feed(partition), "-", "+").Val() {
			if message.Values[packedField] != nil {
				isPacked++
			}
		}
		if isPacked != 6 {
			t.Errorf("%d entries are packed; want 6 of 12", isPacked)
		}
		for _, s := range []*Store{plain, packed} {
			entries, err := s.ReadFeed(ctx, partition, start, 100)
			if err != nil || len(entries) != 12 {
				t.Fatalf("%d entries, %v; want 12", len(entries), err)
			}
			after := start
			for n, entry := range entries {
				if err := entry.Follows(after); err != nil {
					t.Errorf("entry %d does not follow: %v", n, err)
				}
				after = entry.Position
				if entry.SessionID != "vs_a" || entry.Revision != int32(n+1) || entry.Committed != now.Unix() || !entry.Chained {
					t.Errorf("entry %d = %+v", n, entry)
				}
				if got := entry.Trace == entryTrace; got != (n%3 == 2) {
					t.Errorf("entry %d has the trace %q", n, entry.Trace)
				}
				if wants := n == 0 || n%4 == 3 || n%4 == 0; entry.Pointer && !wants {
					t.Errorf("entry %d moves a reference", n)
				}
			}
		}
		for _, s := range []*Store{packed, plain} {
			now = now.Add(time.Hour + time.Second)
			apply(t, s, event("vs_a", 20+int(now.Unix()%1000)))
			if got := raw.XLen(ctx, s.keys.feed(partition)).Val(); got != 1 {
				t.Errorf("%d entries after an hour; want 1", got)
			}
		}
	})
}

// TestAPackedEntryThatARefusedScriptLeft: the next commit, in either form, names its nonce, which the script must read out of the
// packed bytes as a decimal number.
func TestAPackedEntryThatARefusedScriptLeft(t *testing.T) {
	server := redistest.Start(t)
	raw, ctx := rawClient(t, server.Addr), testContext(t)
	for _, format := range []int{3, 4} {
		s := openStore(t, Options{Addrs: []string{server.Addr}, RecordFormat: format})
		partition := s.Partition("vs_a")
		for n, nonce := range []int64{0, 1, -1, 255, 999_999_999, 1_000_000_000, -1_000_000_000, 999_999_999_999_999_999, 1_000_000_000_000_000_000,
			math.MaxInt64, math.MinInt64, math.MinInt64 + 1, -6_148_914_691_236_517_206} {
			raw.FlushAll(ctx)
			apply(t, s, event("vs_a", 0))
			before, err := s.Head(ctx, partition)
			if err != nil {
				t.Fatal(err)
			}
			value := packEntry("vs_b", 1, uint64(nonce), 1_790_000_000, "") + strconv.FormatInt(int64(before.Nonce), 10)
			if err := raw.Do(ctx, "XADD", s.keys.feed(partition), streamID(before.Seq+1), packedField, value).Err(); err != nil {
				t.Fatal(err)
			}
			apply(t, s, event("vs_a", n+1))
			entries, err := s.ReadFeed(ctx, partition, before, 10)
			if err != nil || len(entries) != 2 || entries[1].Before != uint64(nonce) {
				t.Errorf("format %d, nonce %d: %+v, %v; want two entries, the second one after this nonce", format, nonce, entries, err)
			}
		}
	}
}

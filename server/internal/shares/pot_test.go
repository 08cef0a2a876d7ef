package shares_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/testing/await"
)

func peer(host string, port int) shares.Holder {
	return shares.Peer(&net.TCPAddr{IP: net.ParseIP(host), Port: port})
}

// taken is one unit as the model of a pot knows it.
type taken struct {
	holder  shares.Holder
	unit    *shares.Unit
	evicted *bool // nil: it cannot give way
	past    bool  // of a period before
}

// TestG15_PotNeverExceedsItsBounds compares a pot with a plain list of the units that are taken, over random
// sequences of what holders can do.
func TestG15_PotNeverExceedsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, percent := rapid.IntRange(1, 200).Draw(t, "units"), rapid.SampledFrom([]int{0, 1, 25, 50, 100}).Draw(t, "percent")
		each := shares.Of(size, percent)
		peers := max(1, size/16)
		address := max(1, peers/4)
		pot := shares.New(size, each)
		holders := []shares.Holder{{}, shares.Named("a"), shares.Named("b"), shares.Named("10.0.0.1")}
		isPeer := map[shares.Holder]bool{}
		for n := range 6 {
			p := peer(fmt.Sprintf("10.0.0.%d", n), n)
			holders, isPeer[p] = append(holders, p), true
		}
		var all []taken // the oldest first; of the period, and not given back
		var gone []taken
		count := func(is func(taken) bool) (n int) {
			for _, one := range all {
				if is(one) {
					n++
				}
			}
			return n
		}
		oldest := func(is func(taken) bool) int {
			for at, one := range all {
				if one.evicted != nil && is(one) {
					return at
				}
			}
			return -1
		}
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			switch step := rapid.IntRange(0, 99).Draw(t, "step"); {
			case step < 2:
				pot.Reset()
				for _, one := range all {
					one.past = true
					gone = append(gone, one)
				}
				all = nil
			case step < 30 && len(all) > 0:
				at := rapid.IntRange(0, len(all)-1).Draw(t, "released")
				all[at].unit.Release()
				gone = append(gone, all[at])
				all = append(all[:at:at], all[at+1:]...)
			case step < 35 && len(gone) > 0:
				gone[rapid.IntRange(0, len(gone)-1).Draw(t, "again")].unit.Release()
			default:
				who := rapid.SampledFrom(holders).Draw(t, "holder")
				mine := count(func(one taken) bool { return one.holder == who })
				var want error
				way := -1
				any := func(one taken) bool { return true }
				switch {
				case isPeer[who] && mine >= address:
					want, way = shares.ErrShare, oldest(func(one taken) bool { return one.holder == who })
				case isPeer[who] && count(func(one taken) bool { return isPeer[one.holder] }) >= peers:
					want, way = shares.ErrShare, oldest(any)
				case !isPeer[who] && who != (shares.Holder{}) && each > 0 && mine >= each:
					want = shares.ErrShare
				case len(all) >= size:
					want, way = shares.ErrFull, oldest(any)
				}
				next := taken{holder: who}
				var evict func()
				if rapid.Bool().Draw(t, "evictable") {
					evicted := false
					evict = func() {
						if evicted {
							t.Fatal("evicted twice")
						}
						evicted = true
					}
					if isPeer[who] {
						next.evicted = &evicted
					}
				}
				unit, err := pot.Take(who, evict)
				next.unit = &unit
				switch {
				case want != nil && way < 0:
					if !errors.Is(err, want) {
						t.Fatalf("%v takes a unit: got %v, want %v", who, err, want)
					}
					unit.Release() // of none
					continue
				case err != nil:
					t.Fatalf("%v takes a unit: got %v, want one", who, err)
				case way >= 0:
					if !*all[way].evicted {
						t.Fatalf("%v has a unit, and the oldest one of %v did not give way", who, all[way].holder)
					}
					gone = append(gone, all[way])
					all = append(all[:way:way], all[way+1:]...)
				}
				all = append(all, next)
			}
			for _, one := range all {
				if one.evicted != nil && *one.evicted {
					t.Fatalf("a unit of %v gave way, and there was no need", one.holder)
				}
			}
			if got := pot.Taken(); got != len(all) || got > size {
				t.Fatalf("got %d units taken, want %d of %d", got, len(all), size)
			}
			for _, who := range holders {
				mine := count(func(one taken) bool { return one.holder == who })
				if most := address; isPeer[who] && mine > most {
					t.Fatalf("%v has %d units, want at most %d", who, mine, most)
				}
				if !isPeer[who] && who != (shares.Holder{}) && each > 0 && mine > each {
					t.Fatalf("%v has %d units, want at most %d", who, mine, each)
				}
			}
			if got := count(func(one taken) bool { return isPeer[one.holder] }); got > peers {
				t.Fatalf("peers have %d units, want at most %d", got, peers)
			}
		}
	})
}

// TestG15_ConcurrentHoldersStayWithinTheirShares: at no moment does a named caller, or do all of them together, have
// more units than they may, while peers come and give way. At the end nothing is left.
func TestG15_ConcurrentHoldersStayWithinTheirShares(t *testing.T) {
	const size, each, rounds, callers = 64, 8, 5_000, 6
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	pot := shares.New(size, each)
	var all, evictions atomic.Int64
	var running sync.WaitGroup
	// run takes and releases units at random. have counts those that it has for certain.
	run := func(stream uint64, who shares.Holder, have func(change int64)) {
		random := rand.New(rand.NewPCG(seed, stream))
		var units []*shares.Unit
		release := func() {
			have(-1)
			units[0].Release()
			units = units[1:]
		}
		for range rounds {
			if len(units) > 0 && random.IntN(3) == 0 {
				release()
				continue
			}
			if unit, err := pot.Take(who, func() { evictions.Add(1) }); err == nil {
				have(1)
				units = append(units, &unit)
			}
			if taken := pot.Taken(); taken > size {
				t.Errorf("%d units are taken, want at most %d", taken, size)
			}
		}
		for len(units) > 0 {
			release()
		}
	}
	for n := range uint64(callers) {
		mine := &atomic.Int64{}
		have := func(change int64) {
			if got := mine.Add(change); got > each {
				t.Errorf("a caller has %d units, want at most %d", got, each)
			}
			if got := all.Add(change); got > size {
				t.Errorf("callers have %d units, want at most %d", got, size)
			}
		}
		for half := range uint64(2) {
			running.Go(func() { run(2*n+half, shares.Named(fmt.Sprint(n)), have) })
		}
		running.Go(func() { run(100+n, peer(fmt.Sprintf("10.0.0.%d", n), 1), func(int64) {}) })
	}
	await.All(t, &running)
	if got := pot.Taken(); got != 0 {
		t.Errorf("got %d units taken after all were released, want none", got)
	}
	if evictions.Load() == 0 {
		t.Error("no peer gave way to another one")
	}
}

// TestTakeAllocatesNothing for a named caller: it is on the way of every unary call.
func TestTakeAllocatesNothing(t *testing.T) {
	pot, who := shares.New(512, 128), shares.Named("spiffe://example.org/bff")
	if n := testing.AllocsPerRun(1000, func() {
		unit, err := pot.Take(who, nil)
		if err != nil {
			t.Fatal(err)
		}
		unit.Release()
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// TestPeersAreKnownByAddress: neither by port nor by one of the many addresses of an IPv6 network, and never
// mistaken for a caller with a name.
func TestPeersAreKnownByAddress(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		if got := peer(test.a, 1) == peer(test.b, 2); got != test.same {
			t.Errorf("%s and %s are one holder: got %v, want %v", test.a, test.b, got, test.same)
		}
	}
	if peer("10.0.0.1", 1) == shares.Named("10.0.0.1") {
		t.Error("an address counts as a name")
	}
	pipe := shares.Peer(&net.UnixAddr{Name: "@", Net: "unix"})
	if pipe == (shares.Holder{}) || shares.Peer(nil) == (shares.Holder{}) || pipe == shares.Named("@") {
		t.Error("a peer without an IP address counts as this service itself, or as a caller with a name")
	}
}

func TestHolderOfAContext(t *testing.T) {
	if got := shares.HolderOf(context.Background()); got != (shares.Holder{}) {
		t.Errorf("got %v, want none", got)
	}
	ctx, cancel := context.WithCancel(shares.WithHolder(context.Background(), shares.Named("web")))
	defer cancel()
	if got := shares.HolderOf(ctx); got != shares.Named("web") || got.String() != "web" {
		t.Errorf("got %v, want web", got)
	}
}

func TestShareOfUnits(t *testing.T) {
	for _, test := range []struct{ units, percent, want int }{
		{512, 25, 128}, {512, 100, 512}, {512, 0, 0}, {3, 25, 1}, {1, 1, 1}, {1_000_000, 1, 10_000},
	} {
		if got := shares.Of(test.units, test.percent); got != test.want {
			t.Errorf("%d percent of %d: got %d, want %d", test.percent, test.units, got, test.want)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	pot, who := shares.New(512, 128), shares.Named("spiffe://example.org/bff")
	b.ReportAllocs()
	for b.Loop() {
		unit, err := pot.Take(who, nil)
		if err != nil {
			b.Fatal(err)
		}
		unit.Release()
	}
}

package cli

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	for alive, want := range map[uint64]int{
		0: 1200, 4 << 20: 1200, 12 << 20: 400, 24 << 20: 200, 48 << 20: 100, 1 << 30: 100,
	} {
		if got := percentFor(alive, leastHeadroom); got != want {
			t.Errorf("%d MiB alive: %d %%, want %d", alive>>20, got, want)
		}
	}
}

func TestHeadroomOf(t *testing.T) {
	for limit, want := range map[int64]uint64{
		math.MaxInt64: 48, 64 << 20: 48, 384 << 20: 48, 800 << 20: 100, 2 << 30: 256, 64 << 30: 256,
	} {
		if got := headroomOf(limit) >> 20; got != want {
			t.Errorf("limit of %d MiB: headroom of %d MiB, want %d", limit>>20, got, want)
		}
	}
}

// TestTheCollectorIsPaced: the percentage is set after each collection, until stop is called.
func TestTheCollectorIsPaced(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	p := &pacer{headroom: leastHeadroom}
	p.watch()
	for times := int64(1); times <= 3; times++ {
		deadline := time.Now().Add(10 * time.Second)
		for p.set.Load() < times {
			if time.Now().After(deadline) {
				t.Fatalf("set %d times", p.set.Load())
			}
			runtime.GC()
			runtime.Gosched()
		}
	}
	p.stop()
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("%d %% after the stop", got)
	}
	set := p.set.Load()
	runtime.GC()
	runtime.GC()
	if p.set.Load() != set {
		t.Error("the percentage is still set after the stop")
	}
}

// TestTheHeadroomFollowsTheMemoryLimit: with GOMEMLIMIT=1GiB, an eighth of it is allocated between two collections.
func TestTheHeadroomFollowsTheMemoryLimit(t *testing.T) {
	t.Setenv("GOGC", "")
	before, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(1<<30)
	defer debug.SetGCPercent(before)
	defer debug.SetMemoryLimit(limit)
	stop := paceCollector()
	defer stop()
	state := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/live:bytes"}}
	headroom := func() int {
		metrics.Read(state)
		return int(state[0].Value.Uint64()-state[1].Value.Uint64()) >> 20
	}
	for deadline := time.Now().Add(10 * time.Second); headroom() < 120; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatalf("the headroom is %d MiB, want about 128", headroom())
		}
		runtime.Gosched()
	}
	if got := headroom(); got > 160 {
		t.Errorf("the headroom is %d MiB, want about 128", got)
	}
}

// TestTheHeadroomIsKeptWithManyStacks: for the runtime, stacks count like the heap. The test allows a little more than the headroom, since
// stacks change between two measurements.
func TestTheHeadroomIsKeptWithManyStacks(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	let := make(chan struct{})
	var deep sync.WaitGroup
	var there sync.WaitGroup
	for range 2000 {
		there.Add(1)
		deep.Go(func() { waitDeep(128, there.Done, let) })
	}
	there.Wait()
	defer deep.Wait()
	defer close(let)
	goal := func() int64 {
		runtime.GC()
		runtime.GC()
		goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
		metrics.Read(goal)
		return int64(goal[0].Value.Uint64())
	}
	normal := goal()
	debug.SetGCPercent(percentFor(alive(), leastHeadroom))
	if paced := goal(); paced > normal+leastHeadroom+leastHeadroom/4 {
		t.Errorf("the heap may grow to %d MiB, by default to %d: more than %d MiB beyond", paced>>20, normal>>20, leastHeadroom>>20)
	}
}

// waitDeep waits with at least depth KiB on the stack.
func waitDeep(depth int, there func(), let <-chan struct{}) byte {
	var frame [1 << 10]byte
	if depth > 0 {
		frame[depth] = waitDeep(depth-1, there, let)
		return frame[depth] + frame[0]
	}
	there()
	<-let
	return 0
}

// TestGOGCIsRespected: if GOGC is set, the percentage does not change.
func TestGOGCIsRespected(t *testing.T) {
	t.Setenv("GOGC", "50")
	before := debug.SetGCPercent(50)
	defer debug.SetGCPercent(before)
	stop := paceCollector()
	runtime.GC()
	runtime.GC()
	stop()
	if got := debug.SetGCPercent(50); got != 50 {
		t.Errorf("%d %%", got)
	}
}

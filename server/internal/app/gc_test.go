package app

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	for alive, want := range map[uint64]int{
		0: 4800, 1 << 20: 4800, 12 << 20: 400, 24 << 20: 200, 48 << 20: 100, 1 << 30: 100,
	} {
		if got := percentFor(alive); got != want {
			t.Errorf("%d MiB alive: %d %%, want %d", alive>>20, got, want)
		}
	}
}

// TestTheCollectorIsPaced: after each collection anew, until it is stopped.
func TestTheCollectorIsPaced(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	p := &pacer{}
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
		t.Error("it goes on after the stop")
	}
}

// TestGOGCIsRespected: who sets it knows why.
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

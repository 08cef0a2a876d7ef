package cli

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// The headroom is the least memory, in bytes, that is allocated between two garbage collections. By default, a collection starts when
// the newly allocated memory equals the live memory, about 20 MiB for a replica with few streams: collections then take a tenth of
// all processor time.
const (
	// leastHeadroom is the headroom without GOMEMLIMIT, when nothing says how much memory there is.
	leastHeadroom = 48 << 20
	// mostHeadroom bounds the headroom with GOMEMLIMIT. More saves nearly nothing.
	mostHeadroom = 256 << 20
	// limitShare is the part of GOMEMLIMIT that is headroom: one in so many. Near the limit the runtime ignores the percentage and
	// collects as often as the limit demands.
	limitShare = 8
)

// headroomOf returns the headroom for a memory limit in bytes. Without a limit it is math.MaxInt64.
func headroomOf(limit int64) uint64 {
	if limit == math.MaxInt64 {
		return leastHeadroom
	}
	return uint64(min(max(limit/limitShare, leastHeadroom), mostHeadroom))
}

// paceCollector keeps the headroom between two garbage collections until stop is called. If more than the headroom is alive, the
// default pace stays. The process never uses more than the headroom above the default. If GOGC is set, paceCollector does nothing.
func paceCollector() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	p := &pacer{headroom: headroomOf(debug.SetMemoryLimit(-1))} // -1 only reads the limit
	p.watch()
	return p.stop
}

// pacer sets the percentage of the collector after each collection.
type pacer struct {
	headroom uint64
	mu       sync.Mutex
	stopped  bool
	set      atomic.Int64 // how often the percentage was set
}

// watch makes an object without references, so that the next collection calls collected.
func (p *pacer) watch() {
	marker := new([32]byte)
	runtime.AddCleanup(marker, func(p *pacer) { p.collected() }, p)
}

func (p *pacer) collected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	debug.SetGCPercent(percentFor(alive(), p.headroom))
	p.set.Add(1)
	p.watch()
}

func (p *pacer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	debug.SetGCPercent(100)
}

// alive returns the memory that was alive at the last collection: the runtime applies the percentage to it. It includes stacks,
// which are larger than the heap if many calls wait.
func alive() (bytes uint64) {
	found := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(found)
	for _, part := range found {
		bytes += part.Value.Uint64()
	}
	return bytes
}

// percentFor returns the percentage of the live memory that gives the headroom, but at least 100.
func percentFor(alive, headroom uint64) int {
	const leastAlive = 4 << 20 // the runtime counts less memory as this much
	return int(max(100, 100*headroom/max(alive, leastAlive)))
}

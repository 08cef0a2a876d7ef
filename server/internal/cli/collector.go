package cli

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// gcHeadroom is the least memory, in bytes, that is allocated between two garbage collections. By default, a collection starts when
// the newly allocated memory equals the live memory, about 20 MiB for a replica with few streams: collections then take a tenth of
// all processor time.
const gcHeadroom = 48 << 20

// paceCollector keeps gcHeadroom between two garbage collections until stop is called. If more than gcHeadroom is alive, the default
// pace stays. The process never uses more than gcHeadroom above the default. If GOGC is set, paceCollector does nothing.
func paceCollector() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	p := &pacer{}
	p.watch()
	return p.stop
}

// pacer sets the percentage of the collector after each collection.
type pacer struct {
	mu      sync.Mutex
	stopped bool
	set     atomic.Int64 // how often the percentage was set
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
	debug.SetGCPercent(percentFor(alive()))
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

// percentFor returns the percentage of the live memory that gives gcHeadroom, but at least 100.
func percentFor(alive uint64) int {
	const leastAlive = 4 << 20 // the runtime counts less memory as this much
	return int(max(100, 100*gcHeadroom/max(alive, leastAlive)))
}

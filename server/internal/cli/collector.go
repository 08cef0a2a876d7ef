package cli

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// gcHeadroom is how much may be allocated between two collections at the least, in bytes. By default that is
// as much as is alive, some 20 MiB for a replica with few streams: then collecting is a tenth of all work.
const gcHeadroom = 48 << 20

// paceCollector gives the garbage collector that headroom, until stop, which waits for a setting that is under
// way: with much alive it works as ever, and the memory never grows by more than the headroom over what the
// default takes. Whoever sets GOGC has decided otherwise.
func paceCollector() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	p := &pacer{}
	p.watch()
	return p.stop
}

// pacer sets the percentage anew after each collection.
type pacer struct {
	mu      sync.Mutex
	stopped bool
	set     atomic.Int64 // how often
}

// watch leaves something to the collector that it finds dead the next time.
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

// alive is what the last collection has found, and the percentage is of: stacks too. Where many calls wait
// they are more than the heap.
func alive() (bytes uint64) {
	found := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(found)
	for _, part := range found {
		bytes += part.Value.Uint64()
	}
	return bytes
}

// percentFor is how much may be allocated, in percent of what is alive.
func percentFor(alive uint64) int {
	const leastAlive = 4 << 20 // the runtime counts less as that much
	return int(max(100, 100*gcHeadroom/max(alive, leastAlive)))
}

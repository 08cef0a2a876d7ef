package app

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
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(alive)
	debug.SetGCPercent(percentFor(alive[0].Value.Uint64()))
	p.set.Add(1)
	p.watch()
}

func (p *pacer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	debug.SetGCPercent(100)
}

// percentFor is how much may be allocated, in percent of what is alive.
func percentFor(alive uint64) int {
	const leastAlive = 1 << 20 // the runtime's own minimum is 4 MiB
	return int(max(100, 100*gcHeadroom/max(alive, leastAlive)))
}

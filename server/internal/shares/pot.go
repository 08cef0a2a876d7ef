package shares

import (
	"container/list"
	"errors"
	"sync"
)

// Why Take refuses.
var (
	// ErrFull: all units are taken.
	ErrFull = errors.New("all units are taken")
	// ErrShare: the holder has its share. Other holders might still find units.
	ErrShare = errors.New("the holder has its share")
)

const (
	// All peers together have one in peersPart of a pot's units. Probes of a load balancer or an orchestrator
	// need a few units; more units would be memory that anybody on the network can take.
	peersPart = 16
	// One address has one in peerPart of the peers' units.
	peerPart = 4
)

// Of returns a percentage of a number of units: at least 1, and 0 (no bound) for 0 percent.
func Of(units, percent int) int {
	if percent == 0 {
		return 0
	}
	return max(1, units*percent/100)
}

// Pot is a number of units that holders take. It is safe for concurrent use.
type Pot struct {
	units, each, peers, peer int

	mu        sync.Mutex
	taken     int
	byPeers   int
	held      map[Holder]int // above 0, without the zero Holder
	period    uint64         // how often Reset was called
	evictable list.List      // of *evictable, the oldest first
	own       map[Holder]*list.List
}

// evictable is a unit of a peer that can be evicted for another holder.
type evictable struct {
	holder    Holder
	evict     func()
	all, mine *list.Element // nil once the unit is back in the pot
}

// New makes a pot of units, at least one. A named caller gets at most each of them; 0: no bound.
func New(units, each int) *Pot {
	units = max(1, units)
	peers := max(1, units/peersPart)
	return &Pot{
		units: units, each: each, peers: peers, peer: max(1, peers/peerPart),
		held: map[Holder]int{}, own: map[Holder]*list.List{},
	}
}

// Unit is a unit that was taken. The zero Unit stands for none. A Unit must not be copied, and Release must not be
// called by two goroutines at once.
type Unit struct {
	pot    *Pot
	holder Holder
	period uint64
	way    *evictable // nil: it cannot be evicted
}

// Take takes a unit for a holder, or returns ErrFull or ErrShare. It never waits, and it allocates nothing
// for a named caller.
//
// evict is called when a peer's unit goes to another holder, and must end what the unit stands for. It is called once at
// most, by the goroutine that takes the unit, and must not wait. nil: the unit is kept until Release. evict has no
// effect for other holders.
func (p *Pot) Take(holder Holder, evict func()) (Unit, error) {
	unit, oldest, err := p.take(holder, evict)
	if oldest != nil {
		oldest.evict() // without the lock: evict can release other units
	}
	return unit, err
}

func (p *Pot) take(holder Holder, evict func()) (unit Unit, oldest *evictable, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if from, err := p.room(holder); err != nil {
		if oldest = first(from); oldest == nil {
			return Unit{}, nil, err
		}
		p.drop(oldest)
	}
	p.taken++
	if holder != (Holder{}) {
		p.held[holder]++
	}
	unit = Unit{pot: p, holder: holder, period: p.period}
	if holder.peer {
		p.byPeers++
		if evict != nil {
			unit.way = p.line(holder, evict)
		}
	}
	return unit, oldest, nil
}

// room returns an error if no further unit is free for a holder. Then the oldest unit of from can be evicted: one of the
// holder's own address if that address has its share, so that one address cannot evict all others. The lock is
// held.
func (p *Pot) room(holder Holder) (from *list.List, err error) {
	switch held := p.held[holder]; {
	case holder.peer && held >= p.peer:
		return p.own[holder], ErrShare
	case holder.peer && p.byPeers >= p.peers:
		return &p.evictable, ErrShare
	case holder.named() && p.each > 0 && held >= p.each:
		return nil, ErrShare
	case p.taken >= p.units:
		return &p.evictable, ErrFull
	}
	return nil, nil
}

func first(from *list.List) *evictable {
	if from == nil || from.Len() == 0 {
		return nil
	}
	return from.Front().Value.(*evictable)
}

// line adds a unit to the end of the evictable units; drop removes such a unit. The lock is held.
func (p *Pot) line(holder Holder, evict func()) *evictable {
	own := p.own[holder]
	if own == nil {
		own = list.New()
		p.own[holder] = own
	}
	way := &evictable{holder: holder, evict: evict}
	way.all, way.mine = p.evictable.PushBack(way), own.PushBack(way)
	return way
}

func (p *Pot) drop(way *evictable) {
	p.evictable.Remove(way.all)
	own := p.own[way.holder]
	if own.Remove(way.mine); own.Len() == 0 {
		delete(p.own, way.holder)
	}
	way.all, way.mine = nil, nil
	p.giveBack(way.holder)
}

// giveBack returns a unit to the pot. The lock is held.
func (p *Pot) giveBack(holder Holder) {
	p.taken--
	if holder.peer {
		p.byPeers--
	}
	if holder == (Holder{}) {
		return
	}
	if n := p.held[holder]; n > 1 {
		p.held[holder] = n - 1
	} else {
		delete(p.held, holder)
	}
}

// Release returns the unit to the pot. It does nothing the second time, after an eviction, and after a Reset of the pot.
func (u *Unit) Release() {
	p := u.pot
	if p == nil {
		return
	}
	u.pot = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case u.period != p.period:
	case u.way == nil:
		p.giveBack(u.holder)
	case u.way.all != nil: // else it was evicted
		p.drop(u.way)
	}
}

// Reset makes all units free. Units that were taken before it no longer count: they are not evicted, and Release does
// nothing for them.
func (p *Pot) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.period++
	p.taken, p.byPeers = 0, 0
	clear(p.held)
	clear(p.own)
	p.evictable.Init()
}

// Taken returns how many units are taken.
func (p *Pot) Taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken
}

package stripeapi

import (
	"log/slog"
	"sync"
	"time"
)

// budget counts the reads of a day. Stripe allows as few as 10,000 reads a month to a small account.
// What can wait may not use it up: whoever polls unknown ids, and a catch-up after a bad day, must not
// keep people from trying again, or doubts from being settled.
type budget struct {
	limit int // reads a day; 0: no bound
	clock func() time.Time
	log   *slog.Logger

	mu   sync.Mutex
	day  int64 // days since 1970, UTC
	used int
	told int // 0: nothing yet today; 1: that half is gone; 2: that all is
}

// How much of the day's reads a read must leave to others, in percent; nothing for most.
const (
	reserveCatchUp = 20 // Stripe's list of events
	reserveLookup  = 50 // a caller asks for what is not known here
)

// left reports whether a read is left today.
func (b *budget) left(reserve int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.check(reserve)
}

// rest is how many reads are left today; none where there is no bound.
func (b *budget) rest() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	return max(0, b.limit-b.used)
}

// take uses one read of today; false if none is left.
func (b *budget) take(reserve int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.check(reserve) {
		return false
	}
	b.used++
	if b.limit > 0 && b.told == 0 && b.used*2 >= b.limit {
		b.told = 1
		b.log.Warn("stripe: half of the day's API reads is used", "used", b.used, "limit", b.limit)
	}
	return true
}

// turn begins a new day. It needs b.mu. A clock that goes back does not give a day's reads twice.
func (b *budget) turn() {
	if day := b.clock().Unix() / (24 * 60 * 60); day > b.day {
		b.day, b.used, b.told = day, 0, 0
	}
}

// check needs b.mu.
func (b *budget) check(reserve int) bool {
	b.turn()
	switch {
	case b.limit == 0:
		return true
	case b.used < b.limit && b.used >= b.limit-b.limit*reserve/100:
		return false
	case b.used < b.limit:
		return true
	}
	if b.told < 2 {
		b.told = 2
		b.log.Error("stripe: the day's API reads are used up; sessions are not read from Stripe until midnight UTC. Raise API_READS_PER_DAY if Stripe's allowance permits", "limit", b.limit)
	}
	return false
}

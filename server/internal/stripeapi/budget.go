package stripeapi

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/verification"
)

// The part of the day's reads, in percent, that a read leaves to more important purposes. See verification.Purpose.
const (
	reserveCatchUp = 20
	reserveLookup  = 50
)

// budget counts the reads of one day (UTC). Stripe can allow a small account as few as 10,000 reads a month. Less important
// reads leave a part of the day to retries. Each caller has a share of all reads, and the same share of the lookups: a
// caller that looks up missing sessions all day takes no read from the others. It is safe for concurrent use.
type budget struct {
	limit int // reads a day; 0 means no limit
	clock func() time.Time
	log   *slog.Logger

	reads   *shares.Pot // all reads that count
	lookups *shares.Pot // the lookups, which take a unit of both pots

	mu     sync.Mutex
	day    int64 // days since 1970, UTC
	logged map[string]bool
}

// Keys of budget.logged: what is logged once a day. The names of callers that have used up their share are keys too.
const (
	logHalf = "half"
	logAll  = "all"
)

func newBudget(limit, sharePercent int, clock func() time.Time, log *slog.Logger) *budget {
	lookups := limit - limit*reserveLookup/100
	return &budget{
		limit: limit, clock: clock, log: log, logged: map[string]bool{},
		reads:   shares.New(limit, shares.Of(limit, sharePercent)),
		lookups: shares.New(lookups, shares.Of(lookups, sharePercent)),
	}
}

// spent is a read that the budget has counted.
type spent struct{ read, lookup shares.Unit }

// refund gives the read back. Call it if the read was not made.
func (s *spent) refund() {
	s.read.Release()
	s.lookup.Release()
}

// left returns how many reads for a purpose are left today, for all callers together. It returns 0 if there is no limit. The
// reads of events do not count: left is never asked for them.
func (b *budget) left(purpose verification.Purpose) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.startDay()
	if b.limit == 0 {
		return 0
	}
	return max(0, b.until(purpose)-b.reads.Taken()) // a lookup takes a unit of reads too, so the other pot has no less
}

// until returns how many reads of the day must be used for a purpose to get none.
func (b *budget) until(purpose verification.Purpose) int {
	return b.limit - b.limit*reserve(purpose)/100
}

// take counts one read for a holder. It returns verification.ErrStripeBudget if no read is left for this purpose, and
// ErrStripeShare if the holder has used up its share.
func (b *budget) take(purpose verification.Purpose, holder shares.Holder) (spent, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.startDay()
	var s spent
	if b.limit == 0 || purpose.OfEvent() {
		return s, nil
	}
	used := b.reads.Taken()
	if used >= b.limit && b.firstToday(logAll) {
		b.log.Error("stripe: the day's API reads are used up; until midnight UTC only events and ambiguous orders are read. Raise API_READS_PER_DAY if Stripe's allowance permits", "limit", b.limit)
	}
	if used >= b.until(purpose) {
		return s, verification.ErrStripeBudget
	}
	var err error
	if purpose == verification.PurposeLookup {
		if s.lookup, err = b.lookups.Take(holder, nil); err != nil {
			return s, b.refusal(err, holder)
		}
	}
	if s.read, err = b.reads.Take(holder, nil); err != nil {
		s.lookup.Release()
		return s, b.refusal(err, holder)
	}
	if (used+1)*2 >= b.limit && b.firstToday(logHalf) {
		b.log.Warn("stripe: half of the day's API reads is used", "used", used+1, "limit", b.limit)
	}
	return s, nil
}

func reserve(purpose verification.Purpose) int {
	switch purpose {
	case verification.PurposeLookup:
		return reserveLookup
	case verification.PurposeCatchUp:
		return reserveCatchUp
	default:
		return 0
	}
}

// refusal returns the error for the refusal of a pot. The caller holds b.mu.
func (b *budget) refusal(err error, holder shares.Holder) error {
	if !errors.Is(err, shares.ErrShare) {
		return verification.ErrStripeBudget
	}
	if b.firstToday("share of " + holder.String()) {
		b.log.Warn("stripe: a caller has used up its share of the day's API reads", "principal", holder.String(), "limit", b.limit)
	}
	return verification.ErrStripeShare
}

// firstToday reports whether it is called with a key for the first time today. The caller holds b.mu.
func (b *budget) firstToday(what string) bool {
	if b.logged[what] {
		return false
	}
	b.logged[what] = true
	return true
}

// startDay resets the budget if a new day has begun. A clock that goes back does not give the reads of a day twice. The
// caller holds b.mu.
func (b *budget) startDay() {
	if day := b.clock().Unix() / (24 * 60 * 60); day > b.day {
		b.day = day
		clear(b.logged)
		b.reads.Reset()
		b.lookups.Reset()
	}
}

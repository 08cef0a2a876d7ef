package main

import (
	"context"
	"fmt"
	"time"
)

// The backoff of the step "connect slow": so long that a wait is more than the time of an attempt on a busy machine.
const (
	slowBackoff    = 50 * time.Millisecond
	slowMaxBackoff = 200 * time.Millisecond
)

// slow gives the client that is made next a long backoff, so that the ledger can measure it.
func (p *player) slow(ctx context.Context) error {
	e, err := p.program.ask(ctx, settings(slowBackoff, slowMaxBackoff, p.times.heartbeat))
	if err != nil {
		return err
	}
	p.ledger.maxBackoff = time.Duration(e.MaxBackoff * float64(time.Millisecond))
	if p.ledger.maxBackoff < slowMaxBackoff {
		return fmt.Errorf("the program answered set with backoff_max_ms %v; want at least %v", e.MaxBackoff, inMilliseconds(slowMaxBackoff))
	}
	return nil
}

// A wait is a random part of a ceiling, from 0 ("full jitter"), so that one wait proves nothing. The ceiling is the maximum from
// the third failure in a row on. The sum of rowOf waits is then 19 maxima on average, with a standard deviation of 1.8, and 4 of
// them are shorter than a tenth of the maximum. A right client has a sum below rowOf/leastPart = 8 maxima, or so many short waits,
// once in more than a thousand million times. A busy machine makes waits longer only. The short ones show a client without waits
// where a few long stops of the machine hide it in the sum.
const (
	rowOf     = 40
	leastPart = 5
	shortPart = 10
	maxShort  = rowOf / 2
)

// row is a row of attempts that failed, one after the other.
type row struct {
	attempts int           // that followed a failed one
	short    int           // of them, after less than a tenth of the maximum
	waited   time.Duration // before them, in all
	failedAt time.Time     // the last one; zero: it did not fail
}

// end says that an attempt has ended.
func (r *row) end(failed bool) {
	if !failed {
		*r = row{}
		return
	}
	r.failedAt = time.Now()
}

// next says that an attempt begins. It returns what is wrong with the waits so far, or "".
func (r *row) next(ceiling time.Duration) string {
	if r.failedAt.IsZero() {
		return ""
	}
	wait := time.Since(r.failedAt)
	r.attempts, r.waited = r.attempts+1, r.waited+wait
	if wait < ceiling/shortPart {
		r.short++
	}
	if least := rowOf * ceiling / leastPart; r.attempts == rowOf && (r.waited < least || r.short > maxShort) {
		return fmt.Sprintf("%d attempts in a row failed, and the client waited for %v in all, %d times for less than %v; want a backoff that grows to %v, so %v in all and %d times at most",
			rowOf, r.waited.Round(time.Millisecond), r.short, ceiling/shortPart, ceiling, least, maxShort)
	}
	return ""
}

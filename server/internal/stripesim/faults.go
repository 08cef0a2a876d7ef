package stripesim

import (
	"errors"
	"math/rand/v2"
	"time"
)

const (
	maxCopies        = 100
	maxReorderWindow = 10_000
	maxFaultDelay    = time.Hour
	// reorderHold is the longest time for which a window that is not full holds its events.
	reorderHold = 100 * time.Millisecond
)

// Faults are the faults of webhooks. The zero value has none: each event is sent once and at once, and the events of a session are sent
// in the order in which they were emitted.
type Faults struct {
	// MaxCopies is the limit of copies of a webhook, which are sent at the same time. 0 and 1: one.
	MaxCopies int
	// ReorderWindow is the number of webhooks that are held, for at most 100 ms, and then sent in random order. 0 and 1: none are
	// held.
	ReorderWindow int
	// DelayMin and DelayMax bound a random delay of each webhook.
	DelayMin, DelayMax time.Duration
	// DropProbability, 0 to 1, is the share of webhooks that are never sent. Their events exist.
	DropProbability float64
	// FreezeClock stops the simulator's clock, so that many events have the same second in created. Signatures still have the
	// true time.
	FreezeClock bool
	// CanceledEventOnRedact sends a canceled event, with status verified, also if a verified session is redacted. Stripe's
	// documentation can be read so.
	CanceledEventOnRedact bool
	// NoUnsentSnapshots makes no snapshot event of a change that no endpoint gets as one: it is not listed, and its thin event names
	// none. Stripe's documentation leaves open whether it is so.
	NoUnsentSnapshots bool
}

// SetFaults changes the faults of later webhooks. Queued webhooks keep theirs. Webhooks that are held for reordering are sent.
func (s *Sim) SetFaults(f Faults) error {
	switch {
	case f.MaxCopies < 0 || f.MaxCopies > maxCopies:
		return errors.New("stripesim: MaxCopies must be 0 to 100")
	case f.ReorderWindow < 0 || f.ReorderWindow > maxReorderWindow:
		return errors.New("stripesim: ReorderWindow must be 0 to 10,000")
	case f.DelayMin < 0 || f.DelayMax > maxFaultDelay || f.DelayMax < f.DelayMin:
		return errors.New("stripesim: delays must be 0 to 1 h, DelayMin at most DelayMax")
	case !(f.DropProbability >= 0 && f.DropProbability <= 1):
		return errors.New("stripesim: DropProbability must be 0 to 1")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseWindow()
	switch {
	case !f.FreezeClock:
		s.frozenAt = time.Time{}
	case s.frozenAt.IsZero():
		s.frozenAt = s.cfg.Now()
	}
	s.faults = f
	return nil
}

// dispatch decides the fate of one event's webhook to one endpoint. The caller holds s.mu.
func (s *Sim) dispatch(e Event, body []byte, to form) {
	f := s.faults
	if s.faultRNG.Float64() < f.DropProbability {
		s.stats.Dropped++
		return
	}
	copies := 1
	if f.MaxCopies > 1 {
		copies += s.faultRNG.IntN(f.MaxCopies)
	}
	for i := range copies {
		d := &delivery{eventID: e.ID, body: body, endpoint: to.to.id, copied: i > 0, thin: to.thin}
		if i == 0 {
			// One after the other within a session and a form. Copies and retries can overtake.
			d.lane = to.lane(e.SessionID)
		} else {
			s.stats.Copies++
		}
		if f.ReorderWindow > 1 {
			s.hold(d, f.ReorderWindow)
		} else {
			s.enqueue(d, between(s.faultRNG, f.DelayMin, f.DelayMax))
		}
	}
}

// hold keeps a webhook until the window is full. The caller holds s.mu.
func (s *Sim) hold(d *delivery, size int) {
	s.window = append(s.window, d)
	if len(s.window) >= size {
		s.releaseWindow()
		return
	}
	if len(s.window) == 1 {
		s.after(reorderHold, s.releaseWindow)
	}
}

// releaseWindow sends the held webhooks in random order. The caller holds s.mu.
func (s *Sim) releaseWindow() {
	s.faultRNG.Shuffle(len(s.window), func(i, j int) { s.window[i], s.window[j] = s.window[j], s.window[i] })
	for _, d := range s.window {
		s.enqueue(d, between(s.faultRNG, s.faults.DelayMin, s.faults.DelayMax))
	}
	s.window = nil
}

// between returns a random duration from min to max, both included.
func between(rng *rand.Rand, min, max time.Duration) time.Duration {
	return min + time.Duration(rng.Int64N(int64(max-min)+1))
}

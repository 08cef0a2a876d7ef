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
	// reorderHold is the longest that a half-full window holds its events back.
	reorderHold = 100 * time.Millisecond
)

// Faults is what goes wrong with webhooks. The zero value is a quiet day: each event is sent once,
// promptly, and the events of a session in the order in which they were emitted.
type Faults struct {
	// MaxCopies: each webhook is sent 1 to MaxCopies times, the copies at the same time. 0 and 1: once.
	MaxCopies int
	// ReorderWindow: webhooks are held back until there are so many, at most 100 ms, then sent in
	// random order. 0 and 1: not at all.
	ReorderWindow int
	// DelayMin and DelayMax bound a random delay of each webhook.
	DelayMin, DelayMax time.Duration
	// DropProbability, 0 to 1, is the share of webhooks that are never sent. Their events exist.
	DropProbability float64
	// FreezeClock stops the simulator's clock where it is when this is set, so that many events
	// share one second of created. Signatures still bear the true time.
	FreezeClock bool
	// CanceledEventOnRedact sends a canceled event, with status verified, also where a verified
	// session is redacted. Stripe's documentation can be read so.
	CanceledEventOnRedact bool
}

// SetFaults changes what goes wrong from now on. Webhooks already queued keep their fate; those held
// back for reordering are sent.
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

// dispatch decides the fate of one event's webhook to one endpoint. Needs s.mu.
func (s *Sim) dispatch(e Event, body []byte, to *endpoint) {
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
		d := &delivery{eventID: e.ID, body: body, endpoint: to.id, copied: i > 0}
		if i == 0 {
			// One after the other within a session; copies and retries overtake as they like.
			d.lane = to.id + " " + e.SessionID
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

// hold keeps a webhook back until the window is full. Needs s.mu.
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

// releaseWindow sends what was held back, in random order. Needs s.mu.
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

// Package tailer follows the store's feed for one process and wakes the hub: one reader, whatever
// the number of watchers. It notices when the feed was rewound under it, and after any time in which
// it may have missed something it wakes everyone. It knows no watcher and no session's content but
// the reference by which a new session may be watched.
package live

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
)

const (
	// block is how long one wait for the feed lasts at most, and so how late a check may be.
	block = 250 * time.Millisecond
	// checkEvery is how often the positions are checked against the feed. After a failover that lost
	// entries, or a FLUSHALL, Redis neither fails nor leaves a gap: until there is an entry that does not
	// follow the one read before it, only the check sees it. The memory is trusted as far as the last
	// check only.
	checkEvery = 250 * time.Millisecond
	// retryMin and retryMax bound the pause after a failure.
	retryMin, retryMax = 100 * time.Millisecond, 2 * time.Second
	// sayEvery is how often the log repeats that a store stays away.
	sayEvery = time.Minute
	// ownPause is how long the feed is left alone after it held nothing but this process's own commits,
	// whose watchers know: else a busy process would read it once for each of them. What others commit
	// meanwhile is told that much later.
	ownPause = 5 * time.Millisecond
	// callTimeout bounds each call but Follow.
	callTimeout = 2 * time.Second
)

// Rewound is told what the store has lost: the sessions whose entries are gone, each once, and
// whether there may be others, because the loss goes back further than is remembered here. It must
// not block.
type Rewound func(lost []string, more bool)

// Tailer follows one store.
type Tailer struct {
	store   store.Store
	hub     *hub.Hub
	memory  Memory
	rewound Rewound
	logger  *slog.Logger

	// positions and recent outlive an outage: a failover loses entries while nobody can look.
	positions []store.Position
	recent    []recentEntries

	known atomic.Pointer[time.Time] // see Lag
}

// NewTailer makes a Tailer. rewound may be nil.
func NewTailer(s store.Store, h *hub.Hub, memory Memory, rewound Rewound, logger *slog.Logger) *Tailer {
	if rewound == nil {
		rewound = func([]string, bool) {}
	}
	t := &Tailer{store: s, hub: h, memory: memory, rewound: rewound, logger: logger, recent: make([]recentEntries, s.Partitions())}
	now := time.Now()
	t.known.Store(&now)
	return t
}

// Run follows the feed until ctx ends. A store that is away is waited for. Run once only.
func (t *Tailer) Run(ctx context.Context) {
	pause := retryMin
	var said time.Time // the last warning; zero: none since the feed was read
	failures := 0      // since then
	for {
		began, known := time.Now(), t.known.Load()
		err := t.follow(ctx)
		t.memory.Distrust()
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= retryMax {
			pause = retryMin
			if t.known.Load() != known { // it was read, and did not hang
				said, failures = time.Time{}, 0
			}
		}
		failures++
		if time.Since(said) >= sayEvery {
			t.logger.Warn("the change feed cannot be read: trying again", "error", err, "failures", failures)
			said, failures = time.Now(), 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, retryMax)
	}
}

// follow reads on from where it was, at first from the head, until something fails.
func (t *Tailer) follow(ctx context.Context) error {
	checked := time.Now()
	if err := t.begin(ctx); err != nil {
		return err
	}
	t.hub.WakeAll() // what came before may have been missed
	for {
		entries, err := t.store.Follow(ctx, t.positions, block)
		if err != nil {
			return err
		}
		if unproven(entries) {
			began := time.Now()
			if err := t.check(ctx, nil); err != nil {
				return err
			}
			checked = began
		}
		entries, breaks := t.advance(entries)
		news := t.tell(entries)
		t.wakeReferences(ctx, entries)
		if !news && len(entries) > 0 {
			if err := pauseFor(ctx, ownPause); err != nil {
				return err
			}
		}
		if began := time.Now(); breaks != nil || began.Sub(checked) >= checkEvery {
			if err := t.check(ctx, breaks); err != nil {
				return err
			}
			checked = began
		}
		t.trust(checked)
	}
}

// unproven reports whether entries were read that do not name the one before them, as those of an older
// version: only the feed can say then whether they follow the positions. What came in one answer is of one
// moment, so the first entry of each partition matters.
func unproven(entries []store.Entry) bool {
	last := -1
	return slices.ContainsFunc(entries, func(entry store.Entry) bool {
		first := entry.Partition != last
		last = entry.Partition
		return first && !entry.Chained
	})
}

// advance moves the positions over entries, as far as each follows the one before it, and returns these.
// Where one does not, the store has lost what was read before, and others have written over it, or the feed
// was trimmed too soon: breaks holds why, by partition. A check of the new position would find nothing.
func (t *Tailer) advance(entries []store.Entry) (following []store.Entry, breaks map[int]error) {
	for _, entry := range entries {
		position := &t.positions[entry.Partition]
		if entry.Position.Seq <= position.Seq || breaks[entry.Partition] != nil {
			continue // the head has been taken since, or is about to be
		}
		if err := entry.Follows(*position); err != nil {
			if breaks == nil {
				breaks = make(map[int]error)
			}
			breaks[entry.Partition] = err
			continue
		}
		*position = entry.Position
		t.recent[entry.Partition].add(entry)
		following = append(following, entry)
	}
	return following, breaks
}

// tell lets the memory know before those who will read it are woken. It returns whether anything was news
// to anybody here.
func (t *Tailer) tell(entries []store.Entry) (news bool) {
	others := make([]bool, len(entries))
	for n, entry := range entries {
		others[n] = t.memory.Told(entry.SessionID, entry.Revision)
		news = news || others[n]
	}
	for n, entry := range entries {
		if others[n] {
			t.hub.Wake(hub.Session(entry.SessionID))
		}
		t.hub.Wake(hub.Partition(entry.Partition))
	}
	return news
}

func pauseFor(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin takes the heads at first, and later makes sure that the feed still is the one that was read.
func (t *Tailer) begin(ctx context.Context) error {
	if t.positions != nil {
		return t.check(ctx, nil)
	}
	positions := make([]store.Position, t.store.Partitions())
	for partition := range positions {
		head, err := t.head(ctx, partition)
		if err != nil {
			return err
		}
		positions[partition] = head
	}
	t.positions = positions
	for partition := range positions {
		t.memory.Forget(partition) // what was read before the head is not vouched for
	}
	return nil
}

// check moves to the head, and wakes everyone, where a position is not good any more, or where its break was
// seen: the server that answers now may be another one, which has not lost the same.
func (t *Tailer) check(ctx context.Context, breaks map[int]error) error {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	each, err := t.store.Check(limited, t.positions)
	if err != nil {
		return err
	}
	for partition, cause := range each {
		if cause == nil {
			cause = breaks[partition]
		}
		switch {
		case errors.Is(cause, store.ErrRewound):
			if err := t.tellLoss(ctx, partition, cause); err != nil {
				return err
			}
		case errors.Is(cause, store.ErrTrimmed):
			t.logger.Warn("the change feed was trimmed before it was read: everyone looks again", "partition", partition)
		case cause != nil:
			return cause
		default:
			continue
		}
		head, err := t.head(ctx, partition)
		if err != nil {
			return err
		}
		t.positions[partition], t.recent[partition] = head, recentEntries{}
		unheard := t.memory.Forget(partition)
		if errors.Is(cause, store.ErrRewound) && len(unheard) > 0 {
			t.tellUnheard(partition, unheard)
		}
		t.hub.WakeAll()
	}
	return nil
}

// tellLoss finds out whose entries are gone, and tells.
func (t *Tailer) tellLoss(ctx context.Context, partition int, cause error) error {
	lost, more, err := t.recent[partition].lost(func(position store.Position) error {
		return t.contains(ctx, partition, position)
	})
	if err != nil {
		return err
	}
	t.logger.Warn("the store has lost writes: the change feed was rewound under the reader, everyone looks again",
		"error", cause, "partition", partition, "sessions", len(lost), "maybe_more", more)
	t.rewound(lost, more)
	return nil
}

func (t *Tailer) head(ctx context.Context, partition int) (store.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return t.store.Head(ctx, partition)
}

// contains fails if a position is no longer in the feed.
func (t *Tailer) contains(ctx context.Context, partition int, position store.Position) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := t.store.ReadFeed(ctx, partition, position, 1)
	return err
}

// wakeReferences wakes the watchers by reference whose reference may lead elsewhere now. The feed
// names no reference, which may be personal: the record does. It comes last, since it reads.
func (t *Tailer) wakeReferences(ctx context.Context, entries []store.Entry) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for _, entry := range entries {
		if !entry.Pointer || t.hub.Listening(hub.KindReference) == 0 {
			continue
		}
		session, err := t.store.Get(ctx, entry.SessionID)
		if err != nil {
			t.logger.Warn("a reference's watchers could not be told at once; they look again by themselves",
				"session_id", entry.SessionID, "error", err)
			continue
		}
		t.hub.Wake(hub.Reference(session.Reference))
	}
}

// Package tailer follows the store's feed for one process and wakes the hub: one reader, whatever
// the number of watchers. It notices when the feed was rewound under it, and after any time in which
// it may have missed something it wakes everyone. It knows no watcher and no session's content but
// the reference by which a new session may be watched.
package tailer

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"example.com/verification-status/server/internal/hub"
	"example.com/verification-status/server/internal/store"
)

const (
	// block is how long one wait for the feed lasts at most, and so how late a check may be.
	block = 500 * time.Millisecond
	// checkEvery is how often the positions are checked against the feed. After a failover that lost
	// entries, Redis neither fails nor leaves a gap: only the check sees it.
	checkEvery = 5 * time.Second
	// retryMin and retryMax bound the pause after a failure.
	retryMin, retryMax = 100 * time.Millisecond, 2 * time.Second
	// callTimeout bounds each call but Follow.
	callTimeout = 2 * time.Second
)

// Tailer follows one store.
type Tailer struct {
	store  store.Store
	hub    *hub.Hub
	logger *slog.Logger
}

// New makes a Tailer.
func New(s store.Store, h *hub.Hub, logger *slog.Logger) *Tailer {
	return &Tailer{store: s, hub: h, logger: logger}
}

// Run follows the feed until ctx ends. A store that is away is waited for.
func (t *Tailer) Run(ctx context.Context) {
	pause := retryMin
	for ctx.Err() == nil {
		began := time.Now()
		err := t.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, store.ErrRewound) || errors.Is(err, store.ErrTrimmed) {
			t.logger.Warn("the change feed was rewound or trimmed under the reader: everyone looks again", "error", err)
			continue
		}
		if time.Since(began) > retryMax {
			pause = retryMin
		}
		t.logger.Warn("the change feed cannot be read: trying again", "error", err, "pause", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, retryMax)
	}
}

// follow reads from the head on, until something fails.
func (t *Tailer) follow(ctx context.Context) error {
	positions, err := t.heads(ctx)
	if err != nil {
		return err
	}
	t.hub.WakeAll() // whatever came before the heads may have been missed
	checked := time.Now()
	for {
		entries, err := t.store.Follow(ctx, positions, block)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			positions[entry.Partition] = entry.Position
			t.hub.Wake(hub.Session(entry.SessionID))
			t.hub.Wake(hub.Partition(entry.Partition))
		}
		t.wakeReferences(ctx, entries)
		if time.Since(checked) < checkEvery {
			continue
		}
		if err := t.check(ctx, positions); err != nil {
			return err
		}
		checked = time.Now()
	}
}

func (t *Tailer) heads(ctx context.Context) ([]store.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	positions := make([]store.Position, t.store.Partitions())
	for partition := range positions {
		head, err := t.store.Head(ctx, partition)
		if err != nil {
			return nil, err
		}
		positions[partition] = head
	}
	return positions, nil
}

// check fails if a position is no longer in the feed.
func (t *Tailer) check(ctx context.Context, positions []store.Position) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for partition, position := range positions {
		if _, err := t.store.ReadFeed(ctx, partition, position, 1); err != nil {
			return err
		}
	}
	return nil
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

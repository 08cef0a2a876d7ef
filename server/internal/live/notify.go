package live

import (
	"context"
	"math/bits"
	"runtime"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// notifier knows which topics a change wakes.
type notifier struct {
	hub       *hub.Hub
	partition func(sessionID string) int
	followed  func(partition int) bool // whether the feed of a partition is followed now
}

// committed wakes the watchers of a commit of this process. If it has woken anybody, it yields the processor to
// them: its caller still has a log line and an answer to write, for which nobody waits. Watchers of a partition read
// what the follower has read, so the follower wakes them, unless it cannot read.
func (n notifier) committed(committed verification.Session, before string) {
	session := n.hub.Wake(hub.Session(committed.ID))
	at := n.partition(committed.ID)
	partition := !n.followed(at) && n.hub.Wake(hub.Partition(at))
	reference := committed.Reference != before && committed.Reference != "" && n.hub.Wake(hub.Reference(committed.Reference))
	if session || partition || reference {
		runtime.Gosched()
	}
}

// session wakes the watchers of one session.
func (n notifier) session(id string) { n.hub.Wake(hub.Session(id)) }

// deliver invalidates the cached sessions of all entries first, then wakes their watchers: a watcher that reads at
// once must not get the older session from the cache. It reports whether it woke the watchers of any session.
func (f *follower) deliver(entries []store.Entry) (woke bool) {
	wake := make([]bool, len(entries))
	for n, entry := range entries {
		f.changed(entry.SessionID, entry.Revision)
		wake[n] = f.cache.invalidate(entry.SessionID, entry.Revision)
		woke = woke || wake[n]
	}
	var partitions uint64 // a bit for each that has an entry
	for n, entry := range entries {
		if wake[n] {
			f.hub.Wake(hub.Session(entry.SessionID))
		}
		partitions |= 1 << entry.Partition
	}
	for ; partitions != 0; partitions &= partitions - 1 {
		f.hub.Wake(hub.Partition(bits.TrailingZeros64(partitions)))
	}
	return woke
}

// wakeReferences wakes the watchers by reference whose reference can lead to another session now. The feed
// does not name references, which can be personal; the record does. wakeReferences comes last, since it reads
// the store.
func (f *follower) wakeReferences(ctx context.Context, entries []store.Entry) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for _, entry := range entries {
		if !entry.Pointer || f.hub.Listening(hub.KindReference) == 0 {
			continue
		}
		session, err := f.store.Get(ctx, entry.SessionID)
		if err != nil {
			f.logger.Warn("cannot read a session to wake the watchers of its reference; they read again within 30 s",
				"session_id", entry.SessionID, "error", err)
			continue
		}
		f.hub.Wake(hub.Reference(session.Reference))
	}
}

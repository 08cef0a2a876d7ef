package live

import "time"

// Memory is what this process remembers of sessions, and must be told what the feed says; see
// nearcache.Cache.
type Memory interface {
	// Told reports whether the watchers of the session must still be told.
	Told(id string, revision int32) (news bool)
	// Trust returns the sessions whose commit by this process the feed ought to have told of, and has not.
	Trust(partition int, until time.Time) (lost []string)
	// Forget returns the sessions whose commit by this process the feed had not told of yet.
	Forget(partition int) (unheard []string)
	Distrust()
}

// trust lets the memory be used as far as the feed was followed, and checked.
func (t *Tailer) trust(checked time.Time) {
	known, all := checked, true
	for partition := range t.positions {
		until := t.store.Followed(partition)
		if until.IsZero() {
			all = false
			continue
		}
		if checked.Before(until) {
			until = checked
		}
		if until.Before(known) {
			known = until
		}
		if lost := t.memory.Trust(partition, until); len(lost) > 0 {
			t.tellUnheard(partition, lost)
		}
	}
	if all {
		t.known.Store(&known)
	}
}

// tellUnheard tells of commits of this process that the store has lost before the feed told of them: the
// positions are good all the same.
func (t *Tailer) tellUnheard(partition int, lost []string) {
	t.logger.Warn("the store has lost writes: commits of this process are not in the change feed", "partition", partition, "sessions", len(lost))
	t.rewound(lost, false)
	t.hub.WakeAll()
}

// Lag is how far this process is behind the feed: the time that has passed since that up to which it
// has been told all that came, in every partition, and has seen that the feed still is the one that it
// follows. Before the first time: since New. It may be called by anybody.
func (t *Tailer) Lag() time.Duration { return time.Since(*t.known.Load()) }

package tailer

import "time"

// Memory is what this process remembers of sessions, and must be told what the feed says; see
// nearcache.Cache.
type Memory interface {
	// Told reports whether the watchers of the session must still be told.
	Told(id string, revision int32) (news bool)
	Trust(partition int, until time.Time)
	Forget(partition int)
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
		t.memory.Trust(partition, until)
	}
	if all {
		t.known.Store(&known)
	}
}

// Lag is how far this process is behind the feed: the time that has passed since that up to which it
// has been told all that came, in every partition, and has seen that the feed still is the one that it
// follows. Before the first time: since New. It may be called by anybody.
func (t *Tailer) Lag() time.Duration { return time.Since(*t.known.Load()) }

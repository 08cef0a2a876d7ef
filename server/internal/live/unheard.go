package live

import (
	"sync"
	"time"
)

// unheard are the commits of this process in one partition that the feed has not told of yet. A store that
// loses a commit before the feed was read up to it leaves the reader's position good: nothing but the entry
// that does not come tells of the loss. Its lock is taken within a shard's, never the other way round.
type unheard struct {
	mu      sync.Mutex
	commits map[string]ownCommit // by session
}

// ownCommit is the newest commit of a session, and when it had been answered.
type ownCommit struct {
	revision int32
	at       time.Time
}

func (u *unheard) add(id string, revision int32, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.commits == nil {
		u.commits = make(map[string]ownCommit)
	}
	if u.commits[id].revision < revision { // else the newer one was noted first
		u.commits[id] = ownCommit{revision, at}
	}
}

// told notes that the feed has come to a revision.
func (u *unheard) told(id string, revision int32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if commit, ok := u.commits[id]; ok && commit.revision <= revision {
		delete(u.commits, id)
	}
}

// lost removes and returns the sessions whose commit had been answered before the feed was followed to its end.
func (u *unheard) lost(until time.Time) (ids []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, commit := range u.commits {
		if commit.at.Before(until) {
			ids = append(ids, id)
			delete(u.commits, id)
		}
	}
	return ids
}

// forget removes and returns all.
func (u *unheard) forget() (ids []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id := range u.commits {
		ids = append(ids, id)
	}
	u.commits = nil
	return ids
}

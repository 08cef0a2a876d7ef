package live

import (
	"sync"
	"time"
)

// ownCommits holds the commits of this process in one partition that the feed has not shown yet. A store that
// loses a commit before the follower has read it leaves the follower's position good: only the entry that never
// comes shows the loss. The zero value is ready. Its lock is taken within a shard's, never the other way round.
type ownCommits struct {
	mu      sync.Mutex
	commits map[string]ownCommit // by session
}

// ownCommit is the newest commit of a session, and when the store answered it.
type ownCommit struct {
	revision int32
	answered time.Time
}

func (o *ownCommits) add(id string, revision int32, answered time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.commits == nil {
		o.commits = make(map[string]ownCommit)
	}
	if o.commits[id].revision < revision { // else the newer one was added first
		o.commits[id] = ownCommit{revision, answered}
	}
}

// confirm notes that the feed has shown a revision.
func (o *ownCommits) confirm(id string, revision int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if commit, ok := o.commits[id]; ok && commit.revision <= revision {
		delete(o.commits, id)
	}
}

// overdue removes and returns the sessions whose commit was answered before a time up to which the feed was read
// to its end.
func (o *ownCommits) overdue(until time.Time) (ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, commit := range o.commits {
		if commit.answered.Before(until) {
			ids = append(ids, id)
			delete(o.commits, id)
		}
	}
	return ids
}

// clear removes and returns all sessions.
func (o *ownCommits) clear() (ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id := range o.commits {
		ids = append(ids, id)
	}
	o.commits = nil
	return ids
}

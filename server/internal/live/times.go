package live

import "time"

// The times of the protocol. The table in doc.go repeats them; TestTheTimesFitTogether holds the table to
// these constants and holds their relations.
const (
	// FreshnessBound is the age at which a cached answer becomes too old: the cache answers only while the
	// feed was read to its end, and its positions were checked, less than FreshnessBound ago.
	FreshnessBound = time.Second
	// followBlock bounds one wait for the feed, and so how late a check can be.
	followBlock = 250 * time.Millisecond
	// checkEvery is the pause between two checks of the positions. After a failover that lost entries, or a
	// FLUSHALL, Redis neither fails nor leaves a gap: until an entry comes that does not follow the one
	// before it, only the check sees the loss.
	checkEvery = 250 * time.Millisecond
	// updateGrace is how long the wake-up for an entry waits for an update of the session that is in flight
	// here. The update can hang for seconds, such as on late replicas or on a node that holds an index.
	updateGrace = 100 * time.Millisecond
	// ownPause is the pause after an answer of the feed that held nothing but this process's own commits.
	// Their watchers are awake already; without the pause a busy process reads the feed once for each commit.
	// Changes of other processes arrive that much later.
	ownPause = 5 * time.Millisecond
	// watchedPause is the same pause while there are watches of all sessions: they wait for the follower also for
	// the commits of this process.
	watchedPause = time.Millisecond
	// readTimeout bounds a read of the store that several callers can be waiting for.
	readTimeout = 5 * time.Second
	// callTimeout bounds each of the follower's calls to the store but Follow.
	callTimeout = 2 * time.Second
	// retryMin and retryMax bound the pause after the feed could not be read.
	retryMin, retryMax = 100 * time.Millisecond, 2 * time.Second
	// logEvery is the pause between two log lines of one outage.
	logEvery = time.Minute
)

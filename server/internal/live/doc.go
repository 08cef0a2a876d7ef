// Package live is what this process knows of sessions now, and who waits for their changes. A View caches
// sessions in front of the store, follows the store's feed of changes, and wakes the watchers of a session that
// changed. This page is the whole protocol between a commit, here or in another process, and a watcher.
//
// The package refuses to know what a session means (verification decides), how a watcher shows it (rpc), and
// which database keeps it (the store's adapter).
//
// # Parts
//
//   - The store holds the truth: one record for each session, and the feed with one entry for each new
//     revision, in the same commit. The feed has partitions; all entries of a session are in one partition, in
//     order.
//   - The cache holds sessions that were read or committed here, and a counter for each session, its
//     generation, which moves whenever something newer becomes known. Sessions share counters: a change of one
//     can cost another a miss, never a stale answer.
//   - The follower is one goroutine (View.Run). It reads all partitions of the feed for the whole process.
//     Without it the cache never answers, and only commits of this process wake watchers.
//   - The hub carries wake-ups. A wake-up says "read again" and holds no data, so nothing can overflow, and
//     wake-ups that come together are one. Topics are a session, a reference, and a partition of the feed.
//   - Watchers (the calls of WatchStatus, and GetStatus with a min_revision that has not come yet) subscribe
//     first, then read what follows the last revision they sent, send it, and wait for the next wake-up. So no
//     change falls between the read and the wait.
//
// # Which read comes from where
//
// Peek answers from the cache alone; nil is a miss. Session answers from the cache, and reads the store on a
// miss. Callers that miss at the same generation share one read. Get always reads the store, and caches the
// answer. Update reads and commits in the store, and caches the result. Newest, List, Head and ReadFeed never
// use the cache: a watch of all sessions reads the feed and the records from the store.
//
// # A commit of this process: cache, wake, answer
//
//  1. Update notes that an update of the session is in flight, and takes the generation.
//  2. The store commits the record and the feed entry.
//  3. If the feed has not shown the revision yet, it is noted as unconfirmed: the feed must show it.
//  4. The session enters the cache, unless a newer revision is known by now. Older copies are gone, and reads
//     under way do not enter the cache.
//  5. The watchers wake: those of the session, of its partition, and of its reference if that has changed. They
//     find the session in the cache.
//  6. Update returns, and only then the webhook or call is answered.
//
// # An entry of the feed: check, cache, wake
//
//  1. The follower reads new entries of all partitions. Each entry must follow the one before it, by number and
//     by the nonce that it names; else something was lost (see Losses).
//  2. The cache learns all entries: a copy older than the entry's revision is evicted, and the generation
//     moves, so that no read from before enters the cache or is shared with a caller that comes later. A
//     revision that was unconfirmed is confirmed.
//  3. Only then the watchers wake: those of the session and of the partition. Each reads, and misses the cache
//     at first; one read of the store serves all.
//  4. If the entry says that a reference can lead to another session now, and anybody watches a reference, the
//     follower reads the record and wakes the watchers of its reference. The feed names no reference, which can
//     be personal.
//
// The entry of a commit of this process wakes no watcher of the session again, only those of the partition. It
// mostly comes before the answer of the commit, because Redis serves the waiting follower first. While an
// update of the session is in flight here, the wake-up of the session's watchers is left to it: its own step 5
// wakes them, or its end does if the feed showed a newer revision than it committed, or a timer does after
// updateGrace if it hangs. If an answer of the feed held nothing but such entries, the follower pauses for
// ownPause, so that a busy process does not read the feed once for each of its own commits. Otherwise a change
// of another process arrives as soon as the store delivers it.
//
// # Promises
//
//   - Staleness. The cache answers for a partition only while it is fresh: the follower has read the partition
//     to its end, and checked that the feed is still the one it follows, less than FreshnessBound ago. An
//     answer is as old as that at most. Otherwise reads go to the store; the entries stay, and answer again
//     once the follower has caught up.
//   - A read that began before a change was known never enters the cache, and never answers a caller that the
//     change woke.
//   - Nothing goes back. A session is never answered at an older revision than an answer of this View that was
//     complete when the question came.
//   - min_revision. Session answers at minRevision or later, or from a read of the store that began after the
//     call.
//   - A lost wake-up only delays. Each watch also reads by itself, after 24 to 36 s (rpc). Such a read is in
//     the Background: it gets at most a quarter of the slots.
//   - A revision must be proven. The store can lose a revision that was read here before the feed showed it,
//     and the feed then shows no sign. A cached revision is served for FreshnessBound after it was first seen;
//     beyond that only if a read that began after the feed was followed past that moment has found the same
//     version of it.
//
// # Losses
//
// Redis can lose its newest writes in a failover, or all of them. The follower notices in three ways: an entry
// that does not follow the one read before it; the check of its positions, every checkEvery; a commit of this
// process that is still unconfirmed although the feed was read past the moment of its answer.
//
//   - Rewound (the first two): Config.Lost is called with the sessions whose entries are gone, as far as the
//     newest 1,024 entries of the partition tell, and with more if there can be others. Then the follower moves
//     to the head of the partition, the whole cache is emptied, Lost is called with the partition's unconfirmed
//     commits, and all watchers wake. Reads under way do not enter the cache.
//   - Trimmed before it was read: the same without Lost; nothing was lost but entries.
//   - Unconfirmed: Lost is called with those sessions, they leave the cache, and all watchers wake.
//
// At the start the follower takes the heads of all partitions, and all watchers wake. If the feed cannot be
// read, the cache is stale at once, the follower keeps its positions, retries after retryMin to retryMax,
// checks its positions first, and wakes all watchers: it can have missed something.
//
// # Limits
//
// One change can wake thousands of watches. They read through Limited: at most Config.WatchReads reads of the
// store are under way at once, and the others wait for a slot. Answers from the cache need no slot. Calls and
// webhooks do not read through it, and so never wait behind watches.
//
// # Times
//
//	FreshnessBound  1s     an older answer of the cache is not given
//	followBlock     250ms  longest wait for a new entry
//	checkEvery      250ms  pause between two checks of the positions
//	updateGrace     100ms  longest wait of a wake-up for an update in flight here
//	ownPause        5ms    pause after own commits; delays changes of other processes
//	readTimeout     5s     bound of a shared read of the store
//	callTimeout     2s     bound of the follower's other calls
//	retryMin        100ms  first pause after the feed could not be read
//	retryMax        2s     last pause after the feed could not be read
//	logEvery        1m0s   pause between two log lines of one outage
//
// They must fit:
//
//	2*FreshnessBound >= 3*(followBlock+checkEvery)  a quiet feed is fresh all the time, on a busy machine too
//	updateGrace < FreshnessBound                    no wake-up is held back for longer than an answer can be old
//	ownPause < updateGrace                          the pause delays less than an update that hangs
//	retryMin < retryMax                             the pause grows
//	retryMax+callTimeout < logEvery                 a store that hangs is logged once a minute, not at each try
//
// # Concurrency
//
// All methods of View can be called by any goroutine; Run is called once. The cache has 64 shards with a lock
// each, held for a few instructions, never over a call of the store or a wake-up. Wake-ups never block.
package live

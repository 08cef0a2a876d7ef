// Package live holds the sessions that this process knows, and the watchers that wait for their changes. A View
// caches sessions in front of the store, follows the store's feed of changes, and wakes the watchers of a session
// that changed. This page is the whole protocol between a commit, here or in another process, and a watcher.
//
// The package refuses to know what a session means (verification decides), how a watcher shows it (rpc), and
// which database keeps it (the store's adapter).
//
// # Parts
//
//   - The store holds the truth: one record for each session, and the feed with one feed entry for each new
//     revision, written in the same commit. The feed has partitions. All feed entries of a session are in one
//     partition, in order. A position names the last feed entry that was read of a partition, by its number and
//     its nonce, a random value. The head is the newest end.
//   - The tail of a partition holds its newest feed entries, as the follower has read them: at least 1,024, if there were
//     so many. The count of the entries that have arrived here is part of the generation of the sessions of the partition.
//   - The cache holds sessions that were read or committed here. Each session has a counter, the generation, that
//     moves when something newer becomes known of the session. Sessions can share a counter, which can only keep a
//     read out of the cache. A read of the store takes the generation before it begins; its result is cached only if
//     the generation is the same when the read ends. Its caller gets the result either way.
//   - The follower is one goroutine (View.Run). It reads all partitions of the feed for the whole process.
//   - The hub carries wake-ups. A wake-up says "read again" and holds no data, so nothing can overflow, and
//     wake-ups that come together are one. Topics are a session, a reference, and a partition of the feed.
//   - A watcher subscribes to a topic first. Then it reads what follows the last revision that it has sent, sends
//     it, and waits for the next wake-up. So no change falls between the read and the wait. Watches (calls of
//     WatchStatus) are watchers, and so is a call of GetStatus while it waits for its min_revision.
//
// # Which read comes from where
//
// View.Peek answers from the cache alone; nil is a miss. View.Session, which GetStatus and watches of one session
// use, answers from the cache, and reads the store on a miss. A cached revision below minRevision is a miss.
// Callers that miss at the same generation share one read. View.Get always reads the store, and caches the result.
// View.Update reads and commits in the store, and caches the result. Newest, List, Head and ReadFeed never use
// the cache.
//
// Watches of all sessions read the same entries at about the same time. View.Tail answers from the tail, if the partition
// is fresh (see Staleness) and the watch's position is in the tail. Otherwise the watch asks ReadFeed. View.SessionAt
// returns the record of an entry: from the cache if a read that began after the entry arrived here has found the
// cached copy, and otherwise by a read that is shared. For an entry that is not in the tail it is Get.
//
// # A commit of this process
//
//  1. Update notes that an update of the session is in flight, and takes the generation.
//  2. The store commits the record and the feed entry, and replies.
//  3. If the feed has not shown the revision yet, the commit is noted as unconfirmed: the feed must show it.
//  4. The session is cached in place of older copies. The generation moves.
//  5. The watchers of the session wake, and, if the session has a new reference, those of the new reference. The
//     session is in the cache for them. The watchers of the partition wake with the feed entry, when it is in the
//     tail. They wake here only if the partition is stale.
//  6. Update returns. The webhook or the caller is answered after that.
//
// # A feed entry
//
//  1. The follower reads new feed entries of all partitions. Each must follow the one before it: by its number, and
//     by the nonce of the entry before it, which it names. Otherwise the store has lost something (see Losses). An
//     entry that follows is added to the tail.
//  2. For each of the entries, a cached copy that is older than the entry's revision is evicted. The generation
//     moves, unless the cache holds the revision of the entry or a newer one. So a read that began before is not
//     cached, and is not shared with a caller that comes later. If the commit of the entry was unconfirmed, it is
//     confirmed.
//  3. When step 2 is done for all of them, the watchers wake: those of each session (except after an own commit, see
//     below) and of each partition. The first watcher of a session to read misses the cache, and one read of the
//     store serves all. If watchers woke first, they would find the old copy in the cache.
//  4. If an entry says that a reference can lead to another session now, and a watcher of any reference exists, the
//     follower reads the session and wakes the watchers of its present reference. The feed does not name
//     references: they can be personal data.
//
// A session's watchers that were woken by a commit of this process are not woken again by its feed entry. That
// entry usually reaches the follower before the store's reply reaches Update, because Redis serves a blocked reader
// first. So if a feed entry arrives while this process has updates of the session in flight, the follower does not
// wake the session's watchers. Each of these updates does: in step 5 if it commits, and when it ends if the
// feed has shown a newer revision than it committed, or if it committed nothing. If one of them is still in flight
// updateGrace after the entry's arrival, a timer wakes the watchers. Watchers of partitions and references do not depend on this. If one read
// of the feed held only entries that woke no session's watchers, the follower pauses for ownPause, or for watchedPause if
// there are watches of all sessions: a busy process need not read the feed once for each of its own commits.
//
// # Promises
//
//   - Staleness. The cache answers for a partition only if both are less than FreshnessBound old: the follower's last
//     read of the partition to its end, and the last check that found its position in the feed. This is compared with
//     the clock at each answer, so it holds if the follower hangs. Otherwise reads go to the store; the cached sessions stay, and
//     answer again when the follower has caught up. An answer of the store is as old as the begin of its read. A
//     caller that joins a shared read can get one that began up to readTimeout before.
//   - A read that began before a change became known here is never cached, and never answers a watcher that the
//     change woke.
//   - Nothing goes back, unless the store does. If a call has returned revision n, calls that begin later return n or
//     a later one, unless the store has lost n.
//   - minRevision. View.Session returns minRevision or a later revision, or the result of a read of the store that
//     began after the call, which can be lower. If a shared read returns less, the call reads again alone.
//   - A lost wake-up only delays. Each watch also reads by itself, 24 to 36 s after its last read (rpc). Such a
//     read is marked by Background. GetStatus gives up its wait for min_revision after 2 s (rpc).
//   - A revision must be proven. The store can lose a revision before the feed has shown it, and the feed then
//     shows no sign of the loss. Let T be when this process first read or committed a revision. The cache serves it
//     until T + FreshnessBound. After that it serves the revision only if it is proven: another read of the store,
//     begun after the follower had read the feed past T, found the same revision with the same content.
//   - A record for an entry was in the store after the entry had arrived here. A copy that was committed or read
//     before can be of a lost timeline, with the same revision: it is never shown for the entry. So a watch of all
//     sessions that is told of an entry gets what the entry's commit left, or a position that is lost as well.
//
// # Losses
//
// Redis can lose its newest writes in a failover, or all of them. The follower notices in three ways: a feed entry
// that does not follow the one before it; the check of its positions, after each checkEvery; a commit that is still
// unconfirmed after the feed was read to its end later than the store's reply. While Redis answers, the last two
// notice a loss within followBlock and checkEvery together, and the first when the entry is read.
//
//   - Rewound: the feed no longer has the follower's position, in the first or second way. Config.Lost is called with the
//     sessions of the lost entries. The follower keeps the newest 1,024 entries of each partition to tell them; if
//     more can be lost, the parameter more is true. Then the follower moves to the head of the partition, the whole
//     cache is emptied, and so is the partition's tail, Lost is called with the partition's unconfirmed commits, and all
//     watchers wake. Reads under way are not cached. Watches of all sessions at a lost position no longer find it in the
//     tail, and ReadFeed says that it is lost.
//   - Trimmed: entries were removed for their age before the follower read them. The same, but Lost is not called:
//     only entries are lost, no revisions.
//   - Unconfirmed: Lost is called with those sessions, they leave the cache, and all watchers wake.
//
// The app reads lost sessions again at Stripe. At the start the follower takes the heads of all partitions, and all
// watchers wake. If a read of the feed fails, the cache stops answering at once; the follower keeps its positions
// and tries again, with pauses that grow from retryMin to retryMax. When the store answers again, the follower
// checks its positions, wakes all watchers once, because it can have missed something, and reads on.
//
// # Limits
//
// One change can wake thousands of watches. They read through View.Limited: at most Config.WatchReads of their
// reads of the store are under way at once, and the others wait for a slot, first come first served. Reads
// marked by Background get at most a quarter of the slots: the others of them wait in a queue of their own, so that
// woken watches pass them. A watch looks into the cache first, and needs no slot for its answer. On a miss it takes
// its slot, looks into the cache again, and begins or joins a read. GetStatus, retries and webhooks do
// not use slots, also while GetStatus waits for its min_revision: they never wait behind watches. Neither does the
// follower.
//
// # Times
//
//	FreshnessBound  1s     an older answer of the cache is not given
//	followBlock     250ms  longest wait for a new feed entry
//	checkEvery      250ms  pause between two checks of the positions
//	updateGrace     100ms  longest wait of a wake-up for an update in flight here
//	ownPause        5ms    pause after own commits; delays changes of other processes
//	watchedPause    1ms    the same while there are watches of all sessions
//	readTimeout     5s     bound of a shared read of the store
//	callTimeout     2s     bound of the follower's other calls of the store
//	retryMin        100ms  first pause after the feed could not be read
//	retryMax        2s     last pause after the feed could not be read
//	logEvery        1m0s   pause between two log lines of one outage
//
// A test checks these relations:
//
//	2*FreshnessBound >= 3*(followBlock+checkEvery)  a quiet feed is proven fresh once in followBlock+checkEvery; half as much again is
//	                                                margin. Below it the cache is stale part of the time, and reads go to the store
//	updateGrace < FreshnessBound                    no wake-up is held back for longer than an answer can be old
//	ownPause < updateGrace                          the pause delays less than an update that hangs
//	watchedPause < ownPause                         watches of all sessions get changes sooner
//	retryMin < retryMax                             the pause grows
//	retryMax+callTimeout < logEvery                 a store that hangs is logged once a minute, not at each try
//
// # Concurrency
//
// All methods of View can be called by any goroutine; call Run once. The cache has 64 shards with a lock each, held
// for a few instructions, never over a call of the store or a wake-up. Wake-ups never block.
package live

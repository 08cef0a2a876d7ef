// Package checker decides whether what clients saw of the service keeps its guarantees. A test reports to a Recorder every
// response to a watch, a GetStatus and a RetryVerification, every event that a simulated Stripe emitted, the final state of each
// session at Stripe, and every fault by which the store can have lost writes. Check then compares the record with ten rules.
//
// The package is an oracle for tests and shares no logic with the service: it counts failures, finds holes and compares
// contents with code of its own. It starts nothing and sends nothing. It knows no Redis, no transport, and no time but the clock
// of its caller. It keeps links as hashes only. Its reports show neither the reasons that Stripe writes for people nor references.
//
// # Excuses
//
// Three things excuse a breach, each only if a rule says so:
//
//   - A redaction removes revisions that were not yet delivered: they collapse into the revision that records it. A hole is
//     excused if the revision before it is not redacted, the one after it is, and no client saw an earlier redacted revision in
//     between.
//   - OUT_OF_RANGE ends a watch. The streams after it count as a new watch. OUT_OF_RANGE is itself a violation if neither a loss
//     nor a trimmed feed explains it.
//   - A Loss (FLUSHALL, a failover) begins a new era of the sessions that it affects. Responses during the loss belong to neither
//     era. Comparisons across watches and calls stay within an era. Within one watch nothing is excused: a watch that a loss
//     affects must end with OUT_OF_RANGE. The one exception is a watch of a session or reference that resumes into a redacted
//     revision, because the redaction has erased the evidence of the loss. A watch that showed a lost revision must not resume
//     at all. A revision that the loss kept, by Loss.Kept, belongs to the era before it and to the one after it. A lost content
//     that a client sees again after the loss belongs to the new era too: it contradicts the content that replaced it.
//     A failover is a loss even with WAIT: WAIT keeps acknowledged writes, but a reader can have seen a write that was never
//     acknowledged.
package checker

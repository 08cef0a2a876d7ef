// Package checker decides whether what clients saw of the service keeps its guarantees. A Recorder is
// told of every response to a watch, a GetStatus and a RetryVerification, of every event that a
// simulated Stripe emitted, of Stripe's final word, and of every fault by which the store may have
// lost acknowledged or visible writes. Check then holds all of it against ten named rules.
//
// It is an oracle for tests and shares no logic with the service: it counts failures, finds holes and
// compares contents by itself. It starts nothing, speaks to nobody, and knows no Redis, no transport
// and no time but the clock it is given. It keeps links as hashes only, and its reports show neither
// Stripe's sentences for the person nor references.
//
// # What is excused
//
// Three things, each only where a rule says so:
//
//   - A redaction takes away the revisions that were not yet delivered: they collapse into the one that
//     records it. A hole is excused if what precedes it is not redacted, what follows is, and nobody saw
//     an earlier redacted revision in between.
//   - OUT_OF_RANGE ends a watch for good: what follows is judged as a new one. It is a violation itself
//     where neither a loss nor a trimmed feed explains it.
//   - A Loss (FLUSHALL, a failover) begins a new era of the sessions that it affects. What was seen
//     while it went on belongs to neither era. What is compared across watchers and calls is compared
//     within an era. What one watch shows is not excused: a watch that a loss concerns must be told so.
//     The one exception is a watch of a session or reference that goes on into a redacted revision: the
//     redaction has erased what would tell of the loss.
//     A watch that had told what the loss took must not go on at all.
//     Where Kept says what a loss has left, that is of the era before and of the one after. A lost content
//     that somebody is shown again after the loss is of the new era too: it contradicts what replaced it.
//     A failover is a loss even where WAIT is used: WAIT keeps what was acknowledged, but a reader may
//     have seen a commit that never was.
package checker

// Rule names one property of what clients see.
type Rule string

// The rules, with the guarantees of the design that each checks.
const (
	// Ordered (G5, G6): within one watch the revisions of a session rise. A watch by reference does not
	// come back to a session that it went on from; a watch by id tells of no other session. A watch of
	// all sessions may tell the newest change of a session again, and after a resume older ones too.
	Ordered Rule = "Ordered"
	// Unique (G5): no revision comes twice in one logical watch of a session or reference, across
	// resumes too. What follows an older token than the last one is not a repeat.
	Unique Rule = "Unique"
	// Gapless (G4, G5, G6): after the snapshot each later revision is the one before plus 1. A watch of
	// all sessions must tell, of every session that it tells of or that was born after its first
	// response, each later revision, and at its end the newest one that anybody saw; a change is known
	// to be later than the first response if Stripe's time of it is. Redaction collapses; across eras
	// only what the watch itself told is compared.
	Gapless Rule = "Gapless"
	// Resumable (G5, G6, G7): every response has a token of at most 2 KiB, and a resume with it goes on
	// right behind that response. A token of the same watch is never INVALID_ARGUMENT. OUT_OF_RANGE needs
	// a loss since the watch began, or Options.Trimmed; by reference also a redaction explains it. After
	// a loss of everything no watch goes on from before it, but for one of a session or reference into
	// a redacted revision: the redaction has erased what would tell.
	Resumable Rule = "Resumable"
	// SnapshotFirst (G5, G6): without a token, the first response to a watch of a session or reference
	// holds a verification; that to a watch of all sessions never does, with a token or without.
	SnapshotFirst Rule = "SnapshotFirst"
	// SettledEnds (the contract of until_settled): such a watch ends with OK after a settled response and
	// only then (by reference not where the session is superseded); it sends nothing but later revisions
	// and ends within 5 s after it; no other watch ends with OK; and `settled` says what the status and
	// redaction say.
	SettledEnds Rule = "SettledEnds"
	// NeverBackwards (G2, G4, G8): an answer to min_revision has it; REVISION_LOST and NOT_FOUND do not
	// come for a revision that somebody saw and no loss explains. One revision of one session looks the
	// same wherever it is seen in an era, but for what depends on the clock and the policy (allowed,
	// denial, remaining, next time). With rising revisions of an era, update_time, redaction and both
	// counts never fall.
	NeverBackwards Rule = "NeverBackwards"
	// Fresh (G8, the contract of GetStatus): with Options.Freshness, an answer is no older than what
	// anybody had seen for that long when the call came. No server answers with an older revision than
	// in an answer of its own that was complete by then.
	Fresh Rule = "Fresh"
	// Converged (G1, G2, G3): when all is quiet, the last GetStatus by id of each session that Stripe
	// holds shows Stripe's status, error code and redaction, and has counted each failure that was
	// emitted once (by report, else by event; `abandoned` is none), and what it inherited. Of the
	// inherited count the least is what the old session showed before its replacement was granted (0 where
	// a loss concerned either), the most what it shows at the end (any where there was a loss).
	Converged Rule = "Converged"
	// AtMostLimit (G9): retries_granted is MAX_RETRIES at most over a chain of replaced sessions; within an
	// era it grows at most once while one failure is shown, once for a replacement, and never otherwise,
	// but for what a successor inherits, once; it is never more than failures and replacements together;
	// each answered call has a link and no link is given twice; a session has one successor at most, in
	// all eras. After a loss a session may have replaced one of which nobody saw it, and a successor may
	// inherit again, beyond the limit: for those that live through a loss, and known successors after one,
	// the comparison with failures is left out, and for these the limit too; the rest is judged.
	AtMostLimit Rule = "AtMostLimit"
)

// rules is the order of a report.
var rules = []Rule{Ordered, Unique, Gapless, Resumable, SnapshotFirst, SettledEnds, NeverBackwards, Fresh, Converged, AtMostLimit}

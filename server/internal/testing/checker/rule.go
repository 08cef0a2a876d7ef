package checker

// Rule names one property of what clients see.
type Rule string

// The rules, with the guarantees that each one checks.
const (
	// Ordered (G5, G6): within one watch the revisions of a session rise. A watch by reference does not return to a session that
	// it left. A watch by id shows no other session. A watch of all sessions can repeat the newest change of a session, and after
	// a resume older changes too.
	Ordered Rule = "Ordered"
	// Unique (G5): no revision comes twice in one logical watch of a session or reference, also across resumes. A resume with a
	// token older than the last one does not repeat the revisions after it.
	Unique Rule = "Unique"
	// Gapless (G4, G5, G6): after the snapshot each revision is the previous one plus 1. A watch of all sessions must show each
	// later revision of every session that it shows, and of every session that was born after its first response. At its end it
	// must have shown the newest revision that any client saw. A change counts as later than the first response if Stripe's time
	// of it is later. Redaction collapses revisions. Across eras only what the watch itself showed is compared.
	Gapless Rule = "Gapless"
	// Resumable (G5, G6, G7): every response has a token of at most 2 KiB, and a resume with the token continues right behind
	// that response. A token of the same watch is never INVALID_ARGUMENT. OUT_OF_RANGE needs a loss since the watch began, or
	// Options.Trimmed; for a watch by reference a redaction explains it too. After a loss of everything no watch continues from
	// before the loss, except a watch of a session or reference into a redacted revision.
	Resumable Rule = "Resumable"
	// SnapshotFirst (G5, G6): without a token, the first response to a watch of a session or reference has a verification. The
	// first response to a watch of all sessions never has one, with or without a token.
	SnapshotFirst Rule = "SnapshotFirst"
	// SettledEnds (the contract of until_settled): such a watch ends with OK after a settled response, and only then. A watch by
	// reference does not end if the session is superseded. After a settled response the watch sends only later revisions and
	// ends within 5 s. No other watch ends with OK. The field settled agrees with status and redaction.
	SettledEnds Rule = "SettledEnds"
	// NeverBackwards (G2, G4, G8): an answer to min_revision has that revision. REVISION_LOST and NOT_FOUND do not come for a
	// revision that a client saw and that no loss explains. One revision of a session looks the same wherever it is seen in an
	// era, except for fields that depend on the clock and the policy (allowed, denial, remaining, next time). With rising
	// revisions of an era, update_time, redaction and both counts never fall.
	NeverBackwards Rule = "NeverBackwards"
	// OneOutcome (G13): within an era a revision shows one outcome_revision, outcome_id and replaces, wherever it is seen. The
	// outcome moves if status, error or report do, and never otherwise: not if a redaction or the archive erases them. With rising
	// revisions outcome_revision never falls. Servers that do not know outcomes are not compared.
	OneOutcome Rule = "OneOutcome"
	// Fresh (G8, the contract of GetStatus): with Options.Freshness, an answer is at most that much older than the newest
	// revision that any client had seen when the call came. No server answers with an older revision than in an answer of its
	// own that was complete when the call came.
	Fresh Rule = "Fresh"
	// Converged (G1, G2, G3): when all is quiet, the last GetStatus by id of each session that Stripe holds shows Stripe's status,
	// error code and redaction. It counts each emitted failure once (by report, else by event; "abandoned" does not count), and
	// what the session inherited. The least inherited count is what the old session showed before its replacement was granted
	// (0 if a loss affected either session). The greatest is what the old session shows at the end (no bound if there was a loss).
	Converged Rule = "Converged"
	// AtMostLimit (G9): over a chain of replaced sessions retries_granted is at most MAX_RETRIES. Within an era it grows at most
	// once while one failure is shown, once for a replacement, once by what a successor inherits, and never otherwise. It never
	// exceeds failures and replacements together. Each answered call has a link, and no link is given twice. A session has at
	// most one successor, in all eras. After a loss a session can have replaced one that no client saw, and a successor can
	// inherit again, beyond the limit. So sessions that live through a loss, and successors after one, are not compared with
	// their failures, and these successors not with the limit either. The rest of the rule holds for them.
	AtMostLimit Rule = "AtMostLimit"
)

// rules is the order of a report.
var rules = []Rule{Ordered, Unique, Gapless, Resumable, SnapshotFirst, SettledEnds, NeverBackwards, OneOutcome, Fresh, Converged, AtMostLimit}

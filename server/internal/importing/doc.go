// Package importing brings in the sessions that were there before this service: it reads Stripe's list of all sessions and
// begins a record for each one that is not known. It is the work of the command import. It runs beside the replicas and
// can be stopped at any moment.
//
// A list shows states and no events, so the package decides little. verification.ApplyImport begins a record and changes
// none. A known session that differs from the list is read again by ingest, as every read of Stripe is. The package knows
// neither Stripe's API nor how records are stored.
//
// The words:
//
//   - A job is one import of everything, from its start until each account is done. One that was stopped is unfinished, and
//     the next [Importer.Run] with the same Since resumes it.
//   - A position is the Unix second before which every session of an account was imported, by its time of creation. The
//     store keeps it, and Run resumes there.
//   - A window is a range of times of creation whose sessions are listed and then applied. Stripe lists the newest first.
//     With windows the oldest sessions come first, and the position can move.
//
// What keeps the import from harming others: a lease, so that one import runs at a time; a limit of its own for the reads
// of Stripe; and a bound of the changes that it adds to the feed, so that readers do not lose their positions (see pace.go).
package importing

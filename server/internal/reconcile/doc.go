// Package reconcile makes up for events that no webhook brought. It reads Stripe's list of events from where the last
// run stopped, and reads sessions again that are unresolved, that seem stuck, or whose writes the store might have lost.
//
// The package decides nothing about a session. Everything that it finds goes through ingest like a webhook, where a
// known event changes nothing. So a run can begin too early, repeat itself, or work beside a run of another replica. The
// package knows neither Stripe's API nor how records are stored.
//
// The words:
//
//   - The catch-up is the whole job. One [Reconciler.Run] catches up once; [Reconciler.Loop] runs it forever.
//   - A cursor is the Unix second up to which the events of an account have been applied.
//   - An account is behind if the last run did not reach the end of its events.
//   - A full run begins where Stripe's list begins, whatever the cursors say. A loss of the store makes one necessary for
//     each account.
//   - A session is due if its record asks to be read again; see verification.Session.DueAt.
//   - Drift is the number of events that no webhook had brought, without those that are older than the installation.
package reconcile

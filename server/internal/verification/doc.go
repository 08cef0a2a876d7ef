// Package verification is the pure core: what one verification session is, how Stripe's events and the answers
// of Stripe's API change it, and when a person may try again.
//
// The package decides and does nothing else. It knows no Redis, no gRPC, no Stripe library, no clock and no
// randomness. Times are arguments. Every function returns a new value and does not change its arguments, so tests
// can shuffle, repeat and drop inputs as often as they like.
//
// The words:
//
//   - A record is a [Session]: its [State], its position in Stripe's order, and its history.
//   - The state is what callers see. Each change of the state makes a new revision.
//   - An outcome is what an input made of status, error and report. It stays while other changes make revisions. See [OutcomeKey].
//   - An input is an [Event], a [Read] of Stripe's API, or something that this service did, such as a grant.
//   - The order of two events is ambiguous if only Stripe can tell which one came last. A record is unresolved if
//     the order of its inputs is ambiguous and Stripe has not yet been read.
//   - A record is redacted if Stripe erased the personal data. What remains is a tombstone.
//   - A record is archived if it was settled long ago and this service dropped its details.
package verification

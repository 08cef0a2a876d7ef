// Package shares divides what is scarce by caller, so that no caller takes all of it: calls that are
// under way, streams, health watches, reads at Stripe.
//
// A Pot has a number of units. A holder takes one unit for each thing that it does. There are three kinds
// of holders:
//
//   - A named caller (Named) has at most its share of the pot. Beyond its share it is refused, also while
//     units are free: callers that come later find units without having to wait for the first caller.
//   - A peer without credentials (Peer) is known by its address only, and addresses are cheap. All peers
//     together have a sixteenth of the pot, and each address a quarter of that. There the oldest unit gives
//     way to the newest: a peer that holds on to its units keeps no other peer out. The oldest unit of a peer also
//     gives way to a named caller if no unit is free, so that peers take nothing from named callers.
//   - The zero Holder is this service itself, or a caller of a server where callers have no names. Only the
//     size of the pot bounds it.
//
// Units are given back (Unit.Release) where the pot counts what is under way. Where it counts what is used
// up, such as a day's budget, they are not, and Reset begins the next period.
//
// The holder of a call is in the call's context: HolderOf. Work that no caller waits for has none.
//
// The package refuses to know what the units stand for, and how a refusal is told to a caller.
package shares

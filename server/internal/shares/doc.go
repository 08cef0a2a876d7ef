// Package shares divides a limited number of units by caller, so that no caller takes all of them. Units stand for calls
// that are under way, streams, health watches, or reads at Stripe.
//
// A Pot has a number of units. A holder takes one unit for each thing that it does. There are three kinds
// of holders:
//
//   - A named caller (Named) has at most its share of the pot. Beyond its share it is refused, also while
//     units are free: callers that come later find units without having to wait for the first caller.
//   - A peer without credentials (Peer) is known by its address only, and addresses are cheap. All peers
//     together have a sixteenth of the pot, and each address a quarter of that. If these units are all taken, the
//     oldest one is evicted for the newest: a peer that keeps its units keeps no other peer out. The oldest unit of a
//     peer is also evicted for a named caller if no unit is free, so that peers take nothing from named callers.
//   - The zero Holder is this service itself, or a caller of a server where callers have no names. Only the
//     size of the pot bounds it.
//
// A pot that counts work under way gets its units back by Unit.Release. A pot that counts what is used up, such as a
// day's budget, gets none back; Reset begins the next period.
//
// A Queue is a Pot of work under way whose callers wait for a unit instead of being refused.
//
// A Schedule divides a rate instead: it decides which of the waiting calls gets the next slot.
//
// The context of a call holds its Holder: see HolderOf. Work that no caller waits for has the zero Holder.
//
// The package refuses to know what the units stand for, and how a caller learns of a refusal.
package shares

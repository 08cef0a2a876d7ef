// Package consumers keeps the named consumers of the change feed: which stream of a consumer is served, what the consumer has
// acknowledged, and how far it is behind. It knows the store's port. It does not know tokens, rights, filters or gRPC, and it
// sends no changes.
//
// The protocol:
//
//   - The first stream of a name creates the consumer at the heads of the feed, for the caller that opened it. No other caller
//     can use it, unless its creator had no name.
//   - A stream holds the lease of its consumer: 15 s by the store's clock, renewed every 5 s, given back by Close. Another
//     stream is refused with a BusyError and stands by. The lease is no lock. After a hang two streams can overlap for a
//     moment, so a change can be handled twice.
//   - An acknowledgement never moves a position back. The stored position moves only to a position that the feed holds, and
//     only if it is lower in the same data set, or if the feed does not hold the stored position.
//   - What a stream did not send because of its filter is passed over: the service acknowledges it itself, but only in
//     partitions in which everything that was sent is acknowledged.
//   - A consumer is expired if changes after its position are gone. That is derived, never stored. It ends no stream, because
//     a stream has a position of its own, and an acknowledgement heals it. A stream that would begin there is refused.
//   - Every consumer has a random incarnation. After a deletion, or after the store has lost the consumer, calls of old streams
//     return store.ErrNotFound, and old tokens do not match the new incarnation. So no loss is silent.
package consumers

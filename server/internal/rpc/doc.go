// Package rpc implements the four services of the contract. It turns calls into reads of the store, watches into cursors over a
// session's revisions or positions in the feed, retries into grants and links, operators' calls into changes of a record, and
// comparisons into counted reads of Stripe.
//
// A watch subscribes to wake-ups, reads what follows its cursor, sends it, and waits: snapshot, resume and live are one
// loop (watch_status.go, watch_reference.go, watch_all.go over stream.go). Package live says which read can come
// from the cache and what wakes a watch.
//
// A watch of all sessions can be the stream of a named consumer (watch_consumer.go). Package consumers has its lease and its
// positions; this package has its tokens, and knows what its filter passed over.
//
// The package decides nothing about order, counts or permission to retry (verification does). It refuses to know the
// settings of the transport (grpcserver does), Redis and Stripe's library.
package rpc

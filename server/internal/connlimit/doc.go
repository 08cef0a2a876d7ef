// Package connlimit bounds how many connections a listener holds open. A connection is
//
//   - leased while work on it is under way (Acquire, Lease.Release),
//   - idle if it had a lease before,
//   - unused if it never had one.
//
// At the limit, a new connection is accepted and another one is closed for it: an unused one if there are many, else one
// of a caller that is beyond its share, else the one that has been idle longest. So a peer that opens thousands of
// connections and sends nothing shuts nobody out. If every connection is leased, the new one is refused at once.
//
// A named caller keeps at most its share of connections by leases. Its further connections can be closed for new ones
// while they are leased.
//
// Unused connections are at most a quarter of the limit, but at least 1,000. A high limit, for callers whose proxy
// opens a connection for each stream, therefore gives callers without credentials no more memory.
//
// The package refuses to know what is spoken on a connection: its callers acquire a lease when there is work.
package connlimit

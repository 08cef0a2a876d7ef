//go:build conformance

package client

import "time"

// minHeartbeat is shorter than the contract's 5 s, so that the conformance kit need not wait for 12.5 s until a watch notices
// silence. The kit's server sends heartbeats as often as asked. Only the kit builds with this tag.
const minHeartbeat = time.Millisecond

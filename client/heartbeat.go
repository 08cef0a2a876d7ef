//go:build !conformance

package client

import "time"

// minHeartbeat is the contract's shortest heartbeat.
const minHeartbeat = 5 * time.Second

//go:build conformance

package main

import "time"

// minHeartbeat is the client's shortest heartbeat.
const minHeartbeat = time.Millisecond

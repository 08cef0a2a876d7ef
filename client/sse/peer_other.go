//go:build !linux

package sse

import (
	"net"
	"time"
)

// limitUnacknowledged does nothing: there is no common way.
func limitUnacknowledged(*net.TCPConn, time.Duration) {}

//go:build !linux

package sse

import (
	"net"
	"time"
)

// limitUnacknowledged does nothing: other systems have no common option for it.
func limitUnacknowledged(*net.TCPConn, time.Duration) {}

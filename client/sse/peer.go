package sse

import (
	"context"
	"net"
	"time"
)

// peerTimeout is how long a browser's machine may leave sent bytes unacknowledged.
const peerTimeout = 30 * time.Second

// ConnContext is for http.Server.ConnContext. It has the kernel break a connection whose other end has
// acknowledged nothing for half a minute. A phone that changed its network, or went out of reach, says no
// goodbye: by default Linux sends to it for a quarter of an hour, and its streams stay open as long.
//
// It works on Linux, for browsers that connect directly. Behind a proxy, and elsewhere, a dead stream ends
// with its greatest age.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	for {
		wrapped, ok := conn.(interface{ NetConn() net.Conn }) // TLS
		if !ok {
			break
		}
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		limitUnacknowledged(tcp, peerTimeout)
	}
	return ctx
}

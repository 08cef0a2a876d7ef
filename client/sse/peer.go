package sse

import (
	"context"
	"net"
	"time"
)

// peerTimeout bounds the time in which a browser's machine acknowledges nothing.
const peerTimeout = 30 * time.Second

// ConnContext is for http.Server.ConnContext. It makes the kernel close a connection whose peer has acknowledged nothing for 30 s.
// A phone that changes its network or loses it closes no connection: by default Linux sends to it for a quarter of an hour, and
// its streams stay open for that time.
//
// ConnContext has an effect on Linux, for browsers that connect directly. Behind a proxy and on other systems, a dead stream
// ends at its maximum age.
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

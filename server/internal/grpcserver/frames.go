package grpcserver

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

const (
	// framesEach is how many DATA frames a connection can send for each call. A request is one message of at most 64 KiB: clients
	// send it in one frame to five, and a proxy that cuts it into 4 KiB in seventeen. Without a limit, a request in frames of one byte takes
	// fifty times its size: gRPC keeps each frame in a buffer of its own until the message is whole.
	framesEach = 32
	// framesEachSecond is how many more it can send in a second. Reflection is a stream on which a tool asks as long as it runs.
	framesEachSecond = 16
	// framesAtFirst is how many a connection has at first: a tool asks for many types at once.
	framesAtFirst = 256
	// maxFramesAhead bounds what a connection can save: clients send the headers of many calls before the first request. It also
	// bounds the frames that one connection keeps in buffers.
	maxFramesAhead = 1024
)

// errFrames closes a connection.
var errFrames = errors.New("grpcserver: more DATA frames than the requests need")

// frameLimit is a connection that ends at errFrames. It reads along, from the client's preface on. Only one goroutine may read.
type frameLimit struct {
	net.Conn
	skip   int // bytes until the next frame's header
	header [9]byte
	have   int       // bytes of the header
	ahead  int       // DATA frames that may still come
	earned time.Time // up to when ahead has what framesEachSecond brings
}

func newFrameLimit(conn net.Conn) *frameLimit {
	const preface = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	return &frameLimit{Conn: conn, skip: preface, ahead: framesAtFirst, earned: time.Now()}
}

// Read implements net.Conn.
func (f *frameLimit) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if !f.follow(p[:n]) {
		return 0, errFrames
	}
	return n, err
}

// follow counts the frames that begin in a part of the stream. It returns false once there are too many: RFC 9113, section 4.1.
func (f *frameLimit) follow(p []byte) bool {
	for len(p) > 0 {
		if f.skip > 0 {
			n := min(f.skip, len(p))
			f.skip, p = f.skip-n, p[n:]
			continue
		}
		n := copy(f.header[f.have:], p)
		f.have, p = f.have+n, p[n:]
		if f.have < len(f.header) {
			return true
		}
		const data, headers = 0, 1
		f.have, f.skip = 0, int(binary.BigEndian.Uint32(f.header[:4])>>8)
		switch f.header[3] {
		case headers:
			f.ahead = min(f.ahead+framesEach, maxFramesAhead)
		case data:
			if f.ahead == 0 && !f.earn() {
				return false
			}
			f.ahead--
		}
	}
	return true
}

// earn adds the frames for the time since the last call. It returns false if there are none.
func (f *frameLimit) earn() bool {
	const each = time.Second / framesEachSecond
	n := time.Since(f.earned) / each
	f.earned = f.earned.Add(n * each)
	f.ahead = int(min(n, maxFramesAhead))
	return n > 0
}

// frameLimits limits the connections of a listener without TLS.
type frameLimits struct{ net.Listener }

// Accept implements net.Listener.
func (l frameLimits) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newFrameLimit(conn), nil
}

// frameCredentials limits connections with TLS, behind the handshake.
type frameCredentials struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (c frameCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return newFrameLimit(conn), info, nil
}

// Clone implements credentials.TransportCredentials.
func (c frameCredentials) Clone() credentials.TransportCredentials {
	return frameCredentials{c.TransportCredentials.Clone()}
}

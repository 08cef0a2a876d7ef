package client

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
)

// streamLimit is how many streams the other end of a connection allows at once, as it announced in its
// SETTINGS (RFC 9113, 6.5.2). gRPC keeps to that number and does not tell it.
type streamLimit struct{ known atomic.Uint32 }

// streamLimitKey finds the *streamLimit of a connection among its address's attributes.
type streamLimitKey struct{}

// unknownLimit is taken where the SETTINGS were not seen, which is with credentials from [WithDialOptions].
// RFC 9113 recommends to allow no fewer.
const unknownLimit = 100

func (l *streamLimit) announced() int {
	if known := l.known.Load(); known > 0 {
		return int(min(known, math.MaxInt32))
	}
	return unknownLimit
}

// room is how many calls a connection carries. One stream is left to the watch of its health, and a tenth
// to unary calls, which would otherwise wait until a watch ends.
func (l *streamLimit) room(isStream bool) int {
	room := l.announced() - 1
	if isStream {
		room -= l.announced() / 10
	}
	return max(room, 1)
}

// announcing is credentials whose connections note the limit that the server announces.
type announcing struct {
	credentials.TransportCredentials
}

func (a announcing) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := a.TransportCredentials.ClientHandshake(ctx, authority, conn)
	limit, ok := credentials.ClientHandshakeInfoFromContext(ctx).Attributes.Value(streamLimitKey{}).(*streamLimit)
	if err != nil || !ok {
		return secured, info, err
	}
	limit.known.Store(0)
	return &settingsReader{Conn: secured, limit: limit}, info, nil
}

func (a announcing) Clone() credentials.TransportCredentials {
	return announcing{a.TransportCredentials.Clone()}
}

// settingsReader reads along until it has seen the SETTINGS, which are the first that a server sends.
type settingsReader struct {
	net.Conn
	limit *streamLimit
	begun []byte
	done  bool
}

// Of a frame (RFC 9113, 4.1) and of SETTINGS (6.5).
const (
	frameHeaderBytes     = 9
	frameSettings        = 4
	settingBytes         = 6
	maxConcurrentStreams = 3
	maxSettingsBytes     = 1 << 10 // there are some ten settings
)

func (r *settingsReader) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if !r.done {
		r.begun = append(r.begun, p[:n]...)
		r.parse()
	}
	return n, err
}

func (r *settingsReader) parse() {
	if len(r.begun) < frameHeaderBytes {
		return
	}
	length := int(r.begun[0])<<16 | int(r.begun[1])<<8 | int(r.begun[2])
	strange := r.begun[3] != frameSettings || length > maxSettingsBytes
	if !strange && len(r.begun) < frameHeaderBytes+length {
		return
	}
	if !strange {
		announced := uint32(math.MaxUint32) // without the setting there is no limit
		for s := r.begun[frameHeaderBytes : frameHeaderBytes+length]; len(s) >= settingBytes; s = s[settingBytes:] {
			if binary.BigEndian.Uint16(s) == maxConcurrentStreams {
				announced = max(binary.BigEndian.Uint32(s[2:]), 1)
			}
		}
		r.limit.known.Store(announced)
	}
	r.done, r.begun = true, nil
}

package client

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
)

// streamLimit is the number of streams that the server or proxy allows on a connection, as announced in its SETTINGS (RFC 9113,
// 6.5.2). gRPC obeys the number and has no way to read it.
type streamLimit struct{ known atomic.Uint32 }

// streamLimitKey is the key of a connection's *streamLimit in the attributes of its address.
type streamLimitKey struct{}

// unknownLimit is used if the SETTINGS were not read, as with credentials from [WithDialOptions]. RFC 9113 recommends a limit of
// at least 100.
const unknownLimit = 100

func (l *streamLimit) announced() int {
	if known := l.known.Load(); known > 0 {
		return int(min(known, math.MaxInt32))
	}
	return unknownLimit
}

// room returns how many calls a connection can have. One stream is left for the health watch, and a tenth of all streams for
// unary calls, which would otherwise wait until a watch ends.
func (l *streamLimit) room(isStream bool) int {
	room := l.announced() - 1
	if isStream {
		room -= l.announced() / 10
	}
	return max(room, 1)
}

// announcing adds to credentials that their connections record the announced stream limit.
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

// settingsReader parses what is read until it has seen the SETTINGS, the first frame that a server sends.
type settingsReader struct {
	net.Conn
	limit *streamLimit
	begun []byte
	done  bool
}

// Sizes and numbers of a frame (RFC 9113, 4.1) and of SETTINGS (6.5).
const (
	frameHeaderBytes     = 9
	frameSettings        = 4
	settingBytes         = 6
	maxConcurrentStreams = 3
	maxSettingsBytes     = 1 << 10 // about ten settings exist
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
	other := r.begun[3] != frameSettings || length > maxSettingsBytes
	if !other && len(r.begun) < frameHeaderBytes+length {
		return
	}
	if !other {
		announced := uint32(math.MaxUint32) // no limit if the setting is missing
		for s := r.begun[frameHeaderBytes : frameHeaderBytes+length]; len(s) >= settingBytes; s = s[settingBytes:] {
			if binary.BigEndian.Uint16(s) == maxConcurrentStreams {
				announced = max(binary.BigEndian.Uint32(s[2:]), 1)
			}
		}
		r.limit.known.Store(announced)
	}
	r.done, r.begun = true, nil
}

package redisstore

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"example.com/verification-status/server/internal/store"
)

// A packed entry of the feed has one field, e, instead of the fields that keys.feed names. Redis needs less time to write and to read
// one value. The client makes the beginning, and the script appends the end, which only it knows.
//
//	beginning  4 bytes   Unix second of the commit, big-endian; 0 if it does not fit
//	           8 bytes   nonce, big-endian
//	           1 byte    1 if a trace follows, else 0
//	           24 bytes  trace, if there is one
//	           varint    revision
//	           rest      session id, which contains no space, and a space
//	end                  nonce of the entry before, a signed decimal number; " p" if the session can now be the newest one of its
//	                     reference
//
// Both forms can be in one feed. Every version since format 3 reads both. Options.RecordFormat decides which one a commit writes.
const (
	packedField   = "e"
	packedTraced  = 1
	packedHead    = 4 + 8 + 1
	packedPointer = " p"
)

// packEntry returns the beginning of a packed entry. trace is what traceOf returns.
func packEntry(id string, revision int32, nonce uint64, second int64, trace string) string {
	if second < 0 || second > math.MaxUint32 {
		second = 0
	}
	buf := make([]byte, 0, packedHead+len(trace)+binary.MaxVarintLen32+len(id)+1)
	buf = binary.BigEndian.AppendUint32(buf, uint32(second))
	buf = binary.BigEndian.AppendUint64(buf, nonce)
	if trace == "" {
		buf = append(buf, 0)
	} else {
		buf = append(append(buf, packedTraced), trace[1:]...)
	}
	buf = binary.AppendUvarint(buf, uint64(revision))
	return string(append(append(buf, id...), ' '))
}

// unpackEntry reads a packed entry. It returns store.ErrCorrupt if the bytes are not one.
func unpackEntry(value string) (store.Entry, error) {
	if len(value) < packedHead {
		return store.Entry{}, store.ErrCorrupt
	}
	entry := store.Entry{
		Committed: int64(binary.BigEndian.Uint32([]byte(value[:4]))),
		Position:  store.Position{Nonce: binary.BigEndian.Uint64([]byte(value[4:12]))},
		Chained:   true,
	}
	traced, rest := value[12], value[packedHead:]
	if traced == packedTraced && len(rest) >= traceSize {
		entry.Trace, rest = rest[:traceSize], rest[traceSize:]
	} else if traced != 0 {
		return store.Entry{}, store.ErrCorrupt
	}
	revision, size := binary.Uvarint([]byte(rest[:min(len(rest), binary.MaxVarintLen32)]))
	if size <= 0 || revision > math.MaxInt32 {
		return store.Entry{}, store.ErrCorrupt
	}
	entry.Revision = int32(revision)
	rest, entry.Pointer = strings.CutSuffix(rest[size:], packedPointer)
	id, end, _ := strings.Cut(rest, " ")
	before, err := strconv.ParseInt(end, 10, 64)
	if err != nil || id == "" {
		return store.Entry{}, store.ErrCorrupt
	}
	entry.SessionID, entry.Before = id, uint64(before)
	return entry, nil
}

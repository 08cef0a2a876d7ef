package redisstore

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// A stored record is a header and a body.
//
//	header  4 bytes  write counter, big-endian; may wrap
//	        8 bytes  random nonce of the commit that wrote it, big-endian
//	body    1 byte   format
//	        rest     fields in protobuf's wire format, numbered below
//
// The session id is in the key and not in the body. What equals its prediction (the entry before, the
// time of the event) is left out; that makes a record four times smaller than plain JSON.
//
// Rules for the next version, so that rolling forward and back loses nothing:
//   - Version N reads formats N and N+1 (N-1 too, once there is one) and keeps fields that it does
//     not know, in Extra. So a new field must mean something alone, not relative to other fields.
//   - A new code of a table (statuses, event types) must be read for one version before it is
//     written: a code that is not known is refused, because it could not be kept in order.
//   - A number is never used for another meaning.
const (
	headerSize = 12
	format     = 1

	// maxBody bounds what is written and what is read. 256 entries of the usual kind take 40 KiB.
	maxBody = 4 << 20
	// maxEntries and maxHashes bound the memory that hostile bytes can take when read.
	maxEntries = 4 * verification.MaxHistory
	maxHashes  = 4 * verification.MaxRemembered
)

// Fields of a session; 1 to 7 and 16 to 24 are its state's, in state.go.
const (
	sessionRevision    protowire.Number = 8
	sessionEntry       protowire.Number = 9  // one history entry, see entry.go
	sessionFailures    protowire.Number = 10 // 8 bytes for each failure's id
	sessionLastSecond  protowire.Number = 11 // of LastFailure, less Second
	sessionApplied     protowire.Number = 12
	sessionLivemode    protowire.Number = 13
	sessionLastCode    protowire.Number = 14 // code, see errorCodes
	sessionAsOf        protowire.Number = 15
	sessionAccount     protowire.Number = 32
	sessionPending     protowire.Number = 33
	sessionGranted     protowire.Number = 34 // varints: which failures have their grant, from 0
	sessionLastID      protowire.Number = 35 // of LastFailure; absent: the newest failure's
	sessionReplacement protowire.Number = 36
	sessionReturnURL   protowire.Number = 37
	sessionPredecessor protowire.Number = 38
	sessionForgotten   protowire.Number = 39 // 8 bytes id, zigzag Until less the one before; repeated
	sessionSecond      protowire.Number = 40 // Second less UpdateTime
	sessionLastText    protowire.Number = 41
)

func corrupt(what string) error {
	return fmt.Errorf("%w: %s is not as written by this version; was it written by a much newer one?", store.ErrCorrupt, what)
}

// newHeader is the header of the record that follows the one with the header before, if there is one, with
// room for a body.
func newHeader(before string, nonce uint64) []byte {
	var counter uint32
	if before != "" {
		counter = binary.BigEndian.Uint32([]byte(before))
	}
	h := binary.BigEndian.AppendUint32(make([]byte, 0, 768), counter+1)
	return binary.BigEndian.AppendUint64(h, nonce)
}

// appendBody appends the body of a record to buf.
func appendBody(buf []byte, s verification.Session) ([]byte, error) {
	before := len(buf)
	w := &writer{buf: append(buf, format)}
	encodeFailures(w, s)

	var prior progress
	entry := &writer{buf: make([]byte, 0, 256)}
	for i := range s.History {
		entry.buf = entry.buf[:0]
		encodeEntry(entry, &prior, s.Failures, &s.History[i])
		w.buf = protowire.AppendTag(w.buf, sessionEntry, protowire.BytesType)
		w.buf = protowire.AppendBytes(w.buf, entry.buf)
	}
	encodeState(w, prior.result, s.State, prior.second, s.Failures)

	w.intIf(sessionRevision, int64(s.Revision))
	w.intIf(sessionSecond, s.Second-s.UpdateTime)
	w.intIf(sessionAsOf, s.AsOf)
	if s.Applied != 0 {
		w.uint(sessionApplied, uint64(s.Applied))
	}
	w.trueIf(sessionLivemode, s.Livemode)
	w.trueIf(sessionPending, s.Pending)
	w.textIf(sessionAccount, s.Account)
	w.textIf(sessionPredecessor, s.Predecessor)
	w.trueIf(sessionReplacement, s.Replacement.Granted)
	w.textIf(sessionReturnURL, s.Replacement.ReturnURL)
	encodeForgotten(w, s.Forgotten)
	w.buf = append(w.buf, s.Extra...)
	size := len(w.buf) - before
	if size > maxBody || len(s.History) > maxEntries || len(s.Failures) > maxHashes || len(s.Forgotten) > maxHashes {
		return nil, fmt.Errorf("%w: the record would be %d bytes long with %d entries; the bounds are %d and %d",
			store.ErrCorrupt, size, len(s.History), maxBody, maxEntries)
	}
	return w.buf, nil
}

func encodeFailures(w *writer, s verification.Session) {
	var ids, granted []byte
	for i, failure := range s.Failures {
		ids = protowire.AppendFixed64(ids, failure.ID)
		if failure.Granted {
			granted = protowire.AppendVarint(granted, uint64(i))
		}
	}
	w.textIf(sessionFailures, string(ids))
	w.textIf(sessionGranted, string(granted))

	last := s.LastFailure
	if last.ID != newestFailure(s.Failures) {
		w.fixed(sessionLastID, last.ID)
	}
	if last.Second != 0 {
		w.int(sessionLastSecond, last.Second-s.Second)
	}
	if last.Code != "" {
		encodeCode(w, errorCodes, sessionLastCode, sessionLastText, last.Code)
	}
}

func encodeForgotten(w *writer, forgotten []verification.Forgotten) {
	var packed []byte
	var until int64
	for _, f := range forgotten {
		packed = protowire.AppendFixed64(packed, f.ID)
		packed = protowire.AppendVarint(packed, protowire.EncodeZigZag(f.Until-until))
		until = f.Until
	}
	w.textIf(sessionForgotten, string(packed))
}

func newestFailure(failures []verification.Failure) uint64 {
	if len(failures) == 0 {
		return 0
	}
	return failures[len(failures)-1].ID
}

// decode reads a body. It trusts nothing: any bytes give a record or an error of store.ErrCorrupt.
func decode(id string, body []byte) (verification.Session, error) {
	switch {
	case len(body) == 0:
		return verification.Session{}, corrupt("the length")
	case len(body) > maxBody:
		return verification.Session{}, corrupt("the length")
	case body[0] != format && body[0] != format+1:
		return verification.Session{}, fmt.Errorf("%w: format %d; this version reads %d and %d", store.ErrCorrupt, body[0], format, format+1)
	}
	return decodeSession(id, body[1:])
}

// decodeSession reads the fields in three passes, by what they need to be understood: failures stand
// alone, entries need the failures, the state needs the entries.
func decodeSession(id string, body []byte) (verification.Session, error) {
	s := verification.Session{ID: id}
	r := &reader{}
	if err := decodeFailures(r, body, &s); err != nil {
		return verification.Session{}, err
	}

	var prior progress
	_ = eachField(body, func(f field) { // the first pass has seen all errors
		if f.num == sessionEntry && r.err == nil {
			s.History = append(s.History, decodeEntry(r, &prior, s.Failures, r.bytes(f)))
			if len(s.History) > maxEntries {
				r.fail("the number of entries")
			}
		}
	})

	s.State = prior.result
	var second, lastSecond int64
	hasLast := false
	_ = eachField(body, func(f field) {
		switch {
		case f.num == sessionFailures, f.num == sessionGranted, f.num == sessionEntry:
		case decodeStateField(r, f, &s.State, prior.second, s.Failures):
		case f.num == sessionSecond:
			second = r.int64(f)
		case f.num == sessionLastSecond:
			lastSecond, hasLast = r.int64(f), true
		case !decodeSessionField(r, f, &s):
			s.Extra = append(s.Extra, f.raw...)
		}
	})
	s.Second = s.UpdateTime + second
	if hasLast {
		s.LastFailure.Second = s.Second + lastSecond
	}
	if r.err != nil {
		return verification.Session{}, r.err
	}
	return s, nil
}

// decodeSessionField takes a field that stands alone; false if it is not known.
func decodeSessionField(r *reader, f field, s *verification.Session) bool {
	switch f.num {
	case sessionRevision:
		s.Revision = r.int32(f)
	case sessionApplied:
		s.Applied = uint32(r.uint(f, 1<<32-1))
	case sessionLivemode:
		s.Livemode = r.bool(f)
	case sessionLastCode:
		s.LastFailure.Code = r.code(f, errorCodes)
	case sessionLastText:
		s.LastFailure.Code = r.text(f)
	case sessionAsOf:
		s.AsOf = r.int64(f)
	case sessionAccount:
		s.Account = r.text(f)
	case sessionPending:
		s.Pending = r.bool(f)
	case sessionLastID:
		s.LastFailure.ID = r.fixed(f)
	case sessionReplacement:
		s.Replacement.Granted = r.bool(f)
	case sessionReturnURL:
		s.Replacement.ReturnURL = r.text(f)
	case sessionPredecessor:
		s.Predecessor = r.text(f)
	case sessionForgotten:
		s.Forgotten = decodeForgotten(r, r.bytes(f))
	default:
		return false
	}
	return true
}

// decodeFailures is the first pass. Its error says that the bytes are no fields at all.
func decodeFailures(r *reader, body []byte, s *verification.Session) error {
	var ids, granted []byte
	err := eachField(body, func(f field) {
		switch f.num {
		case sessionFailures:
			ids = r.bytes(f)
		case sessionGranted:
			granted = r.bytes(f)
		}
	})
	if err != nil {
		return err
	}
	if len(ids)%8 != 0 || len(ids) > 8*maxHashes {
		return corrupt("the failures")
	}
	for ; len(ids) > 0; ids = ids[8:] {
		s.Failures = append(s.Failures, verification.Failure{ID: binary.LittleEndian.Uint64(ids)})
	}
	for len(granted) > 0 {
		i, n := protowire.ConsumeVarint(granted)
		if n < 0 || i >= uint64(len(s.Failures)) {
			return corrupt("a grant")
		}
		s.Failures[i].Granted, granted = true, granted[n:]
	}
	s.LastFailure.ID = newestFailure(s.Failures)
	return nil
}

func decodeForgotten(r *reader, packed []byte) []verification.Forgotten {
	var forgotten []verification.Forgotten
	var until int64
	for len(packed) > 0 {
		id, n := protowire.ConsumeFixed64(packed)
		if n < 0 || len(forgotten) == maxHashes {
			r.fail("the forgotten")
			return nil
		}
		delta, m := protowire.ConsumeVarint(packed[n:])
		if m < 0 {
			r.fail("the forgotten")
			return nil
		}
		until += protowire.DecodeZigZag(delta)
		forgotten = append(forgotten, verification.Forgotten{ID: id, Until: until})
		packed = packed[n+m:]
	}
	return forgotten
}

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
//	        8 bytes  random nonce of the commit that wrote the record, big-endian
//	body    1 byte   format
//	        rest     fields in protobuf's wire format, numbered below
//
// The session id is in the key and not in the body. A value is left out if it equals its prediction: the value of the
// entry before, or the time of the event. So a record is four times smaller than plain JSON.
//
// Rules for the next version, so that rolling forward and back loses nothing:
//   - Version N reads all formats up to N+1. It keeps unknown fields in Extra. So the meaning of a new field must not
//     depend on other fields.
//   - Version N writes format N, or an older one if Options.RecordFormat says so, as during a rolling update. asBefore then leaves
//     the fields that are new in format 2 as they are in the record. What is new in format 3 comes into a record only by the calls
//     of operators and comparisons, which callers of the store refuse with an older format. Once there, it is written in every
//     format, and every version keeps it.
//   - The tables of codes (statuses, error codes, event types) never grow: an older version refuses an index that its
//     table does not have. A value that is not in its table is stored as text. See codec_state.go.
//   - Sources, effects and redactions are numbers up to 255. An unknown number is kept.
//   - A number is never used for another meaning.
const (
	headerSize = 12
	format     = 3
	oldest     = 1 // the oldest format that is read and written: its fields still have the same meaning
	// formatChain is the format since which a record has what a replacement inherited, and the marks of erased details.
	formatChain = 2

	// maxBody bounds the body that is written or read. 256 typical entries take 40 KiB.
	maxBody = 4 << 20
	// maxEntries and maxHashes bound the memory that hostile bytes can use while they are read.
	maxEntries = 4 * verification.MaxHistory
	maxHashes  = 4 * verification.MaxKnownIDs
)

// Fields of a session. Fields 1 to 7 and 16 to 26 are those of its state, in codec_state.go.
const (
	sessionRevision    protowire.Number = 8
	sessionEntry       protowire.Number = 9  // one history entry; see codec_entry.go
	sessionFailures    protowire.Number = 10 // 8 bytes for the id of each failure
	sessionLastSecond  protowire.Number = 11 // LastFailure.Second less Second
	sessionApplied     protowire.Number = 12
	sessionLivemode    protowire.Number = 13
	sessionLastCode    protowire.Number = 14 // code; see errorCodes
	sessionAsOf        protowire.Number = 15
	sessionAccount     protowire.Number = 32
	sessionPending     protowire.Number = 33
	sessionGranted     protowire.Number = 34 // varints: the indexes, from 0, of the failures with a grant
	sessionLastID      protowire.Number = 35 // LastFailure.ID; absent if it is the newest failure
	sessionReplacement protowire.Number = 36
	sessionReturnURL   protowire.Number = 37
	sessionPredecessor protowire.Number = 38
	sessionTrimmed     protowire.Number = 39 // repeated: 8 bytes id, zigzag Until less the Until before
	sessionSecond      protowire.Number = 40 // Second less UpdateTime
	sessionLastText    protowire.Number = 41

	// Since format 2.
	sessionReplaces         protowire.Number = 42
	sessionArchived         protowire.Number = 43
	sessionInheritedFailed  protowire.Number = 44
	sessionInheritedGranted protowire.Number = 45
	sessionMoved            protowire.Number = 46
	sessionErased           protowire.Number = 47 // repeated: zigzag revision less the one before, 4 bytes fingerprint

	// Every version keeps these, so they are written in format 1 too. But a version that does not know them drops them if it redacts
	// or archives the session, or writes to a tombstone. The outcome of a tombstone is in an entry, which it keeps: see entryKept.
	sessionAbsentTimes    protowire.Number = 56
	sessionAbsentRevision protowire.Number = 57
	sessionAbsentSecond   protowire.Number = 58
	sessionKept           protowire.Number = 59 // zigzag At, zigzag Revision, 1 byte Imported, 16 bytes ID

	// Since format 3.
	sessionComparisons        protowire.Number = 60 // varints: each second less the one before
	sessionInheritedOverrides protowire.Number = 61
	sessionReplacementUsed    protowire.Number = 62 // as stateAllowance
)

// asBefore returns next as a store with format 1 replaces current by it. The fields that are new in format 2 keep
// their values in the record, so a change of the setting loses none.
func asBefore(current, next verification.Session) verification.Session {
	next.Replaces, next.Inherited = current.Replaces, current.Inherited
	next.ArchivedAt, next.ReferenceMoved, next.Erased = current.ArchivedAt, current.ReferenceMoved, current.Erased
	return next
}

func corrupt(what string) error {
	return fmt.Errorf("%w: %s is not as written by this version; was it written by a much newer one?", store.ErrCorrupt, what)
}

// newHeader returns the header of the record after the one with the header before, which is empty for the first record. The
// slice has capacity for a body.
func newHeader(before string, nonce uint64) []byte {
	var counter uint32
	if before != "" {
		counter = binary.BigEndian.Uint32([]byte(before))
	}
	h := binary.BigEndian.AppendUint32(make([]byte, 0, 768), counter+1)
	return binary.BigEndian.AppendUint64(h, nonce)
}

// appendBody appends the body of a record to buf in the format as. It returns store.ErrCorrupt if the record exceeds a bound.
func appendBody(buf []byte, s verification.Session, as byte) ([]byte, error) {
	before := len(buf)
	w := &writer{buf: append(buf, as)}
	encodeFailures(w, s)

	var prior progress
	entry := &writer{buf: make([]byte, 0, 256)}
	kept := s.Kept
	for i := range s.History {
		entry.buf = entry.buf[:0]
		encodeEntry(entry, &prior, s.Failures, &s.History[i])
		if s.Tombstone() && kept.At > 0 && kept.At == s.History[i].Revision {
			encodeKept(entry, entryKept, kept)
			kept = verification.KeptOutcome{}
		}
		w.buf = protowire.AppendTag(w.buf, sessionEntry, protowire.BytesType)
		w.buf = protowire.AppendBytes(w.buf, entry.buf)
	}
	encodeState(w, prior.result, s.State, prior.second, s.Failures)
	encodeOperated(w, prior.result, s.State, true)

	w.intIf(sessionRevision, int64(s.Revision))
	w.intIf(sessionSecond, s.Second-s.UpdateTime)
	w.intIf(sessionAsOf, s.AsOf)
	if s.Applied != 0 {
		w.uint(sessionApplied, uint64(s.Applied))
	}
	w.trueIf(sessionLivemode, s.Livemode)
	w.trueIf(sessionPending, s.Unresolved)
	w.textIf(sessionAccount, s.Account)
	w.textIf(sessionPredecessor, s.Predecessor)
	w.textIf(sessionReplaces, s.Replaces)
	w.intIf(sessionInheritedFailed, int64(s.Inherited.FailedAttempts))
	w.intIf(sessionInheritedGranted, int64(s.Inherited.RetriesGranted))
	w.trueIf(sessionReplacement, s.Replacement.Granted)
	w.textIf(sessionReturnURL, s.Replacement.ReturnURL)
	encodeTrimmed(w, s.TrimmedEvents)
	w.intIf(sessionArchived, int64(s.ArchivedAt))
	w.intIf(sessionMoved, int64(s.ReferenceMoved))
	encodeErased(w, s.Erased)
	w.intIf(sessionAbsentTimes, int64(s.Absence.Times))
	w.intIf(sessionAbsentRevision, int64(s.Absence.Revision))
	w.intIf(sessionAbsentSecond, s.Absence.Second)
	encodeKept(w, sessionKept, kept)
	encodeComparisons(w, s.Comparisons)
	w.intIf(sessionInheritedOverrides, int64(s.Inherited.Overrides))
	if s.Replacement.Used != (verification.Allowance{}) {
		encodeAllowance(w, sessionReplacementUsed, s.Replacement.Used)
	}
	w.buf = append(w.buf, s.Extra...)
	size := len(w.buf) - before
	if size > maxBody || len(s.History) > maxEntries || len(s.Failures) > maxHashes || len(s.TrimmedEvents) > maxHashes ||
		len(s.Erased) > maxEntries || len(s.Comparisons) > maxEntries {
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
		encodeCode(w, errorCodes[:], sessionLastCode, sessionLastText, last.Code)
	}
}

func encodeTrimmed(w *writer, trimmed []verification.TrimmedEvent) {
	var packed []byte
	var until int64
	for _, f := range trimmed {
		packed = protowire.AppendFixed64(packed, f.ID)
		packed = protowire.AppendVarint(packed, protowire.EncodeZigZag(f.Until-until))
		until = f.Until
	}
	w.textIf(sessionTrimmed, string(packed))
}

func encodeComparisons(w *writer, seconds []int64) {
	var packed []byte
	var before int64
	for _, second := range seconds {
		packed = protowire.AppendVarint(packed, protowire.EncodeZigZag(second-before))
		before = second
	}
	w.textIf(sessionComparisons, string(packed))
}

func encodeErased(w *writer, erased []verification.ErasedRevision) {
	var packed []byte
	var revision int64
	for _, e := range erased {
		packed = protowire.AppendVarint(packed, protowire.EncodeZigZag(int64(e.Revision)-revision))
		packed = protowire.AppendFixed32(packed, e.Fingerprint)
		revision = int64(e.Revision)
	}
	w.textIf(sessionErased, string(packed))
}

func encodeKept(w *writer, num protowire.Number, kept verification.KeptOutcome) {
	if kept == (verification.KeptOutcome{}) {
		return
	}
	packed := protowire.AppendVarint(nil, protowire.EncodeZigZag(int64(kept.At)))
	packed = protowire.AppendVarint(packed, protowire.EncodeZigZag(int64(kept.Revision)))
	packed = append(packed, byte(protowire.EncodeBool(kept.Imported)))
	w.text(num, string(append(packed, kept.ID[:]...)))
}

func newestFailure(failures []verification.Failure) uint64 {
	if len(failures) == 0 {
		return 0
	}
	return failures[len(failures)-1].ID
}

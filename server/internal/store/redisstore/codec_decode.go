package redisstore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// decode reads a body. For any bytes it returns a record or an error that wraps store.ErrCorrupt.
func decode(id string, body []byte) (verification.Session, error) {
	switch {
	case len(body) == 0:
		return verification.Session{}, corrupt("the length")
	case len(body) > maxBody:
		return verification.Session{}, corrupt("the length")
	case body[0] < oldest || body[0] > format+1:
		return verification.Session{}, fmt.Errorf("%w: format %d; this version reads %d to %d", store.ErrCorrupt, body[0], oldest, format+1)
	}
	return decodeSession(id, body[1:])
}

// decodeSession reads the fields in three passes: the failures, then the entries, which refer to the failures, then the state,
// which refers to the entries.
func decodeSession(id string, body []byte) (verification.Session, error) {
	s := verification.Session{ID: id}
	r := &reader{}
	if err := decodeFailures(r, body, &s); err != nil {
		return verification.Session{}, err
	}

	var prior progress
	_ = eachField(body, func(f field) { // the first pass has returned every error
		if f.num == sessionEntry && r.err == nil {
			s.History = append(s.History, decodeEntry(r, &prior, s.Failures, r.bytes(f)))
			if len(s.History) > maxEntries {
				r.fail("the number of entries")
			}
		}
	})

	last := s.LastFailure
	s.State, s.Kept = prior.result, prior.kept
	s.LastFailure = last
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
	s.LastFailure.Granted = slices.Contains(s.Failures, verification.Failure{ID: s.LastFailure.ID, Granted: true})
	if !s.Replacement.Granted { // an older version might have revoked the grant, and kept what it does not know
		s = s.WithAllowanceBack()
	}
	if r.err != nil {
		return verification.Session{}, r.err
	}
	return s, nil
}

// decodeSessionField reads a field that does not depend on others. It returns false if the field is not known.
func decodeSessionField(r *reader, f field, s *verification.Session) bool {
	switch f.num {
	case sessionRevision:
		s.Revision = r.int32(f)
	case sessionApplied:
		s.Applied = uint32(r.uint(f, 1<<32-1))
	case sessionLivemode:
		s.Livemode = r.bool(f)
	case sessionLastCode:
		s.LastFailure.Code = r.code(f, errorCodes[:])
	case sessionLastText:
		s.LastFailure.Code = r.text(f)
	case sessionAsOf:
		s.AsOf = r.int64(f)
	case sessionAccount:
		s.Account = r.text(f)
	case sessionPending:
		s.Unresolved = r.bool(f)
	case sessionLastID:
		s.LastFailure.ID = r.fixed(f)
	case sessionReplacement:
		s.Replacement.Granted = r.bool(f)
	case sessionReturnURL:
		s.Replacement.ReturnURL = r.text(f)
	case sessionPredecessor:
		s.Predecessor = r.text(f)
	case sessionReplaces:
		s.Replaces = r.text(f)
	case sessionInheritedFailed:
		s.Inherited.FailedAttempts = r.int32(f)
	case sessionInheritedGranted:
		s.Inherited.RetriesGranted = r.int32(f)
	case sessionTrimmed:
		s.TrimmedEvents = decodeTrimmed(r, r.bytes(f))
	case sessionArchived:
		s.ArchivedAt = r.int32(f)
	case sessionMoved:
		s.ReferenceMoved = r.int32(f)
	case sessionAbsentTimes:
		s.Absence.Times = r.int32(f)
	case sessionAbsentRevision:
		s.Absence.Revision = r.int32(f)
	case sessionAbsentSecond:
		s.Absence.Second = r.int64(f)
	case sessionKept:
		s.Kept = decodeKept(r, r.bytes(f))
	case sessionErased:
		s.Erased = decodeErased(r, r.bytes(f))
	case sessionComparisons:
		s.Comparisons = decodeComparisons(r, r.bytes(f))
	case sessionInheritedOverrides:
		s.Inherited.Overrides = r.int32(f)
	case sessionReplacementUsed:
		s.Replacement.Used = decodeAllowance(r, r.bytes(f))
	default:
		return false
	}
	return true
}

// decodeFailures is the first pass. It returns an error if the bytes are not fields.
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

func decodeTrimmed(r *reader, packed []byte) []verification.TrimmedEvent {
	var trimmed []verification.TrimmedEvent
	var until int64
	for len(packed) > 0 {
		id, n := protowire.ConsumeFixed64(packed)
		if n < 0 || len(trimmed) == maxHashes {
			r.fail("the list of trimmed event ids")
			return nil
		}
		delta, m := protowire.ConsumeVarint(packed[n:])
		if m < 0 {
			r.fail("the list of trimmed event ids")
			return nil
		}
		until += protowire.DecodeZigZag(delta)
		trimmed = append(trimmed, verification.TrimmedEvent{ID: id, Until: until})
		packed = packed[n+m:]
	}
	return trimmed
}

func decodeComparisons(r *reader, packed []byte) []int64 {
	var seconds []int64
	var second int64
	for len(packed) > 0 {
		delta, n := protowire.ConsumeVarint(packed)
		if n < 0 || len(seconds) == maxEntries {
			r.fail("the comparisons")
			return nil
		}
		second += protowire.DecodeZigZag(delta)
		seconds, packed = append(seconds, second), packed[n:]
	}
	return seconds
}

func decodeErased(r *reader, packed []byte) []verification.ErasedRevision {
	var erased []verification.ErasedRevision
	var revision int64
	for len(packed) > 0 {
		delta, n := protowire.ConsumeVarint(packed)
		if n < 0 || len(erased) == maxEntries {
			r.fail("the erased revisions")
			return nil
		}
		fingerprint, m := protowire.ConsumeFixed32(packed[n:])
		revision += protowire.DecodeZigZag(delta)
		if m < 0 || int64(int32(revision)) != revision {
			r.fail("the erased revisions")
			return nil
		}
		erased = append(erased, verification.ErasedRevision{Revision: int32(revision), Fingerprint: fingerprint})
		packed = packed[n+m:]
	}
	return erased
}

func decodeKept(r *reader, packed []byte) (kept verification.KeptOutcome) {
	at, n := protowire.ConsumeVarint(packed)
	if n < 0 {
		r.fail("the outcome")
		return kept
	}
	revision, m := protowire.ConsumeVarint(packed[n:])
	if m < 0 || len(packed) != n+m+1+len(kept.ID) || packed[n+m] > 1 {
		r.fail("the outcome")
		return kept
	}
	kept.At, kept.Revision = int32(protowire.DecodeZigZag(at)), int32(protowire.DecodeZigZag(revision))
	if int64(kept.At) != protowire.DecodeZigZag(at) || int64(kept.Revision) != protowire.DecodeZigZag(revision) {
		r.fail("a number's size")
	}
	kept.Imported = packed[n+m] == 1
	copy(kept.ID[:], packed[n+m+1:])
	return kept
}

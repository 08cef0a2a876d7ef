package verification

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// FailureID returns the hash of a failure's identity or of an event id. The record recognizes a repetition by it after
// the text is gone. It is 8 bytes of HMAC-SHA256 keyed by the session id: the hashes of one id in two sessions have
// nothing in common, and no session can be found by one. It is never 0.
func FailureID(sessionID, identity string) uint64 {
	mac := hmac.New(sha256.New, []byte(sessionID))
	mac.Write([]byte(identity))
	return max(1, binary.BigEndian.Uint64(mac.Sum(nil)))
}

// count counts the failure that an input carries, unless it is counted already, and returns whether it is new. It also
// notes whether the state shows this failure. The identity of a failure is its verification report or, without one,
// its event id. A read without a report has no identity and counts nothing: the event will.
func (s *Session) count(object Object, eventID string, second int64, applies bool) bool {
	identity := object.Report
	if identity == "" {
		identity = eventID
	}
	if !object.isFailure() || identity == "" {
		return false
	}
	id := FailureID(s.ID, identity)
	if object.Report == "" {
		s.identifyImported(id, object, second)
	}
	// In the second case a read showed this failure before its event brought the identity.
	if applies || s.ShownFailure == 0 && object.saysState(s.State) {
		s.ShownFailure = id
	}
	at := slices.IndexFunc(s.Failures, func(f Failure) bool { return f.ID == id })
	isNew := at < 0
	if isNew {
		s.Failures = append(s.Failures, Failure{ID: id})
		if len(s.Failures) > MaxKnownIDs {
			oldest := 0
			if s.Failures[0].ID == s.LastFailure.ID {
				oldest = 1 // keep the newest failure: it says whether its retry was granted
			}
			s.Failures = slices.Delete(s.Failures, oldest, oldest+1)
		}
		at = len(s.Failures) - 1
		s.FailedAttempts++
	}
	// A counted failure too: an override can show it again, at a later time and with another code.
	if second >= s.LastFailure.Second {
		s.LastFailure = LastFailure{ID: id, Second: second, Code: object.Error.Code, Granted: s.Failures[at].Granted}
	}
	if s.ShownFailure == id {
		s.ShownGranted = s.Failures[at].Granted
	}
	return isNew
}

// judged returns the counted failure that decides about a retry: the failure that the state shows or, without one, the
// newest. It returns the zero value if no failure is counted.
func (s State) judged() LastFailure {
	if s.ShownFailure == 0 {
		return s.LastFailure
	}
	return LastFailure{ID: s.ShownFailure, Second: s.UpdateTime, Code: s.Error.Code, Granted: s.ShownGranted}
}

// grant notes that a retry was granted for a failure.
func (s *Session) grant(id uint64) {
	at := slices.IndexFunc(s.Failures, func(f Failure) bool { return f.ID == id })
	if at < 0 { // trimmed at MaxKnownIDs, but a repeated call must find the grant
		s.Failures = append(s.Failures, Failure{ID: id})
		at = len(s.Failures) - 1
	}
	s.Failures[at].Granted = true
	if s.ShownFailure == id {
		s.ShownGranted = true
	}
	if s.LastFailure.ID == id {
		s.LastFailure.Granted = true
	}
}

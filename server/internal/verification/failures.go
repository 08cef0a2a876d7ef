package verification

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// FailureID is the identity by which a failure or an event id is known again after its text is
// gone: 8 bytes of HMAC-SHA256 keyed by the session id, so that the same id in two sessions has
// nothing in common, and nothing can be looked up by it. Never 0.
func FailureID(sessionID, identity string) uint64 {
	mac := hmac.New(sha256.New, []byte(sessionID))
	mac.Write([]byte(identity))
	return max(1, binary.BigEndian.Uint64(mac.Sum(nil)))
}

// count counts the failure that an input carries, once however it is learned, and notes whether it
// is the one shown. A failure's identity is its verification report, else its event id; a read
// without a report has neither, and counts nothing: the event will.
func (s *Session) count(object Object, eventID string, second int64, applies bool) bool {
	identity := object.Report
	if identity == "" {
		identity = eventID
	}
	if !object.isFailure() || identity == "" {
		return false
	}
	id := FailureID(s.ID, identity)
	// The second case: a read showed this failure before its event brought the identity.
	if applies || s.ShownFailure == 0 && object.saysState(s.State) {
		s.ShownFailure = id
	}
	at := slices.IndexFunc(s.Failures, func(f Failure) bool { return f.ID == id })
	isNew := at < 0
	if isNew {
		s.Failures = append(s.Failures, Failure{ID: id})
		if len(s.Failures) > MaxRemembered {
			oldest := 0
			if s.Failures[0].ID == s.LastFailure.ID {
				oldest = 1 // whether the newest failure has its grant must stay known
			}
			s.Failures = slices.Delete(s.Failures, oldest, oldest+1)
		}
		at = len(s.Failures) - 1
		s.FailedAttempts++
	}
	// Known ones too: an override can bring a counted failure back, later and with another code.
	if second >= s.LastFailure.Second {
		s.LastFailure = LastFailure{ID: id, Second: second, Code: object.Error.Code, Granted: s.Failures[at].Granted}
	}
	if s.ShownFailure == id {
		s.ShownGranted = s.Failures[at].Granted
	}
	return isNew
}

// judged is the counted failure by which a retry is judged: the one shown, else the newest. The zero
// value: none is counted.
func (s State) judged() LastFailure {
	if s.ShownFailure == 0 {
		return s.LastFailure
	}
	return LastFailure{ID: s.ShownFailure, Second: s.UpdateTime, Code: s.Error.Code, Granted: s.ShownGranted}
}

// grant notes that a counted failure has its grant.
func (s *Session) grant(id uint64) {
	at := slices.IndexFunc(s.Failures, func(f Failure) bool { return f.ID == id })
	if at < 0 { // beyond MaxRemembered; the grant must still be found again
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

package live

import (
	"testing"

	"example.com/verification-status/server/internal/verification"
)

// TestSameVersion: after a loss, the number of a revision can come again with another state, or with the same state by another input.
func TestSameVersion(t *testing.T) {
	version := func(change func(*verification.Session)) *verification.Session {
		s := verification.Session{ID: "vs_1", Revision: 2, History: []verification.Entry{
			{Revision: 1, EventID: "evt_1", RecordTime: 1000}, {Revision: 2, EventID: "evt_2", RecordTime: 2000},
		}}
		s.Status = verification.StatusProcessing
		change(&s)
		return &s
	}
	as := version(func(*verification.Session) {})
	for name, test := range map[string]struct {
		change func(*verification.Session)
		want   bool
	}{
		"read again":                {func(*verification.Session) {}, true},
		"an entry without revision": {func(s *verification.Session) { s.History = append(s.History, verification.Entry{EventID: "evt_0"}) }, true},
		"the next revision": {func(s *verification.Session) {
			s.Revision = 3
			s.History = append(s.History, verification.Entry{Revision: 3, EventID: "evt_3"})
		}, false},
		"another state":         {func(s *verification.Session) { s.Status = verification.StatusVerified }, false},
		"another input":         {func(s *verification.Session) { s.History[1].EventID = "evt_3" }, false},
		"the same input, later": {func(s *verification.Session) { s.History[1].RecordTime++ }, false},
		"the entry is gone":     {func(s *verification.Session) { s.History = s.History[:1] }, false},
	} {
		if other := version(test.change); sameVersion(as, other) != test.want || sameVersion(other, as) != test.want {
			t.Errorf("%s: want %v", name, test.want)
		}
	}
}

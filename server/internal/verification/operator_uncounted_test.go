package verification

import (
	"testing"
	"time"
)

// TestG9_AnAllowanceForAnUncountedFailureGivesOneTry: a read showed a failure that is not counted yet, and an operator allowed one more
// try for it. The event of the same failure takes the allowance over. The event of a later failure that looks the same does not.
func TestG9_AnAllowanceForAnUncountedFailureGivesOneTry(t *testing.T) {
	policy := RetryPolicy{MaxRetries: 0, DenyCodes: DefaultDenyCodes()}
	declined := Object{ID: "vs_1", Status: StatusRequiresInput, Error: Error{Code: "consent_declined"}, Type: "document", Created: 1000}
	event := func(id string, second int64) Event {
		return Event{ID: id, Type: EventRequiresInput, Second: second, Source: SourceWebhook, RecordTime: second * 1000, Object: declined}
	}
	for name, test := range map[string]struct {
		second int64 // of the first event after the allowance
		open   bool
	}{"the same failure": {1019, true}, "in the second of the read": {1020, true}, "another failure": {1100, false}} {
		opened := declined
		opened.Error = Error{}
		s, _ := Transition(Session{}, Event{ID: "evt_1", Type: EventCreated, Second: 1000, Source: SourceWebhook, RecordTime: 1_000_000, Object: opened})
		s, _ = ApplyRead(s, Read{Object: declined, AsOf: 1020, Applied: s.Applied, RecordTime: 1_020_000})
		s, _, allowed := AllowRetry(s, policy, time.Unix(1030, 0), "anna")
		if !allowed || !s.OverrideOpen() {
			t.Fatalf("%s: the allowance is not open", name)
		}
		s, _ = Transition(s, event("evt_2", test.second))
		s, decision, granted := GrantRetry(s, policy, time.Unix(1110, 0), "bff")
		if granted != test.open || (decision.Denial == DenialNone) != test.open {
			t.Errorf("%s: granted %v, denial %d; want a grant: %v", name, granted, decision.Denial, test.open)
		}
		if _, decision, _ := GrantRetry(s, policy, time.Unix(1200, 0), "bff"); (decision.Denial == DenialNone) != test.open {
			t.Errorf("%s: a repeated call: denial %d", name, decision.Denial)
		}
	}
}

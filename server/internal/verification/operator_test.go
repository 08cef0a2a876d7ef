package verification

import "testing"

// TestAnAllowanceIsOpen only for the failure that is judged, without a grant, in a session that nothing superseded or redacted.
func TestAnAllowanceIsOpen(t *testing.T) {
	shown := State{Status: StatusRequiresInput, ShownFailure: 7, Allowance: Allowance{Given: true, Failure: 7}}
	newest := State{Status: StatusCanceled, LastFailure: LastFailure{ID: 7}, Allowance: Allowance{Given: true, Failure: 7, Replacement: true}}
	for name, c := range map[string]struct {
		state  State
		change func(*State)
		want   bool
	}{
		"for the failure that is shown":       {shown, func(*State) {}, true},
		"for the newest failure":              {newest, func(*State) {}, true},
		"for a replacement after a grant":     {newest, func(s *State) { s.LastFailure.Granted = true }, true},
		"none":                                {shown, func(s *State) { s.Allowance.Given = false }, false},
		"after a grant":                       {shown, func(s *State) { s.ShownGranted = true }, false},
		"for another failure than is shown":   {shown, func(s *State) { s.ShownFailure = 8 }, false},
		"for another failure than the newest": {newest, func(s *State) { s.LastFailure.ID = 8 }, false},
		"superseded":                          {shown, func(s *State) { s.SupersededBy = "vs_2" }, false},
		"superseded and closed":               {newest, func(s *State) { s.SupersededBy = "vs_2" }, false},
		"redaction requested":                 {shown, func(s *State) { s.Redaction = RedactionProcessing }, false},
		"redacted":                            {newest, func(s *State) { s.Redaction = RedactionRedacted }, false},
	} {
		c.change(&c.state)
		if got := c.state.OverrideOpen(); got != c.want {
			t.Errorf("%s: open is %v; want %v", name, got, c.want)
		}
	}
}

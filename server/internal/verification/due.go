package verification

// StuckAfter is how long, in seconds, a check may take before the session is read from Stripe again:
// its outcome may have been missed. Stripe seldom needs more than a few minutes.
const StuckAfter = 15 * 60

// DueAt says from when on, in Unix seconds, a session should be read from Stripe again: at once where
// the order of its events is in doubt, and after a while where a check does not end.
func (s Session) DueAt() (second int64, due bool) {
	switch {
	case !s.Exists() || s.Settled() && !s.Pending:
		return 0, false
	case s.Pending:
		return s.UpdateTime, true
	case s.Status != StatusRequiresInput:
		return s.UpdateTime + StuckAfter, true
	default:
		return 0, false
	}
}

package verification

// StuckAfter is how long, in seconds, a session can be in processing before it is read from Stripe again: the event
// with its outcome might be lost. Stripe seldom needs more than a few minutes.
const StuckAfter = 15 * 60

// DueAt returns the Unix second from which on the session should be read from Stripe again. An unresolved session is
// due at once, and a session in processing, or one that requires input and that Stripe did not know, after StuckAfter. An absent one is due at AbsentSecond. It returns false if the
// session is never due.
func (s Session) DueAt() (second int64, due bool) {
	switch {
	case !s.Exists() || s.settledAtStripe() && !s.Unresolved:
		return 0, false
	case s.IsAbsent():
		return AbsentSecond, true
	case s.Unresolved:
		return s.UpdateTime, true
	case s.Status != StatusRequiresInput, s.Absence.Revision == s.Revision:
		return s.UpdateTime + StuckAfter, true
	default:
		return 0, false
	}
}

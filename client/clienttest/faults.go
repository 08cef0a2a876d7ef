package clienttest

import (
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Fail has every call fail with this error, and ends the open watches with it, until Fail(nil). See
// [Error] for those of the service.
func (s *Server) Fail(err error) {
	s.change(func(st *state) { st.fail = err })
}

// FailNext has the next calls fail, whichever they are, each with one of these errors. The client
// repeats GetStatus by itself where the error is UNAVAILABLE: such a call takes four.
func (s *Server) FailNext(errs ...error) {
	s.change(func(st *state) { st.failNext = append(st.failNext, errs...) })
}

// CutStreams ends the open watches with this error; nil: as a server does that stops.
func (s *Server) CutStreams(err error) {
	if err == nil {
		err = Error(verificationv1.ErrorReason_ERROR_REASON_DRAINING)
	}
	s.change(func(st *state) { st.cuts, st.cut = st.cuts+1, err })
}

// ExpireTokens has all resume tokens given out so far be refused with OUT_OF_RANGE. Open watches go on.
func (s *Server) ExpireTokens() {
	s.change(func(st *state) { st.epoch++ })
}

// Heartbeat sends a sign of life into every open watch at once.
func (s *Server) Heartbeat() {
	s.change(func(st *state) { st.beats++ })
}

// Silence has the watches send nothing, no heartbeat either, while it is on: a connection that is dead
// without showing it.
func (s *Server) Silence(on bool) {
	s.change(func(st *state) { st.silent = on })
}

func (s *Server) change(f func(*state)) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	f(&s.state)
	s.state.wake()
}

// nextFailure is the error that the next call has to fail with, if any. It is called with the lock held.
func (s *state) nextFailure() error {
	if s.fail != nil {
		return s.fail
	}
	if len(s.failNext) == 0 {
		return nil
	}
	err := s.failNext[0]
	s.failNext = s.failNext[1:]
	return err
}

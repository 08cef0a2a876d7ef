package clienttest

import (
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Fail makes every call fail with this error, and ends open watches with it, until Fail(nil). [Error] returns the service's
// errors.
func (s *Server) Fail(err error) {
	s.change(func(st *state) { st.fail = err })
}

// FailNext makes the next calls fail, of any method, each with one of these errors. The client repeats a GetStatus that fails
// with UNAVAILABLE: one call of it takes four errors.
func (s *Server) FailNext(errs ...error) {
	s.change(func(st *state) { st.failNext = append(st.failNext, errs...) })
}

// CutStreams ends the open watches with this error; nil: with the error of a server that stops.
func (s *Server) CutStreams(err error) {
	if err == nil {
		err = Error(verificationv1.ErrorReason_ERROR_REASON_DRAINING)
	}
	s.change(func(st *state) { st.cuts, st.cut = st.cuts+1, err })
}

// ExpireTokens makes all earlier resume tokens fail with OUT_OF_RANGE. Open watches continue.
func (s *Server) ExpireTokens() {
	s.change(func(st *state) { st.epoch++ })
}

// Heartbeat sends a heartbeat to every open watch at once.
func (s *Server) Heartbeat() {
	s.change(func(st *state) { st.beats++ })
}

// Silence makes the watches send nothing while it is on, not even heartbeats, as a dead connection does that was not closed.
func (s *Server) Silence(on bool) {
	s.change(func(st *state) { st.silent = on })
}

func (s *Server) change(f func(*state)) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	f(&s.state)
	s.state.wake()
}

// nextFailure returns the error with which the next call must fail, or nil. The lock is held.
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

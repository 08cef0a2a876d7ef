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

// ExpireConsumer makes the changes that a consumer has not acknowledged be gone: its next stream without a token of its own fails
// with OUT_OF_RANGE. An open stream continues, and an acknowledgement heals it. The method does nothing for an unknown name.
func (s *Server) ExpireConsumer(name string) {
	s.change(func(st *state) {
		if c := st.consumers[name]; c != nil {
			c.expired = true
		}
	})
}

// DeleteConsumer deletes a consumer, as DeleteConsumer of the contract does, or a store that has lost it. An open stream of it
// ends with ABORTED. The method does nothing for an unknown name.
func (s *Server) DeleteConsumer(name string) {
	s.change(func(st *state) { st.deleteConsumer(name) })
}

// HoldConsumer makes a consumer busy while hold is true, as a stream of another instance does. It ends the open stream of the
// consumer. It panics for an unknown name.
func (s *Server) HoldConsumer(name string, hold bool) {
	s.change(func(st *state) {
		c := st.consumers[name]
		if c == nil {
			panic("clienttest: HoldConsumer: there is no consumer " + name)
		}
		c.holder, c.held = nil, hold
	})
}

// KeepLeases makes a consumer stay busy for 15 s after the end of its stream while it is on, as if the server of the stream had
// been killed. Otherwise the consumer is free at once.
func (s *Server) KeepLeases(on bool) {
	s.change(func(st *state) { st.keepLeases = on })
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

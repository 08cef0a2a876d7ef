package main

import "errors"

// calls is the name under which the trace has the answers to status and retry.
const calls = "calls"

// maxTries is how often a client makes a GetStatus, with the service config of server/docs/clients.md.
const maxTries = 4

// failStep makes the next unary calls fail.
func (m *model) failStep(st step) error {
	if st.code == "" {
		return errors.New("say a code")
	}
	m.failures = st.failure()
	return nil
}

// callStep makes one call. GetStatus is tried again if it failed with UNAVAILABLE, because it changes nothing.
// RetryVerification is not: the caller decides.
func (m *model) callStep(st step) error {
	tries := 1
	if st.verb == "status" {
		tries = maxTries
	}
	switch {
	case m.http.n > 0 && m.failures.n > 0:
		return errors.New("both a proxy and the service would fail")
	case st.verb == "retry" && m.shaky:
		return errors.New("the call can be lost with a connection that was cut")
	}
	waiting := &m.failures
	if m.http.n > 0 {
		waiting = &failure{code: codeOfHTTP(m.http.code), n: m.http.n}
	}
	line := ""
	for range tries {
		switch {
		case m.wrong:
			line = failLine(st.verb, failure{code: "UNAUTHENTICATED", reason: "UNAUTHENTICATED"})
		case waiting.n > 0:
			waiting.n--
			line = failLine(st.verb, *waiting)
			if waiting.code == "UNAVAILABLE" {
				continue
			}
		default:
			line = m.answer(st.verb)
		}
		break
	}
	if m.http.n > 0 {
		m.http.n = waiting.n
	}
	m.want[calls] = append(m.want[calls], line)
	return nil
}

// answer returns the line of an answered call for the newest session.
func (m *model) answer(verb string) string {
	l := m.sessions[len(m.sessions)-1]
	last := l.changes[len(l.changes)-1]
	switch {
	case verb == "status":
		return statusLine(l.name, last.revision, last.status, last.outcome)
	case l.redacted > 0 || last.status != "REQUIRES_INPUT":
		return failLine(verb, failure{code: "FAILED_PRECONDITION", reason: "RETRY_DENIED"})
	}
	return retryLine(l.name)
}

package main

import "errors"

func (m *model) changeStep(st step) error {
	session := len(m.sessions) - 1
	for i, l := range m.sessions {
		if l.name == st.word() {
			session = i
		}
	}
	if m.sessions[session].redacted > 0 {
		return errors.New("the session is redacted")
	}
	for range st.times() {
		m.change(session, "")
	}
	m.deliverAll()
	return nil
}

func (m *model) settleStep(step) error {
	l := m.sessions[len(m.sessions)-1]
	if l.settled() {
		return errors.New("it is settled already")
	}
	m.change(len(m.sessions)-1, "VERIFIED")
	m.deliverAll()
	return nil
}

func (m *model) redactStep(step) error {
	switch w := m.watches[byReference]; {
	case m.watches[byConsumer] != nil:
		return errors.New("a consumer can get a redaction, or pass it over")
	case m.sessions[len(m.sessions)-1].redacted > 0:
		return errors.New("it is redacted already")
	case w != nil && w.live && m.addresses > 1:
		return errors.New("a watch by reference ends when its stream is lost next, which of two addresses it has is not known")
	}
	m.redact()
	m.deliverAll()
	return nil
}

func (m *model) repeatStep(step) error {
	if w := m.watches[ofAll]; w != nil && w.live {
		return errors.New("a watch of all sessions may show a change twice")
	}
	m.changeNewest(1)
	m.deliverAll()
	return nil
}

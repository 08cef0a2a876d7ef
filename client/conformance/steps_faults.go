package main

import (
	"errors"
	"slices"
)

func (m *model) cutStep(st step) error {
	if !st.has("before") && !st.has("in") && !st.has("after") {
		return errors.New("say before, in or after")
	}
	if !slices.ContainsFunc(m.live(), func(w *watched) bool { return !w.broken }) {
		return errors.New("no watch has an open stream: those that are paused do not open another one")
	}
	m.changeNewest(max(st.of, 1))
	m.breaks(failure{code: "UNAVAILABLE"})
	return nil
}

// endStep ends the streams with an error, after the at-th of several changes or at once.
func (m *model) endStep(st step) error {
	if st.code == "" {
		return errors.New("say a code")
	}
	if w := m.watches[byConsumer]; w != nil && w.live && st.of > 0 && st.reason != "" {
		return errors.New("a consumer that ends can have received more than it has handled")
	}
	if (st.reason != "" || st.code == "OUT_OF_RANGE") && st.code != "UNAVAILABLE" && st.code != "ABORTED" && slices.ContainsFunc(m.live(), (*watched).isPaused) {
		return errors.New("a paused watch can still have updates to come")
	}
	m.changeNewest(st.at)
	m.deliverAll()
	m.changeNewest(st.of - st.at)
	m.breaks(st.failure())
	return nil
}

// forgetStep deletes the consumer.
func (m *model) forgetStep(step) error {
	w := m.watches[byConsumer]
	if w == nil || !w.live {
		return errors.New("there is no live consumer")
	}
	m.end(w, failure{code: "*", reason: "CONSUMER_NOT_FOUND"}) // the code is that of the open stream or of the next one
	return nil
}

// refuseStep makes the next attempts of each live watch fail, or those of the next watches if none is live.
func (m *model) refuseStep(st step) error {
	if st.code == "" {
		return errors.New("say a code")
	}
	live := m.live()
	for _, kind := range kinds {
		if w := m.watches[kind]; len(live) == 0 || w != nil && w.live {
			m.refusals[kind] = st.failure()
		}
	}
	m.breaks(failure{code: "UNAVAILABLE", reason: "DRAINING"})
	return nil
}

// httpStep makes a proxy answer the next attempts. Those of live watches share the number.
func (m *model) httpStep(st step) error {
	if st.code == "" {
		return errors.New("say an HTTP status")
	}
	if len(m.live()) == 0 {
		m.http = failure{code: st.code, n: st.times()}
	}
	m.breaks(failure{code: "UNAVAILABLE"})
	return nil
}

func (m *model) breakStep(step) error {
	m.breaks(failure{code: "UNAVAILABLE", reason: "DRAINING"})
	return nil
}

func (m *model) silenceStep(step) error {
	m.changeNewest(1)
	m.breaks(failure{code: "UNAVAILABLE"})
	return nil
}

func (m *model) awayStep(step) error {
	m.away = true
	return nil
}

func (m *model) backStep(step) error {
	if !m.away {
		return errors.New("the service is not away")
	}
	m.away = false
	m.breaks(failure{code: "UNAVAILABLE"})
	return nil
}

func (m *model) trimStep(step) error {
	if !m.away {
		return errors.New("tokens are trimmed only while the service is away: otherwise heartbeats can renew them")
	}
	for _, w := range m.watches {
		w.expired = w.revision > 0 || w.entries >= 0
	}
	return nil
}

func (m *model) dieStep(st step) error {
	if m.addresses < st.times() || m.addresses < 2 {
		return errors.New("there is no such address, or no other one")
	}
	m.down = st.times()
	return nil
}

func (m *model) reviveStep(st step) error {
	if m.down == 0 || m.down != st.times() {
		return errors.New("the address is not down")
	}
	m.down = 0
	return nil
}

// unreadyStep makes the health service of one address say NOT_SERVING. New streams go to the other one.
func (m *model) unreadyStep(st step) error {
	if m.addresses < st.times() || m.addresses < 2 || m.unready > 0 {
		return errors.New("there is no such address, or no other one that is ready")
	}
	m.unready = st.times()
	m.breaks(failure{code: "UNAVAILABLE", reason: "DRAINING"})
	return nil
}

func (m *model) readyStep(st step) error {
	if m.unready == 0 || m.unready != st.times() {
		return errors.New("the address is ready")
	}
	m.unready = 0
	return nil
}

// crowdStep begins and ends many watches of a session of their own.
func (m *model) crowdStep(step) error {
	if len(m.watches) > 0 {
		return errors.New("there are watches, which can see the crowd's session")
	}
	return nil
}

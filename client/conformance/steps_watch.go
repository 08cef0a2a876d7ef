package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

func (m *model) connectStep(st step) error {
	if m.started {
		return errors.New("it must be the first step")
	}
	if st.has("two") {
		m.addresses = 2
	}
	m.wrong, m.slow = st.has("wrong-token"), st.has("slow")
	return nil
}

func (m *model) watchStep(st step) error {
	kind := st.word()
	before := m.watches[kind]
	switch {
	case !slices.Contains(kinds, kind):
		return fmt.Errorf("there is no kind of watch %q", kind)
	case before != nil && before.live:
		return errors.New("there is a live watch of this kind")
	case before != nil && kind == byConsumer:
		return errors.New("a second consumer begins where the first one acknowledged")
	case m.isChance(kind):
		return errors.New("whether the failure is the very first answer is chance: the client can still hold a connection that was cut")
	case (st.has("unknown") || st.has("bad-token")) && kind != bySession:
		return errors.New("only a watch of a session can be unknown or have a bad token")
	}
	w := m.add(kind, st)
	w.unknown, w.badToken = st.has("unknown"), st.has("bad-token")
	if !m.away {
		m.open(w)
	}
	return nil
}

// isChance reports whether a watch that begins now gets an error that ends it only if nothing has failed before.
func (m *model) isChance(kind string) bool {
	for _, f := range []failure{{code: codeOfHTTP(m.http.code), n: m.http.n}, m.refusals[kind]} {
		if m.shaky && f.n > 0 && f.reason == "" && slices.Contains(endingCodes, f.code) {
			return true
		}
	}
	return false
}

func (m *model) add(kind string, st step) *watched {
	m.begun[kind]++
	w := &watched{name: kind, kind: kind, live: true, first: true, entries: -1, untilSettled: st.has("settled")}
	if m.begun[kind] > 1 {
		w.name += "-" + strconv.Itoa(m.begun[kind])
	}
	m.watches[kind], m.want[w.name] = w, []string{}
	return w
}

// againStep begins another watch after the token of the last one of its kind.
func (m *model) againStep(st step) error {
	before := m.watches[st.word()]
	if before == nil || before.live || before.kind == byConsumer || before.unknown || before.badToken ||
		before.revision == 0 && before.entries < 0 && !before.expired {
		return errors.New("no earlier watch of this kind has a token")
	}
	if m.isChance(before.kind) {
		return errors.New("whether the failure is the very first answer is chance: the client can still hold a connection that was cut")
	}
	w := m.add(before.kind, st)
	w.session, w.revision, w.entries, w.expired = before.session, before.revision, before.entries, before.expired || before.reset
	m.open(w)
	return nil
}

func (m *model) pauseStep(st step) error {
	w := m.watches[st.word()]
	switch {
	case w == nil || !w.live && !w.paused:
		return errors.New("there is no such live watch")
	case w.paused == (st.verb == "pause"):
		return errors.New("it is so already")
	}
	w.paused, w.broken = st.verb == "pause", false
	if w.paused {
		w.pausedAt = len(m.feed)
	}
	return nil
}

// floodStep makes many large changes while a watch is paused, and all live watches are.
func (m *model) floodStep(st step) error {
	for _, w := range m.live() {
		if !w.paused || w.broken || w.kind == byConsumer {
			return errors.New("all watches must be paused, their streams open, and none a consumer")
		}
	}
	for range st.times() {
		m.change(len(m.sessions)-1, "").large = true
	}
	m.deliverAll()
	return nil
}

func (m *model) stopStep(st step) error {
	w := m.watches[st.word()]
	if w == nil || !w.live || m.away && w.kind == byConsumer {
		return errors.New("there is no such live watch, or it is a consumer that cannot acknowledge")
	}
	m.end(w, failure{code: "CANCELLED"})
	return nil
}

func (m *model) closeStep(step) error {
	m.closed = true
	for _, w := range m.live() {
		m.end(w, failure{code: "CANCELLED"})
	}
	return nil
}

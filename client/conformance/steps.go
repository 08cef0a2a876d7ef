package main

import (
	"errors"
	"slices"
)

// apply does one step. It returns an error, and changes nothing, if the step has no single right outcome at this point of the
// script.
func (m *model) apply(st step) error {
	m.made = nil
	verb, ok := verbs[st.verb]
	switch {
	case !ok:
		return errors.New("there is no such step")
	case m.closed:
		return errors.New("the client is closed")
	}
	if err := m.check(st, verb); err != nil {
		return err
	}
	cuts := verb.cuts && (st.verb != "http" || len(m.live()) > 0) // a client without watches leaves its connections before http
	if err := verb.do(m, st); err != nil {
		return err
	}
	m.started = true
	// With one address, a watch that reads has the client's only connection, which works.
	steady := m.addresses == 1 && !m.away && slices.ContainsFunc(m.live(), func(w *watched) bool { return !w.paused })
	m.shaky = (m.shaky || cuts) && !steady
	return nil
}

// verb is what a step does, and when it has a single right outcome.
type verb struct {
	do func(*model, step) error
	// Each of these is a condition of the step.
	up       bool // the service can be reached
	watched  bool // there is a live watch
	reading  bool // no watch is paused
	allUp    bool // no address is down
	answered bool // no failure waits for a call
	cuts     bool // it is no condition: the step cuts connections
	quick    bool // the watches are of sessions that a change concerns
}

var verbs = map[string]verb{
	"connect": {do: (*model).connectStep},
	"watch":   {do: (*model).watchStep, reading: true},
	"again":   {do: (*model).againStep, up: true, reading: true},
	"change":  {do: (*model).changeStep},
	"newer":   {do: func(m *model, _ step) error { m.newer(); m.deliverAll(); return nil }, reading: true},
	"settle":  {do: (*model).settleStep, reading: true},
	"redact":  {do: (*model).redactStep, reading: true},
	"repeat":  {do: (*model).repeatStep, up: true, watched: true, reading: true, quick: true},
	"cut":     {do: (*model).cutStep, up: true, watched: true, quick: true, cuts: true},
	"end":     {do: (*model).endStep, up: true, watched: true},
	"forget":  {do: (*model).forgetStep, up: true, reading: true},
	"refuse":  {do: (*model).refuseStep, up: true, reading: true, answered: true},
	"http":    {do: (*model).httpStep, up: true, reading: true, answered: true, allUp: true, cuts: true},
	"drain":   {do: (*model).breakStep, up: true, watched: true, reading: true, cuts: true},
	"silence": {do: (*model).silenceStep, up: true, watched: true, reading: true, quick: true},
	"hang":    {do: (*model).silenceStep, up: true, watched: true, reading: true, quick: true, allUp: true, cuts: true},
	"quiet":   {do: func(*model, step) error { return nil }, up: true, watched: true, reading: true},
	"away":    {do: (*model).awayStep, up: true, reading: true, allUp: true, answered: true, cuts: true},
	"back":    {do: (*model).backStep},
	"trim":    {do: (*model).trimStep},
	"die":     {do: (*model).dieStep, up: true, reading: true, allUp: true, answered: true, cuts: true},
	"revive":  {do: (*model).reviveStep},
	"unready": {do: (*model).unreadyStep, up: true, watched: true, reading: true, allUp: true},
	"ready":   {do: (*model).readyStep},
	"crowd":   {do: (*model).crowdStep},
	"pause":   {do: (*model).pauseStep, up: true, watched: true},
	"resume":  {do: (*model).pauseStep},
	"flood":   {do: (*model).floodStep, up: true, watched: true},
	"stop":    {do: (*model).stopStep, reading: true},
	"fail":    {do: (*model).failStep, up: true, answered: true},
	"status":  {do: (*model).callStep, up: true},
	"retry":   {do: (*model).callStep, up: true},
	"close":   {do: (*model).closeStep, reading: true},
}

func (m *model) check(st step, v verb) error {
	live := m.live()
	newest := len(m.sessions) - 1
	switch {
	case v.up && m.away:
		return errors.New("the service is away")
	case v.watched && len(live) == 0:
		return errors.New("there is no live watch")
	case v.reading && m.pausedKind() != "": // also one that has ended: its reader has not seen that
		return errors.New("a watch is paused")
	case v.allUp && m.down > 0:
		return errors.New("an address is down")
	case v.answered && (m.http.n > 0 || m.failures.n > 0 || slices.ContainsFunc(kinds, func(k string) bool { return m.refusals[k].n > 0 })):
		return errors.New("a failure waits for a call already")
	case (v.quick || st.of > 0) && m.sessions[newest].redacted > 0:
		return errors.New("the newest session is redacted")
	case (v.quick || st.of > 0) && slices.ContainsFunc(live, func(w *watched) bool { return w.kind == bySession && w.session != newest }):
		return errors.New("a change of the newest session does not concern the watch of another one")
	}
	return nil
}

func (m *model) deliverAll() {
	if !m.away {
		for _, w := range m.live() {
			m.deliver(w)
		}
	}
}

// breaks ends all streams with an error that ends no watch, and opens others.
func (m *model) breaks(f failure) {
	for _, w := range m.live() {
		m.fails(w, f)
		w.broken = w.broken || w.paused
		m.open(w)
	}
}

// finish returns the next step that ends a script, or false if nothing is left.
func (m *model) finish() (step, bool) {
	var text string
	switch live := m.live(); {
	case m.closed:
		return step{}, false
	case m.pausedKind() != "":
		text = "resume " + m.pausedKind()
	case m.away:
		text = "back"
	case len(live) > 0:
		text = "stop " + live[0].kind
	default:
		text = "close"
	}
	st, err := parseStep(text)
	if err != nil {
		panic(err) // of a text in this function
	}
	return st, true
}

func (m *model) pausedKind() string {
	for _, kind := range kinds {
		if w := m.watches[kind]; w != nil && w.paused {
			return kind
		}
	}
	return ""
}

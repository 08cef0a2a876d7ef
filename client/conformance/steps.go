package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	reading  bool // no live watch is paused
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
	case v.reading && slices.ContainsFunc(live, (*watched).isPaused):
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
func (m *model) breaks(code, reason string) {
	for _, w := range m.live() {
		m.fails(w, code, reason)
		w.broken = w.broken || w.paused
		m.open(w)
	}
}

func (m *model) connectStep(st step) error {
	if m.started {
		return errors.New("it must be the first step")
	}
	if st.has("two") {
		m.addresses = 2
	}
	m.wrong = st.has("wrong-token")
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
	for _, f := range []failure{{codeOfHTTP(m.http.code), "", m.http.n}, m.refusals[kind]} {
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

func (m *model) cutStep(st step) error {
	if !st.has("before") && !st.has("in") && !st.has("after") {
		return errors.New("say before, in or after")
	}
	if !slices.ContainsFunc(m.live(), func(w *watched) bool { return !w.broken }) {
		return errors.New("no watch has an open stream: those that are paused do not open another one")
	}
	m.changeNewest(max(st.of, 1))
	m.breaks("UNAVAILABLE", "")
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
	m.breaks(st.code, st.reason)
	return nil
}

// forgetStep deletes the consumer.
func (m *model) forgetStep(step) error {
	w := m.watches[byConsumer]
	if w == nil || !w.live {
		return errors.New("there is no live consumer")
	}
	m.end(w, "*", "CONSUMER_NOT_FOUND") // the code is that of the open stream or of the next one
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
			m.refusals[kind] = failure{st.code, st.reason, st.times()}
		}
	}
	m.breaks("UNAVAILABLE", "DRAINING")
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
	m.breaks("UNAVAILABLE", "")
	return nil
}

func (m *model) breakStep(step) error {
	m.breaks("UNAVAILABLE", "DRAINING")
	return nil
}

func (m *model) silenceStep(step) error {
	m.changeNewest(1)
	m.breaks("UNAVAILABLE", "")
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
	m.breaks("UNAVAILABLE", "")
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
	m.breaks("UNAVAILABLE", "DRAINING")
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

func (m *model) pauseStep(st step) error {
	w := m.watches[st.word()]
	switch {
	case w == nil || !w.live && !w.paused:
		return errors.New("there is no such live watch")
	case w.paused == (st.verb == "pause"):
		return errors.New("it is so already")
	}
	w.paused, w.broken = st.verb == "pause", false
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
	m.end(w, "CANCELLED", "")
	return nil
}

func (m *model) closeStep(step) error {
	m.closed = true
	for _, w := range m.live() {
		m.end(w, "CANCELLED", "")
	}
	return nil
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

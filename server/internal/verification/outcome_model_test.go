package verification

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// outcomeModel is the life of one record in which replicas of this version and of the version before write. The truth is a walk
// over the states as they were written, each compared with the one before.
type outcomeModel struct {
	t      *rapid.T
	record Session
	now    int64
	events int
	older  bool // a replica of the version before writes

	written  map[int32]writtenRevision
	archived int32 // the newest revision at which the record was archived; 0: none
}

// writtenRevision is one revision as it was written.
type writtenRevision struct {
	state    State
	outcome  OutcomeKey
	imported bool
}

// inputTime is Stripe's second of an input.
type inputTime struct {
	second   int64
	imported bool
}

// commit takes a write. seconds are those of the revisions that it makes, in order.
func (m *outcomeModel) commit(next Session, times ...inputTime) {
	for revision := m.record.Revision + 1; revision <= next.Revision; revision++ {
		state := next.State
		for _, entry := range next.History {
			if entry.Revision == revision {
				state = entry.Result
			}
		}
		before, known := m.written[revision-1]
		old := before.state
		if state.Redaction > 0 || next.ArchivedAt == revision {
			old.Error, old.Report = Error{}, ""
		}
		shown := state
		if m.archived > 0 && revision == m.archived+1 {
			shown.Error, shown.Report = Error{}, "" // the archive has erased those of before
		}
		now := writtenRevision{state: state, outcome: before.outcome, imported: before.imported}
		if !known || old.Status != shown.Status || old.Error != shown.Error || old.Report != shown.Report {
			at := times[min(len(times), int(revision-m.record.Revision))-1]
			if m.older && next.Tombstone() {
				at.second = state.UpdateTime // the time of the input is erased
			}
			now.outcome = OutcomeKey{Revision: revision, ID: outcomeID("vs_1", state, at.second)}
			now.imported = at.imported
		}
		m.written[revision] = now
	}
	m.record = next
	if next.IsArchived() {
		m.archived = next.Revision
	}
	m.check()
}

// byOlder is a write of a replica of the version before. It keeps the fields that it does not know among the unknown ones.
func (m *outcomeModel) byOlder(write func(Session) (Session, []inputTime)) {
	m.older = true
	defer func() { m.older = false }()
	known := m.record
	current := deepCopy(known)
	current.Kept, current.Extra = KeptOutcome{}, []byte("unknown fields")
	for i := range current.History {
		current.History[i].Extra = fmt.Append(nil, current.History[i].OutcomeTime)
		current.History[i].OutcomeTime = 0
	}
	next, times := write(current)
	next = deepCopy(next)
	next.Kept = KeptOutcome{}
	if next.Extra != nil {
		next.Kept = known.Kept
	}
	next.Extra = nil
	for i := range next.History {
		entry := &next.History[i]
		if entry.Extra != nil && entry.Revision == known.Kept.At && known.Tombstone() {
			next.Kept = known.Kept // that of a tombstone is stored in the entry
		}
		entry.OutcomeTime = 0
		if entry.Extra != nil {
			_, _ = fmt.Sscan(string(entry.Extra), &entry.OutcomeTime)
			entry.Extra = nil
		}
	}
	m.commitOlder(next, times)
}

// commitOlder is commit for a replica of the version before. If it erases the history, it drops what it does not know. Then the outcome is the oldest revision still known, and the truth begins with it.
func (m *outcomeModel) commitOlder(next Session, times []inputTime) {
	before, floor := m.record, next.Floor()
	at := slices.IndexFunc(next.History, func(e Entry) bool { return e.Revision == floor })
	// A write after an archived revision, which has no entry, is compared with nothing, unless it cannot have brought an outcome.
	compared := !before.Exists() || floor == before.Floor() || next.Kept.At == floor-1 && !next.History[at].canBring()
	if compared && next.Kept == before.Kept && len(next.Erased) == len(before.Erased) {
		m.commit(next, times...)
		return
	}
	state := next.State
	if at >= 0 {
		state = next.History[at].Result
	}
	m.written[floor] = writtenRevision{state: state, outcome: OutcomeKey{Revision: floor, ID: outcomeID("vs_1", state, state.UpdateTime)}}
	for revision := floor + 1; revision <= before.Revision; revision++ {
		if later := m.written[revision]; later.outcome.Revision != revision {
			m.written[revision] = writtenRevision{later.state, m.written[revision-1].outcome, false}
		}
	}
	m.record.Revision = max(floor, before.Revision)
	m.commit(next, times...)
}

// check compares all revisions that the record tells with those that were written.
func (m *outcomeModel) check() {
	changes := m.record.ChangesAfter(0)
	for _, change := range changes {
		want := m.written[change.Revision]
		if change.Outcome != want.outcome || change.imported != want.imported {
			m.t.Fatalf("revision %d of %d shows the outcome %d %v imported %v; it was written as %d %v imported %v\nkept %+v", change.Revision, m.record.Revision,
				change.Outcome.Revision, change.Outcome.ID, change.imported, want.outcome.Revision, want.outcome.ID, want.imported, m.record.Kept)
		}
	}
	if key := m.record.OutcomeKey(); m.record.Exists() && key != changes[len(changes)-1].Outcome {
		m.t.Fatalf("the snapshot shows the outcome %v; the changes end with %v", key, changes[len(changes)-1].Outcome)
	}
	if again := m.record.clone(); again.OutcomeKey() != m.record.OutcomeKey() {
		m.t.Fatal("a copy shows another outcome")
	}
}

// object draws what Stripe says.
func (m *outcomeModel) object() Object {
	status := rapid.SampledFrom([]string{StatusRequiresInput, StatusProcessing, StatusVerified, StatusVerified, StatusCanceled}).Draw(m.t, "status")
	o := object(status, Error{}, rapid.SampledFrom([]string{"", "vr_1", "vr_2"}).Draw(m.t, "report"))
	if status == StatusRequiresInput {
		o.Error = rapid.SampledFrom([]Error{{}, expired, mismatch, abandoned, {Code: expired.Code, Reason: "Other words."}}).Draw(m.t, "error")
	}
	o.Reference = rapid.SampledFrom([]string{"", "person-1", "person-2"}).Draw(m.t, "reference")
	return o
}

// input draws a write. It returns the record after it, and the times of its inputs.
func (m *outcomeModel) input(current Session) (Session, []inputTime) {
	t := m.t
	m.now += rapid.Int64Range(0, 3).Draw(t, "pause")
	m.events++
	second := m.now + rapid.Int64Range(-4, 0).Draw(t, "late")
	e := event(name("evt", m.events), rapid.SampledFrom([]string{EventProcessing, EventRequiresInput, EventVerified}).Draw(t, "type"), second, m.object())
	at := func(seconds ...int64) []inputTime {
		var times []inputTime
		for _, second := range seconds {
			times = append(times, inputTime{second: second})
		}
		return times
	}
	got := Read{Object: e.Object, AsOf: m.now - rapid.Int64Range(0, 2).Draw(t, "as of"), Applied: current.Applied, RecordTime: 1000 * (m.now + 1000)}
	switch rapid.SampledFrom([]string{
		"event", "event", "event", "event", "read", "resolve", "thin", "import", "grant", "redacting", "redacted", "archive", "inherit", "supersede", "revoke", "absent",
	}).Draw(t, "input") {
	case "redacting":
		e.Object.Redaction = RedactionProcessing
	case "redacted":
		if rapid.IntRange(0, 2).Draw(t, "really") > 0 { // or most lives would be short
			return current, nil
		}
		e.Object.Redaction = RedactionRedacted
	case "read":
		next, _ := ApplyRead(current, got)
		return next, at(m.timeOf(current, got))
	case "resolve":
		if rapid.Bool().Draw(t, "another answer") {
			got.Object = m.object()
		}
		_, outcome := Transition(current, e)
		if !outcome.Ambiguous {
			break
		}
		next, _ := Resolve(current, e, got)
		readSecond := m.timeOf(current, got)
		if got.Object.saysState(objectState(e.Object)) && !m.older {
			readSecond = e.Second
		}
		return next, at(readSecond, e.Second)
	case "thin":
		e.Type, e.Thin, e.Object = ThinPrefix+e.Type, true, Object{ID: "vs_1"}
		next, _ := ApplyThin(current, e, got)
		return next, at(e.Second)
	case "import":
		next, _ := ApplyImport(current, Listed{Object: e.Object, AsOf: got.AsOf, RecordTime: got.RecordTime})
		return next, []inputTime{{got.AsOf, true}}
	case "grant":
		if current.Exists() {
			next, _, _ := GrantRetry(current, RetryPolicy{MaxRetries: 9}, time.Unix(m.now, 0), bff)
			return next, nil
		}
	case "archive":
		next, _ := Archive(current, time.Second, time.Unix(m.now+5000, 0))
		return next, nil
	case "inherit":
		if current.Exists() {
			next, _ := Inherit(current, Session{ID: "vs_0", State: State{FailedAttempts: 1, RetriesGranted: 1}}, time.Unix(m.now, 0))
			return next, nil
		}
	case "supersede":
		if current.Exists() && rapid.IntRange(0, 3).Draw(t, "really") == 0 {
			next, _, _ := GrantReplacement(current, RetryPolicy{MaxRetries: 9}, time.Unix(m.now, 0), bff, "https://example.com")
			next, _ = Supersede(next, "vs_2", time.Unix(m.now, 0))
			return next, nil
		}
	case "revoke":
		if current.Exists() {
			next, _, _ := GrantReplacement(current, RetryPolicy{MaxRetries: 9}, time.Unix(m.now, 0), bff, "https://example.com")
			next, _ = RevokeReplacement(next, "https://example.com", time.Unix(m.now, 0))
			return next, nil
		}
	case "absent":
		next, _ := NoteUnknown(current)
		return next, nil
	}
	next, _ := Transition(current, e)
	return next, at(e.Second)
}

// timeOf returns the second that the outcome of a read has: that of the newest unresolved event that said the same, or its own.
// An event before the outcome that is shown does not count. The version before does not store the first.
func (m *outcomeModel) timeOf(current Session, got Read) int64 {
	for _, entry := range slices.Backward(current.History) {
		if entry.Revision > 0 && m.written[entry.Revision].outcome.Revision == entry.Revision {
			break
		}
		says := Error{entry.Error.Code, entry.Error.Reason} == got.Object.Error && entry.Status == got.Object.Status
		if current.Unresolved && entry.Effect == EffectPending && says && !m.older {
			return entry.EventTime
		}
	}
	return got.AsOf
}

// TestG13_ModelOfOutcomes: in any order of inputs, every revision that a record tells shows the outcome that it showed when it was
// written, also after a redaction, the archive and a trimmed history, and if replicas of the version before write in between.
func TestG13_ModelOfOutcomes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &outcomeModel{t: t, now: 100, written: make(map[int32]writtenRevision)}
		mixed := rapid.Bool().Draw(t, "mixed")
		for range rapid.IntRange(1, 30).Draw(t, "inputs") {
			if mixed && rapid.Bool().Draw(t, "older") {
				m.byOlder(m.input)
				continue
			}
			next, times := m.input(m.record)
			m.commit(next, times...)
		}
	})
}

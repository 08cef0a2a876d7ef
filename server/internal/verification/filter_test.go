package verification

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// selected returns the revisions that a filter selects of the feed of a record, with their outcomes.
func selected(f Filter, s Session) (revisions, outcomes []int32) {
	for revision := int32(0); revision <= s.Revision+1; revision++ {
		if change, ok := f.Select(s, revision); ok {
			revisions, outcomes = append(revisions, change.Revision), append(outcomes, change.Outcome.Revision)
		}
	}
	return revisions, outcomes
}

// filterLife has the outcomes 1, 2, 3, 5 and 6: revision 4 is a grant.
func filterLife() Session {
	s := after(created("a", 1), processing("b", 2, ""), failed("c", 3, "vr_1", expired))
	s, _, _ = GrantRetry(s, policy(), at(4), bff)
	s, _ = Transition(s, processing("d", 5, "vr_1"))
	s, _ = Transition(s, verified("e", 6, "vr_2"))
	return s
}

func TestFilterSelects(t *testing.T) {
	life := filterLife()
	tombstone, _ := Transition(life, redacted("f", 7, StatusVerified, RedactionProcessing))
	tombstone, _ = Transition(tombstone, redacted("g", 8, StatusVerified, RedactionRedacted))
	archived, _ := Archive(life, time.Hour, at(2*60*60*1000))
	plain := func(id, status string, second int64) Event {
		return event(id, EventProcessing, second, Object{ID: "vs_1", Status: status, Created: 1}) // the archive makes no revision
	}
	bare, _ := Archive(after(plain("a", StatusProcessing, 1), plain("b", StatusVerified, 2)), time.Hour, at(2*60*60*1000))
	imported, _ := ApplyImport(Session{}, Listed{Object: object(StatusVerified, Error{}, "vr_1"), AsOf: 10, RecordTime: 10_000})
	superseded, _ := Supersede(imported, "vs_2", at(11))
	importedArchived, _ := Archive(superseded, time.Hour, at(2*60*60*1000))
	redactedCanceled, _ := Transition(after(created("a", 1), processing("b", 2, ""), verified("c", 3, "vr_1")), redacted("d", 4, StatusCanceled, RedactionProcessing))
	overridden, _ := Transition(superseded, failed("h", 20, "vr_1", mismatch))
	all, only, onlyVerified := Filter{}, Filter{OutcomesOnly: true}, Filter{Statuses: []string{StatusVerified}}
	for what, c := range map[string]struct {
		f                   Filter
		s                   Session
		revisions, outcomes []int32
	}{
		"all":                                   {all, life, []int32{1, 2, 3, 4, 5, 6}, []int32{1, 2, 3, 3, 5, 6}},
		"all of a tombstone":                    {all, tombstone, []int32{7, 8}, []int32{6, 6}},
		"outcomes":                              {only, life, []int32{1, 2, 3, 5, 6}, []int32{1, 2, 3, 5, 6}},
		"outcomes of a tombstone":               {only, tombstone, []int32{7}, []int32{6}},
		"outcomes of an archived record":        {only, archived, []int32{7}, []int32{6}},
		"outcomes of one archived in its place": {only, bare, []int32{2}, []int32{2}},
		"outcomes of an import":                 {only, superseded, nil, nil},
		"outcomes of an archived import":        {only, importedArchived, nil, nil},
		"outcomes after an import":              {only, overridden, []int32{3}, []int32{3}},
		"a status":                              {onlyVerified, life, []int32{6}, []int32{6}},
		"a status of a tombstone":               {onlyVerified, tombstone, []int32{7, 8}, []int32{6, 6}},
		"a status of an import":                 {onlyVerified, superseded, []int32{2}, []int32{1}},
		"another status":                        {Filter{Statuses: []string{StatusRequiresInput, StatusProcessing}}, life, []int32{1, 2, 3, 4, 5}, []int32{1, 2, 3, 3, 5}},
		// The watch might have to show "processing", which nobody can tell any more.
		"another status of a tombstone": {Filter{Statuses: []string{StatusProcessing}}, tombstone, []int32{7}, []int32{6}},
		// The watch might have to show "verified", and the oldest revision that is left brought "canceled".
		"a status before a redaction that brought an outcome":      {onlyVerified, redactedCanceled, []int32{4}, []int32{4}},
		"a status of outcomes before a redaction that brought one": {Filter{OutcomesOnly: true, Statuses: []string{StatusVerified}}, redactedCanceled, []int32{4}, []int32{4}},
		"a status of one archived in its place":                    {Filter{Statuses: []string{StatusProcessing}}, bare, []int32{2}, []int32{2}},
		"a status of an archived import":                           {Filter{Statuses: []string{StatusProcessing}}, importedArchived, nil, nil},
		"outcomes of a status":                                     {Filter{OutcomesOnly: true, Statuses: []string{StatusRequiresInput}}, life, []int32{1, 3}, []int32{1, 3}},
		"nothing":                                                  {only, Session{}, nil, nil},
	} {
		revisions, outcomes := selected(c.f, c.s)
		if !slices.Equal(revisions, c.revisions) || !slices.Equal(outcomes, c.outcomes) {
			t.Errorf("%s: selects revisions %v with outcomes %v; want %v with %v", what, revisions, outcomes, c.revisions, c.outcomes)
		}
	}
}

// TestG13_AFilteredWatchMissesNoOutcome: a watch of outcomes that reads the feed while the record changes is shown each outcome by
// the revision that brought it, unless the record does not tell that revision any more. It is always shown the outcome of the end,
// also after a redaction and the archive, but never that of an import. A watch of statuses is shown each outcome of one of them, or
// a later revision if the outcome was erased before the watch came to it.
func TestG13_AFilteredWatchMissesNoOutcome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &outcomeModel{t: t, now: 100, written: make(map[int32]writtenRevision)}
		f := rapid.SampledFrom([]Filter{
			{OutcomesOnly: true}, {OutcomesOnly: true, Statuses: []string{StatusVerified}}, {Statuses: []string{StatusRequiresInput, StatusProcessing}},
		}).Draw(t, "filter")
		read := int32(0)
		cut := false
		shown, newest := make(map[OutcomeKey]int), int32(0)
		follow := func(until int32) {
			for ; read < until; read++ {
				change, ok := f.Select(m.record, read+1)
				if !ok {
					continue
				}
				shown[change.Outcome]++
				newest = change.Revision
				if change.Revision != read+1 {
					t.Fatalf("for the entry of revision %d the filter selects revision %d", read+1, change.Revision)
				}
				if f.OutcomesOnly && change.Outcome.Revision != change.Revision && change.Outcome.Revision >= m.record.Floor() {
					t.Fatalf("revision %d repeats the outcome of revision %d, which the record tells", change.Revision, change.Outcome.Revision)
				}
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "inputs") {
			next, times := m.input(m.record)
			m.commit(next, times...)
			cut = cut || m.record.Floor() > 1
			if rapid.Bool().Draw(t, "reads") {
				follow(rapid.Int32Range(read, m.record.Revision).Draw(t, "until"))
			}
		}
		follow(m.record.Revision)
		for revision, written := range m.written {
			times := shown[written.outcome]
			switch last := revision == m.record.Revision; {
			case !f.hasStatus(written.state.Status):
			case len(f.Statuses) > 0 && !written.imported && times == 0 && (newest < revision || !cut):
				t.Errorf("revision %d of %d: its outcome %v of status %s was not shown, and no later revision", revision, m.record.Revision, written.outcome, written.state.Status)
			case !f.OutcomesOnly:
			case written.imported && times > 0:
				t.Errorf("revision %d: the outcome of the import was shown", revision)
			case len(f.Statuses) == 0 && !written.imported && times == 0 && (last || !cut):
				t.Errorf("revision %d of %d: its outcome %v was not shown", revision, m.record.Revision, written.outcome)
			case !cut && times > 1:
				t.Errorf("revision %d: its outcome was shown %d times", revision, times)
			}
		}
	})
}

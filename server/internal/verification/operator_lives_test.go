package verification

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// operatedLife is a record that any input can meet: late, repeated, read, imported, archived, and written by the version before.
type operatedLife struct {
	t          *rapid.T
	record     Session
	policy     RetryPolicy
	now        int64
	events     int
	allowances int32
	inherited  int32          // overrides; the record does not say it after the version before wrote a tombstone
	forgotten  bool           // the version before erased what it does not know
	older      map[int32]bool // the revisions that the version before made
	live       map[int32]operatedView
}

// operatedView is what callers see of the acts of operators at one revision.
type operatedView struct {
	resolution         Resolution
	open, settled      bool
	granted, overrides int32
	outcome            OutcomeKey
}

func operatedOf(c Change) operatedView {
	return operatedView{c.State.Resolution, c.State.OverrideOpen(), c.State.Settled(), c.State.RetriesGranted, c.State.Overrides, c.Outcome}
}

// put takes the record after a write, and compares all that it tells with what it told when it was written.
func (l *operatedLife) put(next Session) {
	before := l.record
	l.record = next
	if next.Revision < before.Revision || next.Revision > before.Revision+2 {
		l.t.Fatalf("revision %d after %d", next.Revision, before.Revision)
	}
	for _, change := range next.ChangesAfter(before.Revision) {
		l.live[change.Revision] = operatedOf(change)
	}
	if next.Exists() && operatedOf(next.Current()) != l.live[next.Revision] {
		l.t.Fatalf("revision %d was told as %+v\nnow %+v", next.Revision, l.live[next.Revision], operatedOf(next.Current()))
	}
	for _, change := range next.ChangesAfter(0) {
		got, want := operatedOf(change), l.live[change.Revision]
		if l.older[change.Revision] {
			// Its entry has the allowance and the overrides of the entry before, also if it closed the one or revoked the other.
			got.open, got.overrides = want.open, want.overrides
			if len(next.Erased) > 0 { // then the entry before can be erased, with its resolution
				got.resolution, got.settled = want.resolution, want.settled
			}
		}
		if got != want {
			l.t.Fatalf("revision %d of %d is told as %+v\nit was %+v", change.Revision, next.Revision, got, want)
		}
	}
	if text := dump(next); next.detailsErased() && strings.Contains(text, "SECRET") {
		l.t.Fatalf("a record without details holds %s", text)
	}
	if next.Tombstone() && (next.Allowance.Given || next.Replacement.Used.Failure != 0) {
		l.t.Fatalf("a tombstone holds the allowances %+v and %+v, whose id can be made of an error code", next.Allowance, next.Replacement.Used)
	}
	free := max(l.policy.MaxRetries, before.RetriesGranted-before.Overrides)
	if used := next.RetriesGranted - next.Overrides; !l.forgotten && used > free && next.Predecessor == before.Predecessor {
		l.t.Fatalf("%d grants without an operator; want at most %d", used, free)
	}
	if next.Overrides-l.inherited > l.allowances || next.Overrides > next.RetriesGranted || next.Overrides < 0 {
		l.t.Fatalf("%d of %d grants by an operator, %d inherited, after %d allowances", next.Overrides, next.RetriesGranted, l.inherited, l.allowances)
	}
	in, denial := l.policy.Lists(next), l.policy.Judge(next.State, at(l.now)).Denial
	if (next.Resolution.Kind != ResolutionNone || next.OverrideOpen()) && (in.Has(ListLimitReached) || in.Has(ListNotRetryable)) {
		l.t.Fatalf("resolved %+v, open %v, but in the lists %07b", next.Resolution, next.OverrideOpen(), in)
	}
	if next.OverrideOpen() && denial >= DenialLimitReached && denial != DenialResolved {
		l.t.Fatalf("an open allowance, and denial %d", denial)
	}
}

// act is what an operator or a comparison does. It is checked against the rule that it touches nothing else.
func (l *operatedLife) act(seen bool, do func(Session) (Session, bool)) {
	t, before := l.t, l.record
	given := roomy(before)
	copied := deepCopy(given)
	next, changed := do(given)
	if !reflect.DeepEqual(given, copied) {
		t.Fatal("the argument was changed")
	}
	if !changed {
		if !reflect.DeepEqual(next, copied) {
			t.Fatalf("nothing is to be stored, but the record is\n%+v\nand was\n%+v", next, before)
		}
		return
	}
	entry := next.History[len(next.History)-1]
	if seen != (next.Revision == before.Revision+1) || seen != (entry.Revision == next.Revision) || entry.RecordTime != l.now*1000 {
		t.Fatalf("revision %d after %d, entry %+v", next.Revision, before.Revision, entry)
	}
	if again, changed := do(next); seen && changed {
		t.Fatalf("said again, it made revision %d of %+v", again.Revision, again.State)
	}
	if next.OutcomeKey() != before.OutcomeKey() {
		t.Fatalf("the outcome moved from %+v to %+v", before.OutcomeKey(), next.OutcomeKey())
	}
	rest := func(s Session) []any {
		due, is := s.DueAt()
		_, archives := Archive(s, time.Hour, at(s.lastHeard()+3600))
		_, early := Archive(s, time.Hour, at(s.lastHeard()+3599))
		s.Resolution, s.Allowance, s.LastFailure.Code = Resolution{}, Allowance{}, ""
		return []any{due, is, archives, early, s.lastHeard(), s.StateReceivedAt(), s.IsArchived(), s.IsAbsent(), s.detailsErased(), s.State, s.Second, s.AsOf, s.Applied,
			s.Unresolved, append([]Failure{}, s.Failures...), s.Replacement, s.Inherited}
	}
	if got, want := rest(next), rest(before); len(next.History) < MaxHistory && !reflect.DeepEqual(got, want) {
		t.Fatalf("it touched more than its own:\n%+v\nwas\n%+v", got, want)
	}
	l.put(next)
}

func (l *operatedLife) operate() {
	t, name := l.t, rapid.SampledFrom([]string{"SECRET-1", "SECRET-2"}).Draw(l.t, "operator")
	switch rapid.SampledFrom([]string{"allow", "allow", "resolve", "take back", "compare"}).Draw(t, "act") {
	case "allow":
		var decision Decision
		refused := l.policy.Judge(l.record.State, at(l.now)).Denial
		if l.record.Status == StatusCanceled && l.record.SupersededBy == "" {
			refused = l.policy.judgeReplacement(l.record, at(l.now)).Denial
		}
		lifts := refused == DenialLimitReached || refused == DenialNotRetryable || refused == DenialCooldown
		was := l.record.Revision
		l.act(true, func(s Session) (next Session, changed bool) {
			var d Decision
			next, d, changed = AllowRetry(s, l.policy, at(l.now), name)
			if l.record.Revision == s.Revision {
				decision = d
			}
			l.allowances += map[bool]int32{true: 1}[changed]
			return next, changed
		})
		if changed := l.record.Revision > was; changed != lifts || lifts != l.record.OverrideOpen() && lifts || !lifts && decision.Denial != refused {
			t.Fatalf("refused by %d: allowed %v, open %v, denial %d", refused, changed, l.record.OverrideOpen(), decision.Denial)
		}
	case "resolve", "take back":
		kind := rapid.SampledFrom([]ResolutionKind{0, 0, ResolutionVerifiedElsewhere, ResolutionDeclined, ResolutionClosed}).Draw(t, "kind")
		l.act(true, func(s Session) (Session, bool) { return ResolveVerification(s, kind, at(l.now), name) })
		if s := l.record; s.Exists() && (s.Resolution.Kind != kind || !s.Settled() && kind != ResolutionNone) {
			t.Fatalf("resolved as %+v; want %d", s.Resolution, kind)
		}
	case "compare":
		limit := rapid.IntRange(0, 3).Draw(t, "limit")
		l.act(false, func(s Session) (Session, bool) {
			next, _, changed := Compare(s, limit, at(l.now), name, 5)
			return next, changed
		})
		if entries := l.comparisons(); entries > MaxComparisons {
			t.Fatalf("%d entries of comparisons", entries)
		}
	}
}

func (l *operatedLife) comparisons() (entries int) {
	for _, entry := range l.record.History {
		if entry.Source == SourceComparison {
			entries++
		}
	}
	return entries
}

// TestG9_OperatorsInAnyLife: whatever else happens to a session, an operator's act changes its own fields alone, makes one revision
// once, and is told alike by every watch, live or late.
func TestG9_OperatorsInAnyLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &operatedLife{t: t, now: 1000, older: make(map[int32]bool), live: make(map[int32]operatedView)}
		l.policy = RetryPolicy{MaxRetries: rapid.Int32Range(0, 2).Draw(t, "max"), DenyCodes: []string{mismatch.Code}}
		if rapid.Bool().Draw(t, "cools down") {
			l.policy.Cooldown = 2 * time.Second
		}
		mixed := rapid.Bool().Draw(t, "mixed")
		for range rapid.IntRange(1, 30).Draw(t, "inputs") {
			l.now += rapid.Int64Range(0, 3).Draw(t, "pause")
			if l.record.Exists() && rapid.IntRange(0, 2).Draw(t, "who") == 0 {
				l.operate()
				continue
			}
			if mixed && rapid.IntRange(0, 2).Draw(t, "older") == 0 {
				l.putOlder(byVersionBefore(l.record, l.input))
				continue
			}
			l.put(l.input(l.record))
		}
	})
}

package verification

import (
	"testing"
	"time"
)

// replaced returns a closed session whose replacement was granted.
func replaced(t *testing.T) Session {
	t.Helper()
	s, decision, changed := GrantReplacement(after(failed("a", 1, "vr_1", expired), canceled("b", 5, "vr_1")), policy(), at(6), bff, backTo)
	if !changed {
		t.Fatal(decision)
	}
	return s
}

// claimant returns a session that claims to replace another one.
func claimant(id, replaces string, change ...func(*Object)) Session {
	e := created(id, 7)
	e.Object.ID, e.Object.Replaces, e.Object.Created = id, replaces, 7
	for _, c := range change {
		c(&e.Object)
	}
	s, _ := Transition(Session{}, e)
	return s
}

// TestG9_AClaimCountsOnlyWhereItsPredecessorAccepts: everybody with access to the metadata can claim.
func TestG9_AClaimCountsOnlyWhereItsPredecessorAccepts(t *testing.T) {
	old := replaced(t)
	with := func(change func(*Session)) Session { s := old; change(&s); return s }
	erased, _ := Transition(old, redacted("r", 9, StatusCanceled, RedactionRedacted))
	named, _ := Supersede(old, "vs_2", at(8))
	taken, _ := Supersede(old, "vs_3", at(8))
	heir := claimant("vs_2", "vs_1")
	older, _ := Inherit(claimant("vs_2", ""), Session{ID: "vs_1"}, at(8)) // as an older version leaves it
	whole, _ := Inherit(heir, old, at(8))
	for name, c := range map[string]struct {
		old, heir Session
		want      bool
	}{
		"granted":                       {old, heir, true},
		"it names this one":             {named, heir, true},
		"it names another":              {taken, heir, false},
		"not known":                     {Session{}, heir, false},
		"no grant":                      {after(canceled("b", 5, "")), heir, false},
		"redacted since":                {erased, heir, true},
		"another account":               {with(func(s *Session) { s.Account = "acct_2" }), heir, false},
		"the other mode":                {with(func(s *Session) { s.Livemode = !s.Livemode }), heir, false},
		"older than its predecessor":    {with(func(s *Session) { s.Created = 8 }), heir, false},
		"as old as its predecessor":     {with(func(s *Session) { s.Created = 7 }), heir, true},
		"of an unknown age":             {old, claimant("vs_2", "vs_1", func(o *Object) { o.Created = 0 }), true},
		"it claims another":             {old, claimant("vs_2", "vs_0"), false},
		"it claims none":                {old, claimant("vs_2", ""), false},
		"it claims itself":              {old, claimant("vs_1", "vs_1"), false},
		"an older version brought them": {old, older, true},
		"it has inherited":              {named, whole, false},
	} {
		if got := c.old.Accepts(c.heir); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestG9_TheClaimIsKeptByTheInputThatBringsIt: any input can bring the claim, and the first claim stays.
func TestG9_TheClaimIsKeptByTheInputThatBringsIt(t *testing.T) {
	claiming := func(e Event) Event { e.Object.Replaces = "vs_0"; return e }
	plain := after(failed("a", 10, "vr_1", expired))
	read := Read{Object: claiming(failed("", 0, "vr_1", expired)).Object, AsOf: 10, Applied: plain.Applied, RecordTime: 10_000}
	for name, input := range map[string]func() (Session, Outcome){
		"first event":  func() (Session, Outcome) { return Transition(Session{}, claiming(created("a", 1))) },
		"later event":  func() (Session, Outcome) { return Transition(plain, claiming(processing("b", 20, ""))) },
		"late event":   func() (Session, Outcome) { return Transition(plain, claiming(created("b", 1))) },
		"known event":  func() (Session, Outcome) { return Transition(plain, claiming(failed("a", 10, "vr_1", expired))) },
		"read":         func() (Session, Outcome) { return ApplyRead(Session{}, Read{Object: read.Object, AsOf: 10}) },
		"read, no new": func() (Session, Outcome) { return ApplyRead(plain, read) },
	} {
		s, outcome := input()
		if s.Replaces != "vs_0" || !outcome.Write || s.UnfinishedPredecessor() != "vs_0" {
			t.Errorf("%s: claims %q, to be stored %v", name, s.Replaces, outcome.Write)
		}
		other := claiming(verified("z", 100, "vr_2"))
		other.Object.Replaces = "vs_9"
		if s, _ = Transition(s, other); s.Replaces != "vs_0" {
			t.Errorf("%s: now it claims %q; want the first claim", name, s.Replaces)
		}
	}
	if s, outcome := Transition(plain, failed("a", 10, "vr_1", expired)); outcome.Write || s.Replaces != "" {
		t.Error("a known event without a claim is written")
	}
}

// TestG9_ClaimOfTheMaker: the claim of the replica that created the session overrides a claim that was copied into
// the metadata.
func TestG9_ClaimOfTheMaker(t *testing.T) {
	s, changed := Claim(claimant("vs_2", "vs_0"), "vs_1")
	if !changed || s.Replaces != "vs_1" {
		t.Errorf("claims %q", s.Replaces)
	}
	if _, changed := Claim(s, "vs_1"); changed {
		t.Error("claimed twice")
	}
	inherited, _ := Inherit(s, replaced(t), at(9))
	if s, changed := Claim(inherited, "vs_3"); changed || s.Replaces != "vs_1" {
		t.Error("a session that has inherited claims another predecessor")
	}
}

// TestG9_CountsAreInheritedOnceBesideAnOlderVersion: an older version sets the predecessor and notes no amounts.
func TestG9_CountsAreInheritedOnceBesideAnOlderVersion(t *testing.T) {
	old := replaced(t)
	byOlder := claimant("vs_2", "vs_1")
	byOlder.Predecessor = "vs_1"
	byOlder.FailedAttempts, byOlder.RetriesGranted = old.FailedAttempts, old.RetriesGranted
	if byOlder.UnfinishedPredecessor() != "vs_1" {
		t.Errorf("owes %q; the predecessor may not name it yet", byOlder.UnfinishedPredecessor())
	}
	marked, changed := Inherit(byOlder, old, at(9))
	if !changed || marked.FailedAttempts != 1 || marked.RetriesGranted != 1 || marked.Inherited != (Inheritance{FailedAttempts: 1, RetriesGranted: 1}) || marked.Revision != byOlder.Revision || marked.UnfinishedPredecessor() != "" {
		t.Errorf("changed %v: %d failed, %d granted, %+v", changed, marked.FailedAttempts, marked.RetriesGranted, marked.Inherited)
	}
	if _, changed := Inherit(marked, old, at(9)); changed {
		t.Error("marked twice")
	}
	if _, changed := Inherit(byOlder, Session{ID: "vs_7", State: State{RetriesGranted: 1}}, at(9)); changed {
		t.Error("inherited from a second predecessor")
	}
}

// TestG9_AGrantThatWasTakenBackIsUsedByTheSessionThatWasMade: a session that Stripe created uses the grant even if
// the grant was revoked meanwhile.
func TestG9_AGrantThatWasTakenBackIsUsedByTheSessionThatWasMade(t *testing.T) {
	old := replaced(t)
	revoked, _ := RevokeReplacement(old, backTo, at(7))
	for name, before := range map[string]Session{"granted": old, "taken back": revoked} {
		s, changed := Replace(before, "vs_2", at(8))
		if !changed || s.SupersededBy != "vs_2" || s.RetriesGranted != 1 || !s.Replacement.Granted || s.Revision != before.Revision+1 {
			t.Errorf("%s: %+v %+v, revision %d after %d", name, s.State, s.Replacement, s.Revision, before.Revision)
		}
		if again, changed := Replace(s, "vs_3", at(8)); changed || again.SupersededBy != "vs_2" {
			t.Errorf("%s: replaced twice", name)
		}
	}
}

// TestG11_AClaimOutlivesARedaction: a claim is one of Stripe's ids and not personal data, and the counts must still
// be inherited.
func TestG11_AClaimOutlivesARedaction(t *testing.T) {
	s := claimant("vs_2", "vs_1")
	gone := redacted("r", 9, StatusCanceled, RedactionRedacted)
	gone.Object.ID = "vs_2"
	s, _ = Transition(s, gone)
	if s.UnfinishedPredecessor() != "vs_1" {
		t.Errorf("owes %q", s.UnfinishedPredecessor())
	}
	whole, _ := Inherit(claimant("vs_2", "vs_1"), replaced(t), at(8))
	whole, _ = Transition(whole, canceledOf("vs_2", 10))
	kept, changed := Archive(whole, time.Second, at(10_000_000))
	if !changed || kept.Inherited != whole.Inherited || kept.UnfinishedPredecessor() != "" {
		t.Errorf("archived %v: %+v, owes %q", changed, kept.Inherited, kept.UnfinishedPredecessor())
	}
}

func canceledOf(id string, second int64) Event {
	e := canceled("c", second, "")
	e.Object.ID = id
	return e
}

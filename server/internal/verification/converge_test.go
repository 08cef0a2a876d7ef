package verification

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// drawLife draws a true history in distinct whole seconds.
func drawLife(t *rapid.T) []Event {
	life := []Event{created("e_0", 1)}
	second, report, status := int64(1), "", StatusRequiresInput
	redaction := RedactionNone
	add := func(eventType string, o Object) {
		o.Redaction = redaction
		life = append(life, event(name("e", len(life)), eventType, second, o))
		status = o.Status
	}
	for i := range rapid.IntRange(0, 8).Draw(t, "length") {
		second += rapid.Int64Range(1, 5).Draw(t, "later")
		choice := rapid.IntRange(0, 9).Draw(t, "what")
		fails := rapid.SampledFrom([]Error{mismatch, expired, abandoned, {}, {Reason: "No."}, {Code: "consent_declined"}}).Draw(t, "error")
		switch {
		case redaction == RedactionRedacted:
			return life
		case redaction == RedactionProcessing:
			redaction = RedactionRedacted
			add(EventRedacted, object(status, Error{}, ""))
		case status == StatusCanceled && choice < 5:
			return life
		case status == StatusCanceled || choice == 0:
			if redaction = RedactionProcessing; status != StatusVerified {
				status = StatusCanceled
			}
			add(EventCanceled, object(status, Error{}, report))
		case choice == 1 && status == StatusRequiresInput:
			add(EventCanceled, object(StatusCanceled, Error{}, report))
		case status == StatusProcessing && choice < 6, status == StatusRequiresInput && choice == 2:
			if rapid.IntRange(0, 3).Draw(t, "report") > 0 {
				report = name("vr", i)
			}
			add(EventVerified, object(StatusVerified, Error{}, report))
		case status == StatusProcessing || status == StatusVerified:
			if rapid.IntRange(0, 3).Draw(t, "report") > 0 && status == StatusProcessing {
				report = name("vr", i)
			}
			add(EventRequiresInput, object(StatusRequiresInput, fails, report))
		default:
			add(EventProcessing, object(StatusProcessing, Error{}, report))
		}
	}
	return life
}

// drawRecord returns a record in any state that a life can leave it in: also shuffled, read and granted.
func drawRecord(t *rapid.T) Session {
	var s Session
	for _, e := range rapid.Permutation(drawLife(t)).Draw(t, "order") {
		switch rapid.IntRange(0, 5).Draw(t, "how") {
		case 0:
			s, _ = ApplyRead(s, read(s, e.Second, e.Object))
		case 1:
			s, _, _ = GrantRetry(s, policy(), at(e.Second), bff)
			s, _ = Transition(s, e)
		default:
			s, _ = Transition(s, e)
		}
	}
	return s
}

// ended returns what must be equal for every order of the events.
type ended struct {
	Status, Report    string
	Error             Error
	Redaction         Redaction
	Failed            int32
	UpdateTime        int64
	Last              LastFailure
	Type, Reference   string
	Created           int64
	Shown             uint64
	Second            int64
	Exists, Tombstone bool
}

func endOf(s Session) ended {
	return ended{
		Status: s.Status, Report: s.Report, Error: s.Error, Redaction: s.Redaction, Failed: s.FailedAttempts,
		UpdateTime: s.UpdateTime, Last: s.LastFailure, Type: s.Type, Reference: s.Reference, Created: s.Created,
		Shown: s.ShownFailure, Second: s.Second, Exists: s.Exists(), Tombstone: s.Tombstone(),
	}
}

// TestG1_G2_G4_AnyOrderAnyRepeat: events in distinct seconds, shuffled and repeated, end as in their true order.
// Every step keeps the revisions gapless and its argument unchanged.
func TestG1_G2_G4_AnyOrderAnyRepeat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		life := drawLife(t)
		inOrder := after(life...)
		want := life[len(life)-1].Object
		if inOrder.Status != want.Status || !inOrder.Tombstone() && (inOrder.Error != want.Error || inOrder.Report != want.Report) {
			t.Fatalf("the true order ends in %+v, the truth in %+v", inOrder.State, want)
		}
		var deliveries []Event
		for _, e := range life {
			for range rapid.IntRange(1, 3).Draw(t, "times") {
				deliveries = append(deliveries, e)
			}
		}
		var s Session
		var revisions []State
		for _, e := range rapid.Permutation(deliveries).Draw(t, "order") {
			next := step(t, s, func(s Session) (Session, Outcome) { return Transition(s, e) })
			if next.Revision > s.Revision {
				revisions = append(revisions, next.State)
			}
			s = next
		}
		if endOf(s) != endOf(inOrder) {
			t.Fatalf("ended %+v\nwant  %+v", endOf(s), endOf(inOrder))
		}
		if len(s.History) != len(life) {
			t.Fatalf("%d entries for %d events", len(s.History), len(life))
		}
		for i, change := range s.ChangesAfter(0) {
			if s.Tombstone() {
				i = int(change.Revision) - 1
			}
			was := revisions[i]
			was.LastFailure = change.State.LastFailure // of earlier revisions only what the history tells
			if change.Revision != int32(i)+1 || change.State != was {
				t.Fatalf("revision %d is told as %+v, was %+v", i+1, change, revisions[i])
			}
		}
	})
}

// TestG4_EveryStepOfAnyRecord: every step keeps the revisions, the history and the position of every record valid.
func TestG4_EveryStepOfAnyRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawRecord(t)
		for i := range rapid.IntRange(1, 6).Draw(t, "steps") {
			o := object(
				rapid.SampledFrom([]string{StatusRequiresInput, StatusProcessing, StatusVerified, StatusCanceled, "reviewing"}).Draw(t, "status"),
				rapid.SampledFrom([]Error{{}, expired, abandoned}).Draw(t, "error"),
				rapid.SampledFrom([]string{"", "vr_1", "vr_2"}).Draw(t, "report"))
			o.Redaction = Redaction(rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2}).Draw(t, "redaction"))
			second := rapid.Int64Range(1, 40).Draw(t, "second")
			e := event(name("new", i), EventRequiresInput, second, o)
			begun := s
			if rapid.Bool().Draw(t, "overtaken") {
				begun.Applied--
			}
			kind := rapid.IntRange(0, 2).Draw(t, "input")
			s = step(t, s, func(s Session) (Session, Outcome) {
				switch kind {
				case 0:
					return Transition(s, e)
				case 1:
					return ApplyRead(s, read(begun, second, o))
				default:
					return Resolve(s, e, read(begun, second, o))
				}
			})
		}
	})
}

// step does one thing to a record and checks what no step may break.
func step(t *rapid.T, s Session, do func(Session) (Session, Outcome)) Session {
	s = roomy(s)
	before := deepCopy(s)
	next, outcome := do(s)
	first := deepCopy(next)
	// What else is made of the same record must not reach into this result.
	_, _ = Transition(s, failed("elsewhere", 99, "vr_elsewhere", expired))
	_, _, _ = GrantRetry(s, RetryPolicy{MaxRetries: 99}, at(99), bff)
	if !reflect.DeepEqual(deepCopy(next), first) {
		t.Fatalf("the result was changed:\n%+v\n%+v", first, next)
	}
	if again, _ := do(s); !reflect.DeepEqual(deepCopy(again), first) {
		t.Fatalf("the second time it is another:\n%+v\n%+v", first, again)
	}
	if !reflect.DeepEqual(deepCopy(s), before) {
		t.Fatalf("the argument was changed:\n%+v\n%+v", before, s)
	}
	if !outcome.Write && !reflect.DeepEqual(stateOf(next), stateOf(before)) {
		t.Fatalf("not to be written, but differs: %+v, %+v", next.State, before.State)
	}
	checkRevisions(t, before, next)
	switch {
	case next.Second < before.Second, next.UpdateTime < before.UpdateTime, next.Redaction < before.Redaction,
		next.FailedAttempts < before.FailedAttempts, next.Applied < before.Applied:
		t.Fatalf("something fell: %+v, %+v", before, next)
	case before.Status == StatusCanceled && next.Status != StatusCanceled:
		t.Fatal("left canceled")
	case next.AsOf > next.Second:
		t.Fatalf("as of %d, second %d", next.AsOf, next.Second)
	case next.Tombstone() && (next.Error != Error{} || next.Report != "" || next.Reference != ""):
		t.Fatalf("a tombstone holds %+v", next.State)
	case next.FailedAttempts != int32(len(next.Failures)):
		t.Fatalf("%d counted, %d known", next.FailedAttempts, len(next.Failures))
	}
	return next
}

func stateOf(s Session) string { return fmt.Sprint(s.State, s.Revision, len(s.History), s.Unresolved) }

// checkRevisions checks that each visible change made one revision, and that its entry holds it.
func checkRevisions(t *rapid.T, before, next Session) {
	grown := next.Revision - before.Revision
	changed := !before.Exists() && next.Exists() || !sameSeen(before.State, next.State)
	if grown < 0 || grown > 2 || changed != (grown > 0) {
		t.Fatalf("%d revisions, changed %v: %+v, %+v", grown, changed, before.State, next.State)
	}
	expected := next.Floor()
	for _, entry := range next.History {
		if entry.Revision == 0 {
			continue
		}
		if entry.Revision != expected {
			t.Fatalf("revision %d where %d was due", entry.Revision, expected)
		}
		expected++
	}
	if expected != next.Revision+1 && next.Exists() {
		t.Fatalf("the last entry made %d, the record is at %d", expected-1, next.Revision)
	}
	if changes := next.ChangesAfter(0); next.Exists() && changes[len(changes)-1] != next.Current() {
		t.Fatalf("the changes end in %+v, the record is %+v", changes[len(changes)-1], next.State)
	}
}

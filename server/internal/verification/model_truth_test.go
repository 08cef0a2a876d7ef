package verification

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// truth is one session's life at Stripe: the answer to a GET at any moment, the events, and how every reader of all
// events must end.
type truth struct {
	moments []moment
	events  []Event
}

// moment is a state of the session from a time on, in milliseconds of Stripe's clock.
type moment struct {
	at     int64
	object Object
}

// at returns the answer to a GET at that time. ok is false before the session was created.
func (l truth) at(ms int64) (object Object, ok bool) {
	for _, m := range l.moments {
		if m.at > ms {
			break
		}
		object, ok = m.object, true
	}
	return object, ok
}

// end returns when the last change happened.
func (l truth) end() int64 { return l.moments[len(l.moments)-1].at }

// failures counts the failures of a life by their identity.
func (l truth) failures() int32 {
	identities := map[string]bool{}
	for _, event := range l.events {
		if !event.Object.isFailure() {
			continue
		}
		identity := event.Object.Report
		if identity == "" {
			identity = event.ID
		}
		identities[identity] = true
	}
	return int32(len(identities))
}

// biography draws a life. Stripe's times are whole seconds, so changes within one second look alike. Stripe's machine
// can make several changes in one second. People (the person and the reviewer) need more than two seconds.
type biography struct {
	rng     *rand.Rand
	life    truth
	now     int64
	object  Object
	reports int
	early   bool // the report is there while the submission is being checked
	bare    bool // Stripe makes no reports at all
	hasty   bool // people act within the second
}

const lifeStart = 1_700_000_000_000

func newLife(rng *rand.Rand, hasty bool) truth {
	b := &biography{rng: rng, hasty: hasty, now: lifeStart + rng.Int64N(1000), early: rng.IntN(2) == 0, bare: rng.IntN(8) == 0}
	b.object = Object{
		ID: "vs_model", Type: "document", Status: StatusRequiresInput,
		Created: b.now / 1000, Reference: "person-1",
	}
	b.happens(EventCreated)
	for range rng.IntN(7) {
		if !b.step() {
			break
		}
	}
	return b.life
}

// happens makes the drawn object the truth and adds an event of it.
func (b *biography) happens(eventType string) {
	b.life.moments = append(b.life.moments, moment{at: b.now, object: b.object})
	b.life.events = append(b.life.events, Event{
		ID: fmt.Sprintf("evt_%d", len(b.life.events)), Type: eventType, Source: SourceWebhook,
		Second: b.now / 1000, Object: b.object,
	})
}

// pause returns the pause of a person: mostly just above two seconds, where mistakes are likely.
func (b *biography) pause() {
	if b.hasty {
		b.now += b.rng.Int64N(500)
		return
	}
	b.now += 2001
	if b.rng.IntN(3) == 0 {
		b.now += b.rng.Int64N(20_000)
	} else {
		b.now += b.rng.Int64N(1000)
	}
}

// step draws the next change. It returns false at the end of the life.
func (b *biography) step() bool {
	switch {
	case b.object.Redaction == RedactionRedacted:
		return false
	case b.object.Redaction == RedactionProcessing:
		b.pause()
		b.object.Redaction = RedactionRedacted
		b.happens(EventRedacted)
	case b.object.Status == StatusCanceled:
		if b.rng.IntN(2) == 0 {
			return false
		}
		b.pause()
		b.redact()
	case b.object.Status == StatusVerified:
		b.pause()
		if b.rng.IntN(3) == 0 {
			b.redact()
			return true
		}
		b.fails(b.rng.IntN(3) > 0)
	default:
		b.pause()
		b.person()
	}
	return true
}

// person draws what happens to a session that waits for input.
func (b *biography) person() {
	switch b.rng.IntN(12) {
	case 0:
		b.object.Status, b.object.Error = StatusCanceled, Error{}
		b.happens(EventCanceled)
	case 1: // redacting an unverified session cancels it
		b.object.Status = StatusCanceled
		b.redact()
	case 2:
		b.object.Error = Error{Code: CodeAbandoned, Reason: "left"}
		b.happens(EventRequiresInput)
	case 3: // a reviewer
		b.object.Status, b.object.Error = StatusVerified, Error{}
		b.happens(EventVerified)
	default:
		b.submits()
	}
}

// submits draws a submission and its check, which can end within the same second.
func (b *biography) submits() {
	report := ""
	if !b.bare {
		b.reports++
		report = fmt.Sprintf("vr_%d", b.reports)
	}
	b.object.Status, b.object.Error = StatusProcessing, Error{}
	if b.early {
		b.object.Report = report
	}
	b.happens(EventProcessing)
	if b.rng.IntN(2) == 0 {
		b.now += b.rng.Int64N(900)
	} else {
		b.now += b.rng.Int64N(6000)
	}
	b.object.Report = report
	if b.rng.IntN(2) == 0 {
		b.object.Status = StatusVerified
		b.happens(EventVerified)
		return
	}
	b.fails(true)
}

func (b *biography) fails(withError bool) {
	b.object.Status, b.object.Error = StatusRequiresInput, Error{}
	if withError {
		codes := []string{"document_expired", "selfie_face_mismatch", ""}
		b.object.Error = Error{Code: codes[b.rng.IntN(len(codes))], Reason: "Try again."}
	}
	b.happens(EventRequiresInput)
}

// redact begins a redaction. If it closes the session, Stripe sends a canceled event. For a verified session Stripe
// can send nothing until the redaction is done.
func (b *biography) redact() {
	b.object.Redaction, b.object.Error = RedactionProcessing, Error{}
	if b.object.Status == StatusCanceled || b.rng.IntN(2) == 0 {
		b.happens(EventCanceled)
		return
	}
	b.life.moments = append(b.life.moments, moment{at: b.now, object: b.object})
}

// stillPending is the one wrong end in which what is shown may be right.
const stillPending = "still unresolved after it was read again"

// differs compares the end of a record with the life whose events it got. It returns "" if they agree.
func (l truth) differs(s Session) string {
	want := l.moments[len(l.moments)-1].object
	if want.Redaction > RedactionNone {
		want = want.redacted()
	}
	switch {
	case s.Status != want.Status:
		return fmt.Sprintf("status %q, want %q", s.Status, want.Status)
	case s.Error != want.Error:
		return fmt.Sprintf("error %v, want %v", s.Error, want.Error)
	case s.Report != want.Report:
		return fmt.Sprintf("report %q, want %q", s.Report, want.Report)
	case s.Redaction != want.Redaction:
		return fmt.Sprintf("redaction %d, want %d", s.Redaction, want.Redaction)
	case s.FailedAttempts != l.failures():
		return fmt.Sprintf("failed attempts %d, want %d", s.FailedAttempts, l.failures())
	case s.Unresolved:
		return stillPending
	}
	for i, event := range l.events {
		known := slices.ContainsFunc(s.History, func(e Entry) bool { return e.EventID == event.ID })
		if !known {
			return fmt.Sprintf("event %d left no entry", i)
		}
	}
	return ""
}

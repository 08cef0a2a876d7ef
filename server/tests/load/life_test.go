//go:build load

package load

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/tests/rig"
)

// storedLife returns the life of a person who fails once and is verified then. Its ids are as long as Stripe's and contain
// its number.
func storedLife(n int, second int64) rig.Life {
	id := func(kind string, i int) string { return fmt.Sprintf("%s_1MgnjdLkdIwHu7%02d%08d", kind, i, n) }
	l := rig.Life{ID: id("vs", 0)}
	for i, e := range []struct {
		kind   string
		after  int64
		object rig.Fields
	}{
		{"created", 0, rig.Fields{}},
		{"processing", 95, rig.Fields{"status": "processing"}},
		{"requires_input", 110, rig.Fields{
			"last_error":               rig.Fields{"code": "document_unverified_other", "reason": "The document could not be verified, please try another one."},
			"last_verification_report": id("vr", 1),
		}},
		{"processing", 320, rig.Fields{"status": "processing", "last_verification_report": id("vr", 1)}},
		{"verified", 341, rig.Fields{"status": "verified", "last_verification_report": id("vr", 2)}},
	} {
		e.object["client_reference_id"] = fmt.Sprintf("4f9c1d2e-8a3b-4c5d-9e6f-7a8b%08d", n)
		l.Events = append(l.Events, rig.NewEvent(id("evt", i), e.kind, l.ID, second+e.after, nil, e.object))
	}
	return l
}

// lifeMaker makes lives as the webhook listener decodes them, without decoding each: two lives differ in their ids only.
type lifeMaker []verification.Event

func newLifeMaker(t *testing.T, second int64) lifeMaker {
	t.Helper()
	events := func(n int) (m lifeMaker) {
		for _, e := range storedLife(n, second).Events {
			event := decoded(t, e)
			event.RecordTime = (second + 400) * 1000
			m = append(m, event)
		}
		return m
	}
	m := events(0)
	for _, n := range []int{7, 12_345_678} {
		if diff := cmp.Diff([]verification.Event(events(n)), m.life(n)); diff != "" {
			t.Fatalf("life %d is not as it is decoded (-decoded +made):\n%s", n, diff)
		}
	}
	return m
}

// life is the n-th life.
func (m lifeMaker) life(n int) []verification.Event {
	number := fmt.Sprintf("%08d", n)
	renumbered := func(text string) string {
		if text == "" {
			return ""
		}
		return text[:len(text)-len(number)] + number
	}
	events := make([]verification.Event, len(m))
	for i, event := range m {
		event.ID, event.Object.ID = renumbered(event.ID), renumbered(event.Object.ID)
		event.Object.Report, event.Object.Reference = renumbered(event.Object.Report), renumbered(event.Object.Reference)
		events[i] = event
	}
	return events
}

// checkSeeded delivers a life by webhooks, and compares its status with that of a seeded life: all must be equal but the
// ids, among them that of the outcome, and the times of recording.
func checkSeeded(t *testing.T, p *rig.Process, seeded, delivered int, second int64) {
	t.Helper()
	client := rig.NewHTTPClient(t)
	for _, e := range storedLife(delivered, second).Events {
		rig.Deliver(t, client, p.Webhook, e)
	}
	says := func(n int) string {
		response := rig.GetStatus(t, rig.ClientOf(t, p), storedLife(n, second).ID)
		for _, entry := range response.GetHistory() {
			entry.RecordTime = nil
		}
		rig.CheckRevisions(t, response)
		if got := response.GetVerification(); got.GetStatus() != verificationv1.Status_STATUS_VERIFIED || got.GetRevision() != 5 {
			t.Fatalf("life %d is %v", n, got)
		}
		if response.GetVerification().GetOutcomeId() == "" {
			t.Errorf("life %d has no outcome_id", n)
		}
		response.Verification.OutcomeId = ""
		text := prototext.MarshalOptions{Multiline: true}.Format(response)
		return strings.ReplaceAll(strings.ReplaceAll(text, fmt.Sprintf("%08d", n), "N"), ":  ", ": ") // prototext varies its spaces
	}
	if diff := cmp.Diff(says(delivered), says(seeded)); diff != "" {
		t.Fatalf("a seeded session is not as a delivered one (-delivered +seeded):\n%s", diff)
	}
}

// secondOfLives is when the lives of a test began, in whole seconds.
func secondOfLives() int64 { return time.Now().Unix() - 7200 }

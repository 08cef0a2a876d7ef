package trigger

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

var at = time.Date(2026, 11, 28, 7, 50, 0, 435e6, time.UTC)

func makeOne(t *testing.T, e Event) Delivery {
	t.Helper()
	made, err := Make(e, at)
	if err != nil || len(made) != 1 {
		t.Fatalf("%+v: %d events, %v", e, len(made), err)
	}
	return made[0]
}

// The server understands each snapshot event, by its short name and in full.
func TestSnapshotsAreUnderstood(t *testing.T) {
	status := map[string]string{
		"created": verification.StatusRequiresInput, "processing": verification.StatusProcessing, "requires_input": verification.StatusRequiresInput,
		"verified": verification.StatusVerified, "canceled": verification.StatusCanceled, "redacted": verification.StatusVerified,
	}
	for _, name := range Types()[:6] {
		for _, written := range []string{name, sessionPrefix + name} {
			t.Run(written, func(t *testing.T) {
				d := makeOne(t, Event{Type: written, Session: "vs_1", Account: "acct_1", Reference: "person-1", Live: true})
				got, err := stripeevent.Decode(d.Body, stripeevent.Options{})
				if err != nil {
					t.Fatal(err)
				}
				o := got.Object
				if got.ID != d.EventID || got.Type != sessionPrefix+name || got.Second != at.Unix() || o.ID != "vs_1" || o.Account != "acct_1" || !o.Livemode {
					t.Errorf("event: %+v", got)
				}
				if o.Status != status[name] {
					t.Errorf("status: got %v, want %v", o.Status, status[name])
				}
				if failed := o.Error.Code != ""; failed != (name == "requires_input") {
					t.Errorf("error: %+v", o.Error)
				}
				if redacted := o.Redaction == verification.RedactionRedacted; redacted != (name == "redacted") {
					t.Errorf("redaction: %v", o.Redaction)
				}
			})
		}
	}
}

// Other events are well-formed, and not about a session.
func TestOtherEventsAreNotOfIdentity(t *testing.T) {
	for _, name := range []string{"invoice.paid", "deauthorized", typeLeft, "account.updated"} {
		d := makeOne(t, Event{Type: name})
		if _, err := stripeevent.Decode(d.Body, stripeevent.Options{}); !errors.Is(err, stripeevent.ErrNotIdentity) && !strings.Contains(name, "deauthorized") {
			t.Errorf("%s: %v", name, err)
		}
		if d.Style != StyleSnapshot {
			t.Errorf("%s is %s", name, d.Style)
		}
	}
	var left struct{ Account string }
	if err := json.Unmarshal(makeOne(t, Event{Type: "deauthorized"}).Body, &left); err != nil || !strings.HasPrefix(left.Account, "acct_") {
		t.Errorf("the account that left: %q, %v", left.Account, err)
	}
}

// A thin event has the form of Stripe's, and no state.
func TestThinEvents(t *testing.T) {
	session := map[string]any{"id": "vs_1", "type": "identity.verification_session", "url": "/v1/identity/verification_sessions/vs_1"}
	ping := map[string]any{"id": "ed_trigger", "type": "v2.core.event_destination", "url": "/v2/core/event_destinations/ed_trigger"}
	for name, tc := range map[string]struct {
		event   Event
		kind    string
		related map[string]any
		more    map[string]any
	}{
		"by style":        {Event{Type: "verified", Style: StyleThin}, "v1.identity.verification_session.verified", session, nil},
		"by name":         {Event{Type: "v1.identity.verification_session.canceled"}, "v1.identity.verification_session.canceled", session, nil},
		"by name, both":   {Event{Type: "v1.identity.verification_session.canceled", Style: StyleBoth}, "v1.identity.verification_session.canceled", session, nil},
		"with an account": {Event{Type: "verified", Style: StyleThin, Account: "acct_1"}, "v1.identity.verification_session.verified", session, map[string]any{"context": "acct_1"}},
		"with a context":  {Event{Type: "verified", Style: StyleThin, Account: "acct_1", Context: "org_1/acct_1"}, "v1.identity.verification_session.verified", session, map[string]any{"context": "org_1/acct_1"}},
		"with a snapshot": {Event{Type: "verified", Style: StyleThin, SnapshotID: "evt_2"}, "v1.identity.verification_session.verified", session, map[string]any{"snapshot_event": "evt_2"}},
		"ping":            {Event{Type: "ping"}, typePing, ping, nil},
		"live":            {Event{Type: typePing, Live: true}, typePing, ping, map[string]any{"livemode": true}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.event.ID = "evt_1"; tc.related["id"] == "vs_1" {
				tc.event.Session = "vs_1"
			}
			d := makeOne(t, tc.event)
			want := map[string]any{
				"id": "evt_1", "object": "v2.core.event", "type": tc.kind, "livemode": false, "created": "2026-11-28T07:50:00.435Z",
				"context": nil, "reason": nil, "related_object": tc.related,
			}
			for field, value := range tc.more {
				want[field] = value
			}
			var got map[string]any
			if err := json.Unmarshal(d.Body, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if d.Style != StyleThin || d.Type != tc.kind || d.EventID != "evt_1" {
				t.Errorf("delivery: %+v", d)
			}
		})
	}
}

// Of both styles, each event has its own id, and the thin one names the other one.
func TestBothStyles(t *testing.T) {
	made, err := Make(Event{Type: "verified", Style: StyleBoth, Context: "acct_1"}, at)
	if err != nil || len(made) != 2 {
		t.Fatalf("%d events, %v", len(made), err)
	}
	var snapshot, thin struct {
		ID       string
		Snapshot string `json:"snapshot_event"`
		Context  string
		Account  *string
	}
	for i, into := range []any{&snapshot, &thin} {
		if err := json.Unmarshal(made[i].Body, into); err != nil {
			t.Fatal(err)
		}
	}
	if made[0].Style != StyleSnapshot || thin.Snapshot != snapshot.ID || thin.ID == snapshot.ID || made[0].About != made[1].About {
		t.Errorf("snapshot %+v, thin %+v", snapshot, thin)
	}
	if snapshot.Context != "acct_1" || snapshot.Account != nil || thin.Context != "acct_1" {
		t.Errorf("context: snapshot %+v, thin %+v", snapshot, thin)
	}
}

// Everything that is wrong is named at once.
func TestMakeRefuses(t *testing.T) {
	_, err := Make(Event{
		Type: "verify", Style: "fat", ID: "e1", SnapshotID: "e2", Session: "s1", Account: "a1", Context: "acct_1/", Code: "a b",
	}, at)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"the type", "--style", "--event", "--snapshot-event", "--session", "--account", "--context", "--code"} {
		if !strings.Contains(err.Error(), want+" ") {
			t.Errorf("nothing about %s in:\n%v", want, err)
		}
	}
	for _, e := range []Event{
		{Type: "deauthorized", Style: StyleThin}, {Type: ""}, {Type: "Verified"},
		{Type: sessionPrefix + "verify"}, {Type: "v1." + sessionPrefix + "verify"}, {Type: "nosuch.type"}, {Type: "v1.invoice.paid"}, {Type: "v2.core.nosuch"},
		{Type: "ping", Session: "vs_1"}, {Type: "invoice.paid", Reference: "person-1"}, {Type: "verified", Code: "document_expired"},
		{Type: "requires_input", Style: StyleThin, Code: "document_expired"}, {Type: "verified", Style: StyleThin, Reference: "person-1"},
		{Type: "verified", SnapshotID: "evt_2"}, {Type: "verified", Style: StyleBoth, SnapshotID: "evt_2"},
	} {
		if _, err := Make(e, at); err == nil {
			t.Errorf("%+v: no error", e)
		}
	}
}

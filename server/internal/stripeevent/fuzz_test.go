package stripeevent_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// FuzzDecode: for any body, the result is one of a few, nothing panics, and a decoded event keeps every bound on which the service relies.
func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte, referenceKey string) {
		options := stripeevent.Options{ReferenceKey: referenceKey}
		event, err := stripeevent.Decode(body, options)
		again, errAgain := stripeevent.Decode(body, options)
		if event != again || (err == nil) != (errAgain == nil) {
			t.Fatalf("decoded twice: %+v, %v and %+v, %v", event, err, again, errAgain)
		}
		if err != nil {
			var malformed *stripeevent.MalformedError
			var left *stripeevent.DeauthorizedError
			switch {
			case errors.As(err, &malformed):
				checkID(t, malformed.EventID, true)
			case errors.As(err, &left):
				checkID(t, left.EventID, false)
				checkID(t, left.Account, false)
			case !errors.Is(err, stripeevent.ErrNotIdentity) && !errors.Is(err, stripeevent.ErrPing):
				t.Fatalf("error of another kind: %v", err)
			}
			if event != (verification.Event{}) {
				t.Fatalf("an event beside the error %v: %+v", err, event)
			}
			return
		}
		checkEvent(t, event)
	})
}

func checkEvent(t *testing.T, event verification.Event) {
	t.Helper()
	o := event.Object
	checkID(t, event.ID, false)
	checkID(t, o.Account, true)
	checkID(t, o.Report, true)
	if !stripeevent.ValidSessionID(o.ID) || len(o.ID) > 255 {
		t.Errorf("session id %q", o.ID)
	}
	checkID(t, event.Snapshot, true)
	prefix := "identity.verification_session."
	if event.Thin {
		prefix = "v1." + prefix
		if o != (verification.Object{ID: o.ID, Account: o.Account, ByContext: o.ByContext, Livemode: o.Livemode}) {
			t.Errorf("a thin event with state: %+v", o)
		}
	}
	if !strings.HasPrefix(event.Type, prefix) || (o.Status == "") != event.Thin {
		t.Errorf("type %q, status %q", event.Type, o.Status)
	}
	for text, limit := range map[string]int{
		event.Type: 100, o.Status: 100, o.Type: 100, o.Error.Code: 100, o.Error.Reason: 1000, o.Reference: 1000,
	} {
		if len(text) > limit || !utf8.ValidString(text) {
			t.Errorf("%d bytes, valid UTF-8 %v: %q", len(text), utf8.ValidString(text), text)
		}
	}
	if len(o.Reference) > 255 {
		t.Errorf("reference of %d bytes", len(o.Reference))
	}
	for _, second := range []int64{event.Second, o.Created} {
		if second < 0 || second > 253402300799 {
			t.Errorf("second %d", second)
		}
	}
	if o.Redaction > verification.RedactionRedacted || event.Source != 0 || event.RecordTime != 0 {
		t.Errorf("redaction %d, source %d, record time %d", o.Redaction, event.Source, event.RecordTime)
	}
}

func checkID(t *testing.T, id string, mayBeEmpty bool) {
	t.Helper()
	if id == "" && mayBeEmpty {
		return
	}
	visible := !strings.ContainsFunc(id, func(r rune) bool { return r < '!' || r > '~' })
	if id == "" || len(id) > 255 || !visible {
		t.Errorf("id %q", id)
	}
}

package stripeevent_test

import (
	"errors"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// TestRepeatedTypes: a body is malformed if one of its types is of a session, whichever other key is repeated before. A body of
// other types alone is not about a session.
func TestRepeatedTypes(t *testing.T) {
	for name, test := range map[string]struct {
		types     []string
		malformed bool
	}{
		"the last is of a session":        {[]string{"invoice.paid", verification.EventVerified}, true},
		"the first is of a session":       {[]string{verification.EventVerified, "invoice.paid"}, true},
		"the last is of a thin event":     {[]string{"invoice.paid", "v1." + verification.EventVerified}, true},
		"one of three":                    {[]string{"invoice.paid", verification.EventVerified, "invoice.paid"}, true},
		"both are of another object":      {[]string{"invoice.paid", "invoice.voided"}, false},
		"the same, of another object":     {[]string{"invoice.paid", "invoice.paid"}, false},
		"a ping and of another object":    {[]string{"v2.core.event_destination.ping", "invoice.paid"}, false},
		"of another object, an event too": {[]string{"invoice.paid", "identity.verification_report.verified"}, false},
	} {
		for _, ids := range []string{`"id":"evt_1",`, `"id":"evt_1","id":"evt_1",`, ""} {
			body := `{` + ids + `"type":"` + strings.Join(test.types, `","type":"`) + `","object":"event","created":1790000000,"data":{"object":{"id":"vs_1","status":"verified"}}}`
			_, err := stripeevent.Decode([]byte(body), stripeevent.Options{})
			malformed := (*stripeevent.MalformedError)(nil)
			if test.malformed && (!errors.As(err, &malformed) || !strings.Contains(malformed.Reason, `"type"`)) || !test.malformed && !errors.Is(err, stripeevent.ErrNotIdentity) {
				t.Errorf("%s, with %q: error %v", name, ids, err)
			}
		}
	}
}

// TestKeysOfAnotherStyleCanBeRepeated: nothing reads them.
func TestKeysOfAnotherStyleCanBeRepeated(t *testing.T) {
	repeat := func(body fields, name string) []byte {
		text := string(encode(t, body))
		return []byte(strings.TrimSuffix(text, "}") + `,"` + name + `":1,"` + name + `":{"id":"vs_2"}}`)
	}
	for _, name := range []string{"detail", "detail-type", "related_object", "snapshot_event"} {
		if got, err := stripeevent.Decode(repeat(event(nil), name), stripeevent.Options{}); err != nil || got != want(nil) {
			t.Errorf("%s twice in a snapshot event: %+v, %v", name, got, err)
		}
	}
	for _, name := range []string{"detail", "detail-type", "data"} {
		if got, err := stripeevent.Decode(repeat(thinEvent(nil), name), stripeevent.Options{}); err != nil || got != wantThin(nil) {
			t.Errorf("%s twice in a thin event: %+v, %v", name, got, err)
		}
	}
	malformed := (*stripeevent.MalformedError)(nil)
	body := strings.Replace(string(repeat(event(nil), "detail")), `"id":"evt_`, `"id":"evt_0","id":"evt_`, 1)
	if _, err := stripeevent.Decode([]byte(body), stripeevent.Options{}); !errors.As(err, &malformed) || malformed.Reason != `"id" is there twice` {
		t.Errorf("the id twice beside a detail: %v", err)
	}
}

package stripeevent_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/stripeevent"
	"example.com/verification-status/server/internal/verification"
)

// thinEvent is a thin event as Stripe pushes it.
func thinEvent(change fields) fields {
	return with(fields{
		"id": "evt_1Qx7Event", "object": "v2.core.event", "type": "v1." + verification.EventVerified, "livemode": false,
		"created": "2026-11-28T07:50:00.435Z", "context": nil, "reason": fields{"type": "request"},
		"related_object": fields{"id": "vs_1Qx7TestSession", "type": "identity.verification_session", "url": "/v1/identity/verification_sessions/vs_1Qx7TestSession"},
		"snapshot_event": "evt_1Snapshot",
	}, change)
}

func wantThin(change func(*verification.Event)) verification.Event {
	e := verification.Event{
		ID: "evt_1Qx7Event", Type: "v1." + verification.EventVerified, Second: 1795852200, Thin: true, Snapshot: "evt_1Snapshot",
		Object: verification.Object{ID: "vs_1Qx7TestSession"},
	}
	if change != nil {
		change(&e)
	}
	return e
}

func TestDecodeThin(t *testing.T) {
	for name, test := range map[string]struct {
		body fields
		want func(*verification.Event)
	}{
		"as Stripe pushes it":    {thinEvent(nil), nil},
		"no snapshot_event":      {thinEvent(fields{"snapshot_event": gone{}}), func(e *verification.Event) { e.Snapshot = "" }},
		"snapshot_event null":    {thinEvent(fields{"snapshot_event": nil}), func(e *verification.Event) { e.Snapshot = "" }},
		"snapshot_event no id":   {thinEvent(fields{"snapshot_event": "evt 1"}), func(e *verification.Event) { e.Snapshot = "" }},
		"live":                   {thinEvent(fields{"livemode": true}), func(e *verification.Event) { e.Object.Livemode = true }},
		"no livemode":            {thinEvent(fields{"livemode": gone{}}), func(e *verification.Event) { e.ModeUnknown = true }},
		"livemode a text":        {thinEvent(fields{"livemode": "true"}), func(e *verification.Event) { e.ModeUnknown = true }},
		"of an account":          {thinEvent(fields{"context": "acct_1Abc"}), func(e *verification.Event) { e.Object.Account, e.Object.ByContext = "acct_1Abc", true }},
		"a future type":          {thinEvent(fields{"type": "v1.identity.verification_session.appealed"}), func(e *verification.Event) { e.Type = "v1.identity.verification_session.appealed" }},
		"whole seconds":          {thinEvent(fields{"created": "2026-11-28T07:50:00Z"}), nil},
		"another zone":           {thinEvent(fields{"created": "2026-11-28T08:50:00.9+01:00"}), nil},
		"first second":           {thinEvent(fields{"created": "1970-01-01T00:00:00Z"}), func(e *verification.Event) { e.Second = 0 }},
		"state is not read":      {thinEvent(fields{"data": fields{"object": session(nil)}}), nil},
		"another kind of object": {thinEvent(fields{"related_object": fields{"id": "vs_1Qx7TestSession", "type": "x"}}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := stripeevent.Decode(encode(t, test.body), stripeevent.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wantThin(test.want), got); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
			var malformed *stripeevent.MalformedError
			if _, err := stripeevent.DecodeSnapshot(encode(t, test.body), stripeevent.Options{}); !errors.As(err, &malformed) {
				t.Errorf("DecodeSnapshot: error %v, want a MalformedError", err)
			}
		})
	}
}

func TestMalformedThin(t *testing.T) {
	const known = "evt_1Qx7Event"
	for name, test := range map[string]struct {
		change  fields
		eventID string
	}{
		"no id":                    {fields{"id": gone{}}, ""},
		"id a number":              {fields{"id": 7}, ""},
		"no created":               {fields{"created": gone{}}, known},
		"created of a snapshot":    {fields{"created": 1790000181}, known},
		"created as a text of it":  {fields{"created": "1790000181"}, known},
		"created without a zone":   {fields{"created": "2026-11-28T07:50:00"}, known},
		"created without T":        {fields{"created": "2026-11-28 07:50:00Z"}, known},
		"created a date":           {fields{"created": "2026-11-28"}, known},
		"created before 1970":      {fields{"created": "1969-12-31T23:59:59Z"}, known},
		"created no time":          {fields{"created": "yesterday"}, known},
		"no related_object":        {fields{"related_object": gone{}}, known},
		"related_object null":      {fields{"related_object": nil}, known},
		"related_object an id":     {fields{"related_object": "vs_1"}, known},
		"related_object of others": {fields{"related_object": fields{"id": "vr_1"}}, known},
		"related_object without":   {fields{"related_object": fields{}}, known},
		"related_object unsafe":    {fields{"related_object": fields{"id": "vs_1/cancel"}}, known},
		"context with a line end":  {fields{"context": "acct_1\r\nX: y"}, known},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := stripeevent.Decode(encode(t, thinEvent(test.change)), stripeevent.Options{})
			var malformed *stripeevent.MalformedError
			if !errors.As(err, &malformed) || malformed.EventID != test.eventID || got != (verification.Event{}) {
				t.Errorf("event %+v, error %v; want a MalformedError with the event id %q", got, err, test.eventID)
			}
		})
	}
}

// TestTheTypeDecidesFirst: what is not about an Identity session is acknowledged, whatever the form of the body is.
func TestTheTypeDecidesFirst(t *testing.T) {
	ping := thinEvent(fields{"type": "v2.core.event_destination.ping", "related_object": fields{"id": "ed_1", "type": "v2.core.event_destination"}})
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"ping":                         {string(encode(t, ping)), stripeevent.ErrPing},
		"a bare ping":                  {`{"type":"v2.core.event_destination.ping"}`, stripeevent.ErrPing},
		"another thin type":            {string(encode(t, thinEvent(fields{"type": "v2.core.account.updated", "created": 7, "related_object": 7}))), stripeevent.ErrNotIdentity},
		"thin, of another product":     {string(encode(t, thinEvent(fields{"type": "v1.invoice.paid"}))), stripeevent.ErrNotIdentity},
		"thin, a report":               {string(encode(t, thinEvent(fields{"type": "v1.identity.verification_report.verified"}))), stripeevent.ErrNotIdentity},
		"another version":              {string(encode(t, thinEvent(fields{"type": "v2." + verification.EventVerified}))), stripeevent.ErrNotIdentity},
		"the version twice":            {string(encode(t, thinEvent(fields{"type": "v1.v1." + verification.EventVerified}))), stripeevent.ErrNotIdentity},
		"no object":                    {`{"type":"invoice.paid"}`, stripeevent.ErrNotIdentity},
		"nothing":                      {`{}`, stripeevent.ErrNotIdentity},
		"another key is there twice":   {`{"type":"invoice.paid","id":1,"id":2}`, stripeevent.ErrNotIdentity},
		"a detail without detail-type": {`{"detail":{"id":"evt_1"}}`, stripeevent.ErrNotIdentity},
		"revoked by nobody":            {`{"type":"account.application.deauthorized","id":"evt_1"}`, stripeevent.ErrNotIdentity},
	} {
		if got, err := stripeevent.Decode([]byte(test.body), stripeevent.Options{}); !errors.Is(err, test.want) || got != (verification.Event{}) {
			t.Errorf("%s: event %+v, error %v; want %v", name, got, err, test.want)
		}
	}
}

func TestAnAccountThatLeavesOrComes(t *testing.T) {
	for name, test := range map[string]struct {
		body fields
		at   int64
	}{
		"snapshot":   {event(fields{"account": "acct_1Abc", "created": 1789997781, "livemode": true, "data": fields{"object": fields{"id": "ca_1"}}}), 1789997781},
		"thin":       {thinEvent(fields{"context": "acct_1Abc", "created": "2026-09-21T13:36:21.5Z", "livemode": true, "related_object": nil}), 1789997781},
		"no time":    {event(fields{"account": "acct_1Abc", "created": nil, "livemode": true}), 0},
		"wrong time": {event(fields{"account": "acct_1Abc", "created": "soon", "livemode": true}), 0},
	} {
		decode := func(eventType string) error {
			body := maps.Clone(test.body)
			if body["type"] = eventType; name == "thin" {
				body["type"] = "v1." + eventType
			}
			_, err := stripeevent.Decode(encode(t, body), stripeevent.Options{})
			return err
		}
		left, came := (*stripeevent.DeauthorizedError)(nil), (*stripeevent.AuthorizedError)(nil)
		err := decode("account.application.deauthorized")
		if !errors.As(err, &left) || *left != (stripeevent.DeauthorizedError{EventID: "evt_1Qx7Event", Account: "acct_1Abc", Livemode: true, Second: test.at}) {
			t.Errorf("%s: error %+v, want that acct_1Abc has left", name, err)
		}
		err = decode("account.application.authorized")
		if !errors.As(err, &came) || *came != (stripeevent.AuthorizedError{EventID: "evt_1Qx7Event", Account: "acct_1Abc", Livemode: true, Second: test.at}) ||
			!errors.Is(err, stripeevent.ErrNotIdentity) {
			t.Errorf("%s: error %+v, want that acct_1Abc has come", name, err)
		}
	}
}

func TestTheEnvelopeOfEventBridgeIsNamed(t *testing.T) {
	body := encode(t, fields{"version": "0", "id": "00000000-0000-0000-0000-000000000000", "detail-type": verification.EventVerified,
		"source": "aws.partner/stripe.com/ed_test_1", "detail": event(nil)})
	_, err := stripeevent.Decode(body, stripeevent.Options{})
	malformed := (*stripeevent.MalformedError)(nil)
	if !errors.As(err, &malformed) || malformed.EventID != "evt_1Qx7Event" || !strings.Contains(malformed.Reason, "EventBridge") {
		t.Errorf("error %v, want one that names EventBridge and the event", err)
	}
}

// TestTheAccountOfAnEvent: `account`, else the last account of `context`.
func TestTheAccountOfAnEvent(t *testing.T) {
	for _, test := range []struct {
		account, context any
		want             string
		byContext        bool
	}{
		{nil, nil, "", false},
		{"acct_A", nil, "acct_A", false},
		{"acct_A", "acct_B", "acct_A", false},
		{nil, "acct_B", "acct_B", true},
		{"", "acct_B", "acct_B", true},
		{nil, "org_1/acct_B", "acct_B", true},
		{nil, "org_1/acct_A/acct_B", "acct_B", true},
		{nil, "acct_A/acct_B/", "acct_B", true},
		{nil, "acct_A/person_1", "acct_A", true},
		{nil, "", "", false},
		{"", "", "", false},
		{"acct_A", "org_1", "acct_A", false},
		{"acct_A", 7, "acct_A", false},
	} {
		got, err := stripeevent.Decode(encode(t, event(fields{"account": test.account, "context": test.context})), stripeevent.Options{})
		if err != nil || got.Object.Account != test.want || got.Object.ByContext != test.byContext {
			t.Errorf("account %v, context %v: %q, by context %v, error %v; want %q, %v", test.account, test.context, got.Object.Account, got.Object.ByContext, err, test.want, test.byContext)
		}
	}
}

// TestAnAccountThatIsNotNamedIsNoPlatform: the session would be stored as the platform's.
func TestAnAccountThatIsNotNamedIsNoPlatform(t *testing.T) {
	for _, change := range []fields{
		{"account": 7}, {"account": true}, {"account": fields{"id": "acct_A"}}, {"account": []string{"acct_A"}}, {"account": fields{"id": "acct_A"}, "context": "acct_A"},
		{"context": "org_1"}, {"context": "org_1/"}, {"context": "xacct_B"}, {"context": 7}, {"context": false}, {"context": fields{"account": "acct_B"}},
		{"account": "", "context": "org_1"}, {"context": "acct_A/acct_B "}, {"account": "[redacted]"}, {"account": "acct_1\r\nX: y"},
	} {
		for style, of := range map[string]func(fields) fields{"snapshot": event, "thin": thinEvent} {
			malformed := (*stripeevent.MalformedError)(nil)
			if got, err := stripeevent.Decode(encode(t, of(change)), stripeevent.Options{}); !errors.As(err, &malformed) || malformed.EventID != "evt_1Qx7Event" {
				t.Errorf("%s with %v: %+v, %v; want malformed", style, change, got, err)
			}
		}
		change = with(change, fields{"type": "invoice.paid"})
		if _, err := stripeevent.Decode(encode(t, event(change)), stripeevent.Options{}); !errors.Is(err, stripeevent.ErrNotIdentity) {
			t.Errorf("another object with %v: %v", change, err)
		}
	}
}

// TestRedactedTextsAreAbsent: Stripe puts "[redacted]" in the place of erased texts, also in events that it sends again.
func TestRedactedTextsAreAbsent(t *testing.T) {
	const erased = "[redacted]"
	body := encode(t, about(fields{
		"client_reference_id": erased, "metadata": fields{"person": erased, verification.ReplacesKey: erased}, "type": erased,
		"last_error": fields{"code": erased, "reason": erased}, "last_verification_report": erased,
	}))
	wanted := want(func(e *verification.Event) { e.Object.Reference, e.Object.Report, e.Object.Type = "", "", "" })
	for name, body := range map[string]string{"plain": string(body), "escaped": strings.ReplaceAll(string(body), erased, `\u005bredacted]`)} {
		got, err := stripeevent.Decode([]byte(body), stripeevent.Options{ReferenceKey: "person"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s: event (-want +got):\n%s", name, diff)
		}
	}
	got, err := stripeevent.Decode(encode(t, about(fields{"client_reference_id": erased})), stripeevent.Options{ReferenceKey: "person"})
	if err != nil || got.Object.Reference != "p-4711" {
		t.Errorf("reference %q, error %v; want that of the metadata", got.Object.Reference, err)
	}
	got, err = stripeevent.Decode(encode(t, about(fields{"client_reference_id": "x[redacted]"})), stripeevent.Options{})
	if err != nil || got.Object.Reference != "x[redacted]" {
		t.Errorf("reference %q, error %v; want the text that only contains the words", got.Object.Reference, err)
	}
}

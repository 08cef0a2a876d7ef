package stripesim

import (
	"encoding/json"

	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stripe/stripe-go/v76/webhook"
)

// thinHooks returns the thin events among the webhooks, decoded.
func thinHooks(t *testing.T, c *consumer) (thin []map[string]any, snapshots int) {
	t.Helper()
	for _, h := range c.hooks() {
		var body map[string]any
		must(t, json.Unmarshal(h.body, &body))
		if err := webhook.ValidatePayload(h.body, h.signature, secret); err != nil {
			t.Errorf("signature: %v", err)
		}
		if body["object"] == "v2.core.event" {
			thin = append(thin, body)
		} else {
			snapshots++
		}
	}
	return thin, snapshots
}

func TestThinEventsNameTheirSession(t *testing.T) {
	c := newConsumer(t, nil)
	at := time.UnixMilli(1_790_000_000_435)
	to := c.endpoint()
	to.Style, to.NamesSnapshot = Thin, 1
	b := newBench(t, Config{Endpoints: []Endpoint{to}, Now: func() time.Time { return at }})
	sess := b.call("POST", sessionsPath, map[string][]string{"type": {"document"}}, "Idempotency-Key", "key-1").session(t)
	connected, err := b.Create(NewSession{Account: "acct_1"})
	must(t, err)
	at = time.Now() // a signature must be young
	b.run()
	b.settle()
	thin, snapshots := thinHooks(t, c)
	if len(thin) != 2 || snapshots != 0 {
		t.Fatalf("%d thin events and %d snapshots, want 2 and 0", len(thin), snapshots)
	}
	if thin[0]["related_object"].(map[string]any)["id"] == connected.ID {
		thin[0], thin[1] = thin[1], thin[0]
	}
	events := b.Events()
	request := thin[0]["reason"].(map[string]any)["request"].(map[string]any)
	if id, _ := request["id"].(string); !strings.HasPrefix(id, "req_") || request["idempotency_key"] != "key-1" {
		t.Errorf("request: %v", request)
	}
	delete(thin[0], "reason")
	want := map[string]any{
		"id": events[0].ThinID, "object": "v2.core.event", "type": "v1.identity.verification_session.created", "livemode": false,
		"created": "2026-09-21T14:13:20.435Z", "context": nil, "snapshot_event": events[0].ID,
		"related_object": map[string]any{"id": sess.ID, "type": "identity.verification_session", "url": sessionsPath + "/" + sess.ID},
	}
	if diff := cmp.Diff(want, thin[0]); diff != "" {
		t.Error(diff)
	}
	if thin[1]["context"] != "acct_1" || thin[1]["reason"] != nil || thin[1]["snapshot_event"] != events[1].ID {
		t.Errorf("of an account: %v", thin[1])
	}
}

func TestStylesOfEndpoints(t *testing.T) {
	for name, tc := range map[string]struct {
		style           Style
		thin, snapshots func(int) bool // of 60 events
	}{
		"snapshot": {Snapshot, func(n int) bool { return n == 0 }, func(n int) bool { return n == 60 }},
		"thin":     {Thin, func(n int) bool { return n == 60 }, func(n int) bool { return n == 0 }},
		"both":     {Both, func(n int) bool { return n == 60 }, func(n int) bool { return n == 60 }},
		"mixed":    {Mixed, func(n int) bool { return n > 20 && n < 60 }, func(n int) bool { return n > 20 && n < 60 }},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsumer(t, nil)
			to := c.endpoint()
			to.Style, to.NamesSnapshot = tc.style, 0.5
			b := newBench(t, Config{Endpoints: []Endpoint{to}})
			b.run()
			for range 20 {
				b.life(OutcomeVerified)
			}
			b.settle()
			thin, snapshots := thinHooks(t, c)
			if !tc.thin(len(thin)) || !tc.snapshots(snapshots) {
				t.Errorf("%d thin events and %d snapshots", len(thin), snapshots)
			}
			named := 0
			for _, e := range thin {
				if e["snapshot_event"] != nil {
					named++
				}
			}
			if len(thin) > 0 && (named == 0 || named == len(thin)) {
				t.Errorf("%d of %d thin events name their snapshot; want about half", named, len(thin))
			}
		})
	}
}

func TestEventsById(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	to := hookless[0]
	to.Style = Thin
	b := newBench(t, Config{Endpoints: []Endpoint{to}, Now: func() time.Time { return now }})
	b.life()
	_, err := b.Create(NewSession{Account: "acct_1"})
	must(t, err)
	e, foreign := b.Events()[0], b.Events()[1]
	version := []string{"Stripe-Version", "2026-09-30.endive"}
	check := func(name string, a answer, want int, id string) {
		t.Helper()
		var got struct{ ID string }
		_ = json.Unmarshal([]byte(a.body), &got)
		if a.status != want || want == 200 && got.ID != id || want == 404 && a.errorOf(t).Code != "resource_missing" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	check("a snapshot", b.call("GET", eventsPath+"/"+e.ID, nil), 200, e.ID)
	check("a thin event", b.call("GET", thinEventsPath+"/"+e.ThinID, nil, version...), 200, e.ThinID)
	check("a thin event as a snapshot", b.call("GET", eventsPath+"/"+e.ThinID, nil), 404, "")
	check("a snapshot as a thin event", b.call("GET", thinEventsPath+"/"+e.ID, nil, version...), 404, "")
	check("another account's", b.call("GET", eventsPath+"/"+foreign.ID, nil), 404, "")
	check("with its account", b.call("GET", eventsPath+"/"+foreign.ID, nil, "Stripe-Account", "acct_1"), 200, foreign.ID)
	if a := b.call("GET", thinEventsPath+"/"+e.ThinID, nil); a.status != 400 || !strings.Contains(a.body, "Stripe-Version") {
		t.Errorf("without a version: %d %s", a.status, a.body)
	}
	if a := b.call("GET", eventsPath+"/"+e.ID+"?colour=red", nil); a.status != 400 {
		t.Errorf("an unknown parameter: %d", a.status)
	}
	now = now.Add(30*24*time.Hour + time.Second)
	check("after 30 days", b.call("GET", eventsPath+"/"+e.ID, nil), 404, "")
	check("a thin event after 30 days", b.call("GET", thinEventsPath+"/"+e.ThinID, nil, version...), 404, "")
}

// Where only thin events are sent, Stripe might have no snapshots: then nothing names, lists or shows one.
func TestSnapshotsThatDoNotExist(t *testing.T) {
	c := newConsumer(t, nil)
	to := c.endpoint()
	to.Style, to.NamesSnapshot = Thin, 1
	b := newBench(t, Config{Endpoints: []Endpoint{to}})
	must(t, b.SetFaults(Faults{NoUnsentSnapshots: true}))
	b.life()
	b.run()
	b.settle()
	thin, _ := thinHooks(t, c)
	if len(thin) != 1 || thin[0]["snapshot_event"] != nil {
		t.Errorf("thin events: %v", thin)
	}
	e := b.Events()[0]
	if page := eventsOf(t, b.call("GET", eventsPath, nil)); len(page.Data) != 0 {
		t.Errorf("%d events are listed", len(page.Data))
	}
	if a := b.call("GET", eventsPath+"/"+e.ID, nil); a.status != 404 {
		t.Errorf("GET of it: %d", a.status)
	}
	if strings.Contains(string(e.ThinBody), "snapshot_event") {
		t.Errorf("the API names it: %s", e.ThinBody)
	}
}

func TestPingsAndTestEvents(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}})
	b.run()
	must(t, b.Ping(c.URL+"/hook"))
	must(t, b.SendTest(c.URL+"/hook", "verified", "vs_00000000000000"))
	must(t, b.SendTest(c.URL+"/hook", "created", "vs_00000000000001"))
	b.settle()
	thin, snapshots := thinHooks(t, c)
	if len(thin) != 1 || thin[0]["type"] != eventPing || thin[0]["related_object"].(map[string]any)["type"] != "v2.core.event_destination" || snapshots != 2 {
		t.Errorf("%v and %d snapshots", thin, snapshots)
	}
	for _, h := range c.hooks() {
		if h.session != "" && h.id != testEventID {
			t.Errorf("a test event has the id %s", h.id)
		}
	}
	if len(b.Events()) != 0 {
		t.Error("a ping or a test is an event of the account")
	}
	if b.Ping("http://127.0.0.1:1/other") == nil {
		t.Error("a ping to nobody was taken")
	}
}

func TestEventsOfOrganizationsHaveAContext(t *testing.T) {
	for name, tc := range map[string]struct {
		change      func(*Endpoint)
		got         int
		account, in any
	}{
		"connect":                   {func(*Endpoint) {}, 2, "acct_1", "acct_1"},
		"an organization":           {func(e *Endpoint) { e.Organization = "org_1" }, 1, nil, "acct_1"},
		"an organization, by paths": {func(e *Endpoint) { e.Organization, e.PathContext = "org_1", true }, 1, nil, "org_1/acct_1"},
		"the account itself":        {func(e *Endpoint) { e.Account = "acct_1" }, 1, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsumer(t, nil)
			to := c.endpoint()
			to.Style = Both
			tc.change(&to)
			b := newBench(t, Config{Endpoints: []Endpoint{to}})
			b.run()
			sess, err := b.Create(NewSession{Account: "acct_1"})
			must(t, err)
			_, err = b.Create(NewSession{})
			must(t, err)
			b.settle()
			if len(c.hooks()) != 2*tc.got {
				t.Errorf("%d webhooks, want %d", len(c.hooks()), 2*tc.got)
			}
			for _, h := range c.hooks() {
				if !strings.Contains(string(h.body), sess.ID) {
					continue
				}
				var body map[string]any
				must(t, json.Unmarshal(h.body, &body))
				account := tc.account
				if body["object"] == "v2.core.event" {
					account = nil
				}
				if body["account"] != account || body["context"] != tc.in {
					t.Errorf("account %v and context %v, want %v and %v", body["account"], body["context"], account, tc.in)
				}
			}
		})
	}
}

// A redaction erases texts, also in the events of before.
func TestRedactionErasesTexts(t *testing.T) {
	b := newBench(t, Config{Endpoints: hookless, RedactionDelay: Immediately})
	sess, err := b.Create(NewSession{ClientReferenceID: "person-1", Metadata: map[string]string{"case": "planted"}, ProvidedEmail: "planted@example.com"})
	must(t, err)
	must(t, b.Submit(sess.ID, "document_expired"))
	events := b.Events()
	must(t, b.Redact(sess.ID))
	bodies := map[string]string{
		"the session": b.call("GET", sessionsPath+"/"+sess.ID, nil).body,
		"the list":    b.call("GET", sessionsPath, nil).body,
		"the events":  b.call("GET", eventsPath+"?limit=100", nil).body,
		"an event":    b.call("GET", eventsPath+"/"+events[2].ID, nil).body,
	}
	for name, body := range bodies {
		if strings.Contains(body, "planted") || strings.Contains(body, "person-1") || strings.Contains(body, "The document is expired") || !strings.Contains(body, redactedText) {
			t.Errorf("%s: %s", name, body)
		}
	}
	failed := eventSession(t, []byte(bodies["an event"]))
	if failed.Status != statusRequiresInput || failed.LastError.Code != "document_expired" || failed.LastError.Reason != redactedText ||
		failed.Metadata["case"] != redactedText || *failed.ProvidedDetails.Email != redactedText || failed.URL != nil {
		t.Errorf("%+v", failed)
	}
	if !strings.Contains(string(events[0].Body), "person-1") {
		t.Error("a webhook that was sent before the redaction has changed")
	}
}

package stripesim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const newestVersion = "2026-09-30.endive"

// callV2 sends JSON to /v2, with a version.
func (b *bench) callV2(method, path string, body any, headers ...string) answer {
	b.t.Helper()
	text := ""
	if body != nil {
		encoded, err := json.Marshal(body)
		must(b.t, err)
		text = string(encoded)
	}
	request, err := http.NewRequest(method, b.url+path, strings.NewReader(text))
	must(b.t, err)
	request.Header.Set("Authorization", "Bearer "+testKey)
	request.Header.Set("Stripe-Version", newestVersion)
	request.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
		if headers[i+1] == "" {
			request.Header.Del(headers[i])
		}
	}
	return b.send(request)
}

type fields = map[string]any

// thinDestination is the body of a creation, with changes. A nil removes a field.
func thinDestination(target string, change fields) fields {
	o := fields{"name": "verification", "type": "webhook_endpoint", "event_payload": "thin",
		"enabled_events": []string{"v1.identity.verification_session.verified", "v1.identity.verification_session.redacted"},
		"events_from":    []string{"self"}, "webhook_endpoint": fields{"url": target},
		"include": []string{"webhook_endpoint.signing_secret", "webhook_endpoint.url"}}
	for name, value := range change {
		o[name] = value
		if value == nil {
			delete(o, name)
		}
	}
	return o
}

func destinationOf(t *testing.T, a answer) (o destinationObject) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	must(t, json.Unmarshal([]byte(a.body), &o))
	return o
}

func TestDestinationsLiveOverTheAPI(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{})
	b.run()
	made := destinationOf(t, b.callV2("POST", destinationsPath, thinDestination(c.URL+"/thin", fields{"description": "first", "metadata": fields{"a": "b"}})))
	want := destinationObject{ID: made.ID, Object: "v2.core.event_destination", Created: made.Created, Updated: made.Updated, Description: "first",
		EnabledEvents: []string{"v1.identity.verification_session.verified", "v1.identity.verification_session.redacted"},
		EventPayload:  "thin", EventsFrom: []string{"self"}, Metadata: map[string]string{"a": "b"}, Name: "verification", Status: "enabled",
		Type: "webhook_endpoint", WebhookEndpoint: &destinationWebhook{URL: c.URL + "/thin", SigningSecret: made.WebhookEndpoint.SigningSecret}}
	if diff := cmp.Diff(want, made); diff != "" || !strings.HasPrefix(made.ID, "ed_") || !strings.HasPrefix(made.WebhookEndpoint.SigningSecret, "whsec_") {
		t.Errorf("made %s: %s", made.ID, diff)
	}
	path := destinationsPath + "/" + made.ID
	if got := destinationOf(t, b.callV2("GET", path, nil)); got.WebhookEndpoint != nil {
		t.Errorf("a read without include shows %+v", got.WebhookEndpoint)
	}
	got := destinationOf(t, b.callV2("GET", path+"?include%5B0%5D=webhook_endpoint.url", nil))
	if got.WebhookEndpoint == nil || got.WebhookEndpoint.URL != c.URL+"/thin" || got.WebhookEndpoint.SigningSecret != "" {
		t.Errorf("a read with include shows %+v", got.WebhookEndpoint)
	}

	ping := b.callV2("POST", path+"/ping", fields{})
	b.life(OutcomeVerified)
	b.settle()
	var kinds []string
	for _, h := range c.hooks() {
		kinds = append(kinds, h.kind)
	}
	slices.Sort(kinds)
	if diff := cmp.Diff([]string{"v1.identity.verification_session.verified", eventPing}, kinds); diff != "" || ping.status != 200 || !strings.Contains(ping.body, eventPing) {
		t.Errorf("webhooks: %s; the ping is answered %d %s", diff, ping.status, ping.body)
	}

	if off := destinationOf(t, b.callV2("POST", path+"/disable", fields{})); off.Status != "disabled" || off.StatusDetails.Disabled.Reason != "user" {
		t.Errorf("disabled: %+v", off)
	}
	if a := b.callV2("POST", path+"/ping", nil); a.status != 400 {
		t.Errorf("a ping to a disabled one: %d", a.status)
	}
	b.life(OutcomeVerified)
	b.settle()
	if on := destinationOf(t, b.callV2("POST", path+"/enable", nil)); on.Status != "enabled" || on.StatusDetails != nil {
		t.Errorf("enabled: %+v", on)
	}
	if len(c.hooks()) != 2 {
		t.Errorf("%d webhooks, with one after it was disabled", len(c.hooks()))
	}
	changed := destinationOf(t, b.callV2("POST", path, fields{"name": "other", "enabled_events": []string{"*"}, "webhook_endpoint": fields{"url": c.URL + "/moved"}, "include": []string{"webhook_endpoint.url"}}))
	if changed.Name != "other" || changed.WebhookEndpoint.URL != c.URL+"/moved" || !slices.Equal(changed.EnabledEvents, []string{"*"}) || changed.Description != "first" {
		t.Errorf("changed: %+v", changed)
	}
	if a := b.callV2("DELETE", path, nil); a.status != 200 {
		t.Errorf("deleted: %d %s", a.status, a.body)
	}
	if a := b.callV2("GET", path, nil); a.status != 404 {
		t.Errorf("after it was deleted: %d", a.status)
	}
}

// The list of /v2 shows the endpoints of both APIs. That of /v1 shows destinations only if it is configured so.
func TestDestinationsAndEndpointsInLists(t *testing.T) {
	for _, shows := range []bool{false, true} {
		b := newBench(t, Config{V1ShowsDestinations: shows})
		hook := b.register("https://shop.example/v1", nil)
		snapshot := destinationOf(t, b.callV2("POST", destinationsPath, thinDestination("https://shop.example/v2", fields{"event_payload": "snapshot",
			"enabled_events": []string{eventVerified}, "snapshot_api_version": "2023-10-16", "events_from": []string{"other_accounts"}})))
		thin := destinationOf(t, b.callV2("POST", destinationsPath, thinDestination("https://shop.example/thin", nil)))
		if snapshot.EventPayload != "snapshot" || *snapshot.SnapshotAPIVersion != "2023-10-16" || !slices.Equal(snapshot.EventsFrom, []string{"other_accounts"}) {
			t.Errorf("a snapshot destination: %+v", snapshot)
		}
		var got []string
		next := destinationsPath + "?limit=2&include%5B0%5D=webhook_endpoint.url"
		for next != "" {
			var page destinationList
			a := b.callV2("GET", next, nil)
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			must(t, json.Unmarshal([]byte(a.body), &page))
			next = ""
			if page.NextPageURL != nil {
				next = *page.NextPageURL
			}
			for _, o := range page.Data {
				got = append(got, o.ID+" "+o.EventPayload+" "+o.WebhookEndpoint.URL)
			}
		}
		want := []string{thin.ID + " thin https://shop.example/thin", snapshot.ID + " snapshot https://shop.example/v2", hook.ID + " snapshot https://shop.example/v1"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		var list endpointList
		must(t, json.Unmarshal([]byte(b.call("GET", endpointsPath, nil).body), &list))
		if want := map[bool]int{false: 1, true: 3}[shows]; len(list.Data) != want {
			t.Errorf("the list of v1 has %d, want %d", len(list.Data), want)
		}
	}
}

func TestBadDestinations(t *testing.T) {
	b := newBench(t, Config{})
	made := destinationOf(t, b.callV2("POST", destinationsPath, thinDestination("https://shop.example/webhook", nil)))
	for name, tc := range map[string]struct {
		path        string
		change      fields
		code, param string
	}{
		"an unknown field":         {"", fields{"colour": "red"}, "parameter_unknown", "colour"},
		"an unknown field below":   {"", fields{"webhook_endpoint": fields{"url": "https://a.example", "colour": "red"}}, "parameter_unknown", "webhook_endpoint[colour]"},
		"no name":                  {"", fields{"name": nil}, "parameter_missing", "name"},
		"no url":                   {"", fields{"webhook_endpoint": fields{}}, "parameter_missing", "webhook_endpoint"},
		"a relative url":           {"", fields{"webhook_endpoint": fields{"url": "/webhook"}}, "url_invalid", "webhook_endpoint.url"},
		"another payload":          {"", fields{"event_payload": "fat"}, "parameter_invalid", "event_payload"},
		"another type":             {"", fields{"type": "amazon_eventbridge"}, "parameter_invalid", "type"},
		"a version of thin events": {"", fields{"snapshot_api_version": "2023-10-16"}, "parameter_invalid", "snapshot_api_version"},
		"snapshot names for thin":  {"", fields{"enabled_events": []string{eventVerified}}, "parameter_invalid", "enabled_events"},
		"thin names for snapshots": {"", fields{"event_payload": "snapshot"}, "parameter_invalid", "enabled_events"},
		"no events":                {"", fields{"enabled_events": []string{}}, "parameter_missing", "enabled_events"},
		"an unknown include":       {"", fields{"include": []string{"everything"}}, "parameter_invalid", "include"},
		"events from somewhere":    {"", fields{"events_from": []string{"others"}}, "parameter_invalid", "events_from"},
		"a number":                 {"", fields{"name": 17}, "parameter_invalid", "name"},
		"an update of the payload": {"/" + made.ID, fields{"event_payload": "snapshot"}, "parameter_unknown", "event_payload"},
		"a parameter of a switch":  {"/" + made.ID + "/disable", fields{"reason": "x"}, "parameter_unknown", "reason"},
	} {
		t.Run(name, func(t *testing.T) {
			body := tc.change
			if tc.path == "" {
				body = thinDestination("https://shop.example/webhook", tc.change)
			}
			a := b.callV2("POST", destinationsPath+tc.path, body)
			if e := a.errorOf(t); a.status != 400 || e.Code != tc.code || e.Param != tc.param {
				t.Errorf("%d %+v", a.status, e)
			}
		})
	}
	for name, a := range map[string]answer{
		"no version":        b.callV2("GET", destinationsPath, nil, "Stripe-Version", ""),
		"a form":            b.callV2("POST", destinationsPath, fields{}, "Content-Type", "application/x-www-form-urlencoded"),
		"an unknown filter": b.callV2("GET", destinationsPath+"?colour=red", nil),
		"limit 101":         b.callV2("GET", destinationsPath+"?limit=101", nil),
	} {
		if a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := b.callV2("GET", "/v2/core/accounts", nil); a.status != 404 {
		t.Errorf("an unknown route: %d", a.status)
	}
}

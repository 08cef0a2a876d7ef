package stripesim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	stripe "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"
	"github.com/stripe/stripe-go/v76/webhookendpoint"
)

func endpointOf(t *testing.T, a answer) (o endpointObject) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	must(t, json.Unmarshal([]byte(a.body), &o))
	return o
}

// register makes an endpoint over the API.
func (b *bench) register(target string, more url.Values, headers ...string) endpointObject {
	b.t.Helper()
	form := url.Values{"url": {target}, "enabled_events[]": eventTypes}
	for name, values := range more {
		form[name] = values
	}
	return endpointOf(b.t, b.call("POST", endpointsPath, form, headers...))
}

func TestEndpointsThroughTheRealClient(t *testing.T) {
	b := newBench(t, Config{})
	client := webhookendpoint.Client{B: b.client.B, Key: testKey}
	made, err := client.New(&stripe.WebhookEndpointParams{
		URL: stripe.String("https://shop.example/webhook"), EnabledEvents: stripe.StringSlice(eventTypes),
		APIVersion: stripe.String("2023-10-16"), Description: stripe.String("first"), Connect: stripe.Bool(true),
	})
	must(t, err)
	if !strings.HasPrefix(made.ID, "we_") || !strings.HasPrefix(made.Secret, "whsec_") || made.Status != "enabled" ||
		made.APIVersion != "2023-10-16" || made.Description != "first" || made.Livemode || made.Created == 0 {
		t.Errorf("made %+v", made)
	}
	if diff := cmp.Diff(eventTypes, made.EnabledEvents); diff != "" {
		t.Error(diff)
	}
	got, err := client.Get(made.ID, nil)
	must(t, err)
	if got.Secret != "" || got.URL != made.URL {
		t.Errorf("got %+v", got)
	}
	changed, err := client.Update(made.ID, &stripe.WebhookEndpointParams{
		URL: stripe.String("https://shop.example/other"), Disabled: stripe.Bool(true), EnabledEvents: stripe.StringSlice([]string{"*"}),
	})
	must(t, err)
	if changed.Status != "disabled" || changed.URL != "https://shop.example/other" || changed.Description != "first" ||
		!slices.Equal(changed.EnabledEvents, []string{"*"}) || changed.Secret != "" {
		t.Errorf("changed %+v", changed)
	}
	gone, err := client.Del(made.ID, nil)
	must(t, err)
	if _, err = client.Get(made.ID, nil); !gone.Deleted || err == nil {
		t.Errorf("deleted %+v, and then error %v", gone, err)
	}
}

func TestEndpointListIsPaged(t *testing.T) {
	b := newBench(t, Config{Endpoints: hookless})
	var want []string
	for range 6 {
		want = append([]string{b.register("https://shop.example/webhook", nil).ID}, want...)
	}
	client := webhookendpoint.Client{B: b.client.B, Key: testKey}
	for name, p := range map[string]stripe.ListParams{"by twos": {Limit: stripe.Int64(2)}, "at once": {}} {
		var got []string
		it := client.List(&stripe.WebhookEndpointListParams{ListParams: p})
		for it.Next() {
			got = append(got, it.WebhookEndpoint().ID)
			if it.WebhookEndpoint().Secret != "" {
				t.Error("the list tells a secret")
			}
		}
		must(t, it.Err())
		if len(got) != 7 || !slices.Equal(got[:6], want) { // the seventh is Config's
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	a := b.call("GET", endpointsPath+"?limit=2&ending_before="+want[4], nil)
	var page endpointList
	must(t, json.Unmarshal([]byte(a.body), &page))
	if len(page.Data) != 2 || page.Data[0].ID != want[2] || page.Data[1].ID != want[3] || !page.HasMore {
		t.Errorf("before the fifth: %s", a.body)
	}
}

// An endpoint gets the types that it names, of its own account and mode, signed with its own secret and
// in its own version.
func TestEndpointsOfTheAPIGetTheirEvents(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{APIVersion: "2026-08-26.dahlia", RedactionDelay: Immediately})
	b.run()
	target := func(name string) string { return c.URL + "/" + name }
	all := b.register(target("all"), url.Values{"api_version": {"2023-10-16"}})
	star := b.register(target("star"), url.Values{"enabled_events[]": {"*"}})
	b.register(target("two"), url.Values{"enabled_events[]": {eventCreated, eventVerified, "charge.succeeded"}})
	b.register(target("connect"), url.Values{"connect": {"true"}})
	b.register(target("account"), nil, "Stripe-Account", "acct_1")
	off := b.register(target("off"), nil)
	endpointOf(t, b.call("POST", endpointsPath+"/"+off.ID, url.Values{"disabled": {"true"}}))

	must(t, b.Redact(b.life(OutcomeVerified)))
	_, err := b.Create(NewSession{Account: "acct_1"})
	must(t, err)
	_, err = b.Create(NewSession{Livemode: true})
	must(t, err)
	b.settle()
	got := map[string][]string{}
	for _, h := range c.hooks() {
		got[h.path] = append(got[h.path], h.kind)
		var want string
		version := "2026-08-26.dahlia"
		switch h.path {
		case "/all":
			want, version = all.Secret, "2023-10-16"
		case "/star":
			want = star.Secret
		default:
			continue
		}
		if err := webhook.ValidatePayload(h.body, h.signature, want); err != nil {
			t.Errorf("%s: %v", h.path, err)
		}
		if !strings.Contains(string(h.body), `"api_version": "`+version+`"`) {
			t.Errorf("%s: another version than %s", h.path, version)
		}
	}
	want := map[string][]string{
		"/all":     {"created", "processing", "verified", "redacted"},
		"/star":    {"created", "processing", "verified"},
		"/two":     {"created", "verified"},
		"/connect": {"created"},
		"/account": {"created"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A live Connect endpoint gets test events too; a test one no live ones.
func TestConnectEndpointsHearOfBothModes(t *testing.T) {
	c := newConsumer(t, nil)
	b := newBench(t, Config{})
	b.run()
	test := b.register(c.URL+"/test", url.Values{"connect": {"true"}})
	// The API takes https alone in live mode; the consumer has none.
	live := b.register("https://shop.example/live", url.Values{"connect": {"true"}}, "Authorization", "Bearer "+liveKey)
	b.endpoints[1].URL = c.URL + "/live"
	for _, livemode := range []bool{false, true} {
		_, err := b.Create(NewSession{Account: "acct_1", Livemode: livemode})
		must(t, err)
	}
	b.settle()
	got := map[string]int{}
	for _, h := range c.hooks() {
		got[h.path]++
	}
	if got["/test"] != 1 || got["/live"] != 2 || test.Livemode || !live.Livemode {
		t.Errorf("%v", got)
	}
}

// What is on its way to an endpoint ends with it, and SetEndpoints leaves those of the API alone.
func TestEndpointsThatGo(t *testing.T) {
	c := newConsumer(t, func(int, hook) int { return 500 })
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}, Delivery: quick})
	made := b.register(c.URL+"/made", nil)
	b.life()
	must(t, b.SetEndpoints())
	if a := b.call("DELETE", endpointsPath+"/"+made.ID, nil); a.status != 200 || !strings.Contains(a.body, `"deleted": true`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	b.run()
	b.settle()
	if s := b.Stats(); s.Orphaned != 2 || s.Attempts != 0 {
		t.Errorf("%+v", s)
	}
	again := b.register(c.URL+"/again", nil)
	must(t, b.SetEndpoints(c.endpoint()))
	if endpointOf(t, b.call("GET", endpointsPath+"/"+again.ID, nil)).ID != again.ID {
		t.Error("it is gone")
	}
}

func TestBadEndpoints(t *testing.T) {
	b := newBench(t, Config{})
	made := b.register("http://shop.example/webhook", nil)
	for name, tc := range map[string]struct {
		path, form, code, param string
		live                    bool
	}{
		"no url":                   {"", "enabled_events[]=*", "parameter_missing", "url", false},
		"no events":                {"", "url=https://a.example", "parameter_missing", "enabled_events", false},
		"events are empty":         {"", "url=https://a.example&enabled_events=", "parameter_invalid", "enabled_events", false},
		"an odd url":               {"", "url=/webhook&enabled_events[]=*", "url_invalid", "url", false},
		"plain text in live mode":  {"", "url=http://a.example&enabled_events[]=*", "url_invalid", "url", true},
		"an odd version":           {"", "url=https://a.example&enabled_events[]=*&api_version=latest", "parameter_invalid", "api_version", false},
		"no such Identity event":   {"", "url=https://a.example&enabled_events[]=identity.verification_session.failed", "parameter_invalid", "enabled_events", false},
		"disabled at the creation": {"", "url=https://a.example&enabled_events[]=*&disabled=true", "parameter_unknown", "disabled", false},
		"a change of the version":  {"/" + made.ID, "api_version=2023-10-16", "parameter_unknown", "api_version", false},
		"no events any more":       {"/" + made.ID, "enabled_events=", "parameter_invalid", "enabled_events", false},
	} {
		t.Run(name, func(t *testing.T) {
			form, err := url.ParseQuery(tc.form)
			must(t, err)
			key := testKey
			if tc.live {
				key = liveKey
			}
			a := b.call("POST", endpointsPath+tc.path, form, "Authorization", "Bearer "+key)
			if e := a.errorOf(t); a.status != 400 || e.Code != tc.code || e.Param != tc.param {
				t.Errorf("%d %+v", a.status, e)
			}
		})
	}
	for _, request := range []struct{ method, path, key string }{
		{"GET", made.ID, liveKey}, {"GET", "we_none", testKey}, {"DELETE", "we_none", testKey}, {"POST", "we_none", testKey},
	} {
		a := b.call(request.method, endpointsPath+"/"+request.path, nil, "Authorization", "Bearer "+request.key)
		if a.status != 404 || a.errorOf(t).Code != "resource_missing" {
			t.Errorf("%v: %d %s", request, a.status, a.body)
		}
	}
	if a := b.call("GET", endpointsPath+"?starting_after=we_none", nil); a.status != 400 || a.errorOf(t).Param != "starting_after" {
		t.Errorf("%d %s", a.status, a.body)
	}
	for range maxEndpoints - 1 {
		b.register("https://shop.example/webhook", nil)
	}
	full := url.Values{"url": {"https://shop.example/webhook"}, "enabled_events[]": {"*"}}
	if a := b.call("POST", endpointsPath, full); a.status != 400 {
		t.Errorf("a seventeenth: %d", a.status)
	}
	if a := b.call("POST", endpointsPath, full, "Stripe-Account", "acct_1"); a.status != 200 {
		t.Errorf("another account's first: %d %s", a.status, a.body)
	}
}

package stripesim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	stripe "github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/event"
)

// emitted is a simulator with a minute between its changes, and the ids of its own account's events
// in test mode, the newest first.
func emitted(t *testing.T, cfg Config) (b *bench, client event.Client, ids func(keep func(Event) bool) []string) {
	var now int64 = 1_790_000_000
	cfg.Now = func() time.Time { now += 20; return time.Unix(now, 0) }
	b = newBench(t, cfg)
	client = event.Client{B: stripeClient(b.http, b.url, testKey).B, Key: testKey}
	return b, client, func(keep func(Event) bool) []string {
		var out []string
		for _, e := range b.Events() {
			if e.Account == "" && !e.Livemode && keep(e) {
				out = append([]string{e.ID}, out...)
			}
		}
		return out
	}
}

func TestEventListThroughTheRealClient(t *testing.T) {
	b, client, ids := emitted(t, Config{})
	for range 6 {
		b.life("document_expired", OutcomeVerified)
	}
	_, err := b.Create(NewSession{Account: "acct_1"})
	must(t, err)
	_, err = b.Create(NewSession{Livemode: true})
	must(t, err)
	all := ids(func(Event) bool { return true })
	middle := b.Events()[15].Created
	type params = stripe.EventListParams
	paged := stripe.ListParams{Limit: stripe.Int64(7)}
	for name, tc := range map[string]struct {
		p    params
		want []string
	}{
		"all, by sevens": {params{ListParams: paged}, all},
		"default pages":  {params{}, all},
		"two types": {params{ListParams: paged, Types: stripe.StringSlice([]string{eventVerified, eventCreated})},
			ids(func(e Event) bool { return e.Type == eventVerified || e.Type == eventCreated })},
		"one type":      {params{Type: stripe.String(eventVerified)}, ids(func(e Event) bool { return e.Type == eventVerified })},
		"a group":       {params{Type: stripe.String("identity.verification_session.*")}, all},
		"another group": {params{Type: stripe.String("charge.*")}, nil},
		"from and before": {params{ListParams: paged, CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: middle - 40, LesserThan: middle}},
			ids(func(e Event) bool { return e.Created >= middle-40 && e.Created < middle })},
		"after and to": {params{CreatedRange: &stripe.RangeQueryParams{GreaterThan: middle - 40, LesserThanOrEqual: middle}},
			ids(func(e Event) bool { return e.Created > middle-40 && e.Created <= middle })},
		"after a cursor": {params{ListParams: stripe.ListParams{StartingAfter: stripe.String(all[9])}}, all[10:]},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			it := client.List(&tc.p)
			for it.Next() {
				got = append(got, it.Event().ID)
			}
			must(t, it.Err())
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("before a cursor, the oldest first", func(t *testing.T) {
		var got []string
		it := client.List(&params{ListParams: stripe.ListParams{EndingBefore: stripe.String(all[12]), Limit: stripe.Int64(5)}})
		for it.Next() {
			got = append(got, it.Event().ID)
		}
		must(t, it.Err())
		want := slices.Clone(all[:12])
		slices.Reverse(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("of a connected account and of live mode", func(t *testing.T) {
		for _, header := range [][]string{{"Stripe-Account", "acct_1"}, {"Authorization", "Bearer " + liveKey}} {
			page := eventsOf(t, b.call("GET", eventsPath, nil, header...))
			if len(page.Data) != 1 || page.HasMore {
				t.Errorf("%v: %d events", header, len(page.Data))
			}
		}
	})
}

func eventsOf(t *testing.T, a answer) (page eventList) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	must(t, json.Unmarshal([]byte(a.body), &page))
	return page
}

// An event in the list says what its webhook says, also where no webhook ever came.
func TestListedEventsAreAsEmitted(t *testing.T) {
	b, _, _ := emitted(t, Config{Endpoints: hookless})
	must(t, b.SetFaults(Faults{DropProbability: 1}))
	b.life("document_expired")
	page := eventsOf(t, b.call("GET", eventsPath+"?types%5B0%5D="+eventRequiresInput+"&types%5B1%5D="+eventProcessing, nil))
	events := b.Events()
	if len(page.Data) != 2 || page.URL != eventsPath || page.Object != "list" {
		t.Fatalf("%+v", page)
	}
	for i, body := range page.Data {
		var got, want map[string]any
		must(t, json.Unmarshal(body, &got))
		must(t, json.Unmarshal(events[2-i].Body, &want))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestRedactedIsListedOnlyIfAnEndpointNamesIt(t *testing.T) {
	for name, tc := range map[string]struct {
		types []string
		want  int
	}{
		"star":    {[]string{"*"}, 0},
		"by name": {[]string{eventRedacted}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := hookless[0]
			endpoint.EnabledEvents = tc.types
			b, _, _ := emitted(t, Config{Endpoints: []Endpoint{endpoint}, RedactionDelay: Immediately})
			must(t, b.Redact(b.life(OutcomeVerified)))
			if page := eventsOf(t, b.call("GET", eventsPath+"?type="+eventRedacted, nil)); len(page.Data) != tc.want {
				t.Errorf("%d redacted events", len(page.Data))
			}
		})
	}
}

func TestEventsAreListedFor30Days(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	b := newBench(t, Config{Now: func() time.Time { return now }})
	b.life()
	old := b.Events()[0].ID
	now = now.Add(30 * 24 * time.Hour)
	b.life()
	if page := eventsOf(t, b.call("GET", eventsPath, nil)); len(page.Data) != 2 {
		t.Errorf("%d events on the last day", len(page.Data))
	}
	now = now.Add(time.Second)
	if page := eventsOf(t, b.call("GET", eventsPath, nil)); len(page.Data) != 1 {
		t.Errorf("%d events a second later", len(page.Data))
	}
	a := b.call("GET", eventsPath+"?ending_before="+old, nil)
	if a.status != 400 || a.errorOf(t).Code != "resource_missing" || a.errorOf(t).Param != "ending_before" {
		t.Errorf("a cursor that is gone: %d %s", a.status, a.body)
	}
}

func TestDeliverySuccess(t *testing.T) {
	refuse := true
	c := newConsumer(t, func(int, hook) int {
		if refuse {
			return 500
		}
		return 200
	})
	b := newBench(t, Config{Endpoints: []Endpoint{c.endpoint()}, Delivery: DeliveryConfig{MaxAttempts: 1}})
	count := func(success string) int {
		return len(eventsOf(t, b.call("GET", eventsPath+"?delivery_success="+success, nil)).Data)
	}
	b.run()
	must(t, b.SetFaults(Faults{MaxCopies: 3}))
	b.life(OutcomeVerified)
	b.settle()
	refuse = false
	b.life(OutcomeVerified)
	b.settle()
	must(t, b.SetFaults(Faults{DropProbability: 1}))
	b.life()
	if failed, done := count("false"), count("true"); failed != 4 || done != 3 {
		t.Errorf("%d not delivered and %d delivered, want 4 and 3", failed, done)
	}
}

func TestBadEventLists(t *testing.T) {
	b := newBench(t, Config{})
	id := b.life()
	for name, tc := range map[string]struct{ query, code, param string }{
		"unknown":            {"colour=red", "parameter_unknown", "colour"},
		"type and types":     {"type=a&types[]=b", "parameter_invalid", "type"},
		"a wildcard among":   {"types[]=identity.*", "parameter_invalid", "types"},
		"21 types":           {strings.Repeat("types[]=a&", 21), "parameter_invalid", "types"},
		"limit 101":          {"limit=101", "parameter_invalid", "limit"},
		"both cursors":       {"starting_after=a&ending_before=b", "parameter_invalid", "ending_before"},
		"no event":           {"starting_after=" + id, "resource_missing", "starting_after"},
		"odd created":        {"created[gte]=now", "parameter_invalid_integer", "created[gte]"},
		"odd delivery state": {"delivery_success=soon", "parameter_invalid", "delivery_success"},
	} {
		t.Run(name, func(t *testing.T) {
			query := strings.NewReplacer("[", "%5B", "]", "%5D").Replace(tc.query)
			a := b.call("GET", eventsPath+"?"+query, nil)
			if e := a.errorOf(t); a.status != 400 || e.Code != tc.code || e.Param != tc.param {
				t.Errorf("%d %+v", a.status, e)
			}
		})
	}
	if a := b.call("POST", eventsPath, url.Values{}); a.status != 404 {
		t.Errorf("POST: %d", a.status)
	}
}

func TestNothingIsKeptOfEventsThatAreGone(t *testing.T) {
	b := newBench(t, Config{MaxEvents: 3, Endpoints: hookless})
	must(t, b.SetFaults(Faults{DropProbability: 1}))
	for range 20 {
		b.life()
		if len(b.undelivered) > 2*3 {
			t.Fatalf("%d events are kept", len(b.undelivered))
		}
	}
	if page := eventsOf(t, b.call("GET", eventsPath, nil)); len(page.Data) != 3 {
		t.Errorf("%d events are listed, want MaxEvents", len(page.Data))
	}
}

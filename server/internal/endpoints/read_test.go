package endpoints

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/verification-status/server/internal/stripeapi"
	"example.com/verification-status/server/internal/verification"
)

// fakeLists answers with fixed lists.
type fakeLists struct {
	first, second       []stripeapi.Endpoint
	errFirst, errSecond error
}

func (f fakeLists) Endpoints(context.Context) ([]stripeapi.Endpoint, error) {
	return f.first, f.errFirst
}

func (f fakeLists) Destinations(context.Context) ([]stripeapi.Endpoint, error) {
	return f.second, f.errSecond
}

// One list that cannot be read does not hide the other one.
func TestReadShowsWhatItCan(t *testing.T) {
	one, two := []stripeapi.Endpoint{{ID: "we_1"}}, []stripeapi.Endpoint{{ID: "ed_2", Thin: true, V2: true}}
	for name, tc := range map[string]struct {
		lists fakeLists
		ids   string
		note  string // a part
		err   string // a part; empty: there is none
	}{
		"both":                 {fakeLists{first: one, second: two}, "we_1 ed_2", "", ""},
		"v2 is not permitted":  {fakeLists{first: one, errSecond: verification.ErrStripeUnauthorized}, "we_1", "event destinations of API v2 cannot be listed", ""},
		"v2 does not exist":    {fakeLists{first: one, errSecond: verification.ErrStripeUnknown}, "we_1", "Stripe answers 404", ""},
		"v2 is away":           {fakeLists{first: one, errSecond: verification.ErrStripeUnavailable}, "we_1", "API v2", ""},
		"v1 is not permitted":  {fakeLists{second: two, errFirst: verification.ErrStripeUnauthorized}, "ed_2", "API v1 cannot be listed", ""},
		"neither is permitted": {fakeLists{errFirst: verification.ErrStripeUnauthorized, errSecond: verification.ErrStripeUnauthorized}, "", "", "refuses the API key"},
		"neither exists":       {fakeLists{errFirst: verification.ErrStripeUnknown, errSecond: verification.ErrStripeUnknown}, "", "", "STRIPE_API_BASE is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			all, note, err := Read(t.Context(), tc.lists)
			var ids []string
			for _, e := range all {
				ids = append(ids, e.ID)
			}
			if got := strings.Join(ids, " "); got != tc.ids {
				t.Errorf("endpoints: got %q, want %q", got, tc.ids)
			}
			if (note == "") != (tc.note == "") || !strings.Contains(note, tc.note) {
				t.Errorf("note: got %q, want %q in it", note, tc.note)
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error: got %v, want %q in it", err, tc.err)
			}
			if strings.Contains(note, "session") || err != nil && strings.Contains(err.Error(), "session") {
				t.Errorf("a text about sessions: %q, %v", note, err)
			}
		})
	}
}

// An endpoint that both versions of the API show is shown once, with what only one of them says.
func TestMergeShowsEachOnce(t *testing.T) {
	const hook = "https://a.example/webhook"
	got := merge(
		[]stripeapi.Endpoint{
			{ID: "we_1", URL: hook, APIVersion: "2023-10-16", Enabled: true, EnabledEvents: []string{"*"}},
			{ID: "ed_2", URL: hook, Enabled: true},
			{ID: "we_3", URL: hook},
		},
		[]stripeapi.Endpoint{
			{ID: "we_1", V2: true, Enabled: true, EnabledEvents: []string{"*"}},
			{ID: "ed_2", URL: hook, V2: true, Thin: true, Enabled: true},
			{ID: "ed_3", URL: hook, V2: true, Thin: true},
			{ID: "ed_4", URL: hook, V2: true, Thin: true},
		})
	want := []stripeapi.Endpoint{
		{ID: "we_1", URL: hook, APIVersion: "2023-10-16", Enabled: true, EnabledEvents: []string{"*"}},
		{ID: "ed_2", URL: hook, Enabled: true, Thin: true},
		{ID: "we_3", URL: hook},
		{ID: "ed_3", URL: hook, Thin: true, V2: true},
		{ID: "ed_4", URL: hook, Thin: true, V2: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

package stripesim

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Everything that Stripe's reference lists for a creation is taken and shown.
func TestACreationTakesWhatTheReferenceLists(t *testing.T) {
	b := newBench(t, Config{})
	a := b.call("POST", sessionsPath, url.Values{
		"type": {"document"}, "client_reference_id": {strings.Repeat("ü", 5000)}, "metadata[a]": {"1"}, "return_url": {"https://shop.example/back"},
		"options[document][allowed_types][0]": {"passport"}, "options[document][require_id_number]": {"true"},
		"options[document][require_live_capture]": {"true"}, "options[document][require_matching_selfie]": {"true"},
		"provided_details[email]": {"a@b.example"}, "provided_details[phone]": {"+15550100"}, "related_customer": {"cus_1"},
		"related_customer_account": {"acct_c"}, "related_person[account]": {"acct_1"}, "related_person[person]": {"person_1"},
	})
	sess := a.session(t)
	if *sess.RelatedCustomer != "cus_1" || *sess.RelatedCustomerAccount != "acct_c" || *sess.RelatedPerson != (relatedPerson{"acct_1", "person_1"}) {
		t.Errorf("%s", a.body)
	}
	got := b.truth(sess.ID)
	if got.RelatedPerson != (RelatedPerson{"acct_1", "person_1"}) || got.ProvidedPhone != "+15550100" || got.ReturnURL != "https://shop.example/back" {
		t.Errorf("%+v", got)
	}
	flow := b.create("type", "", "verification_flow", "vf_1")
	if flow.VerificationFlow != "vf_1" || b.truth(flow.ID).Flow != "vf_1" {
		t.Errorf("%+v", flow)
	}
	if empty := b.create("options", ""); empty.Status != statusRequiresInput {
		t.Errorf("an empty hash of options: %+v", empty)
	}
}

func TestACreationTakesNothingElse(t *testing.T) {
	b := newBench(t, Config{})
	for name, form := range map[string]url.Values{
		"options[email]":                       {"type": {"document"}, "options[email][require_verification]": {"true"}},
		"options[phone]":                       {"type": {"document"}, "options[phone][require_verification]": {"true"}},
		"options[id_number]":                   {"type": {"document"}, "options[id_number]": {""}},
		"options[matching]":                    {"type": {"document"}, "options[matching][dob]": {"similar"}},
		"options[document][allowed_countries]": {"type": {"document"}, "options[document][allowed_countries][]": {"DE"}},
		"provided_details[name]":               {"type": {"document"}, "provided_details[name]": {"Jenny"}},
		"related_person[name]":                 {"type": {"document"}, "related_person[account]": {"acct_1"}, "related_person[person]": {"p"}, "related_person[name]": {"x"}},
		"redaction":                            {"type": {"document"}, "redaction": {""}},
		"status":                               {"type": {"document"}, "status": {"verified"}},
	} {
		a := b.call("POST", sessionsPath, form)
		if e := a.errorOf(t); a.status != 400 || e.Code != "parameter_unknown" || e.Param != name {
			t.Errorf("%s: %d %+v", name, a.status, e)
		}
	}
	for name, form := range map[string]url.Values{
		"options beside a flow":   {"verification_flow": {"vf_1"}, "options[document][require_matching_selfie]": {"true"}},
		"a person without a name": {"type": {"document"}, "related_person[account]": {"acct_1"}},
	} {
		if a := b.call("POST", sessionsPath, form); a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if len(b.Sessions()) != 0 {
		t.Errorf("%d sessions were created", len(b.Sessions()))
	}
}

func TestListsByCustomer(t *testing.T) {
	b := newBench(t, Config{})
	first, err := b.Create(NewSession{RelatedCustomer: "cus_1"})
	must(t, err)
	second, err := b.Create(NewSession{RelatedCustomerAccount: "acct_c", RelatedPerson: RelatedPerson{"acct_1", "person_1"}})
	must(t, err)
	for query, want := range map[string][]string{
		"related_customer=cus_1": {first.ID}, "related_customer_account=acct_c": {second.ID}, "related_customer=cus_2": nil, "": {second.ID, first.ID},
	} {
		var got []string
		for _, sess := range sessionsOf(t, b.call("GET", sessionsPath+"?"+query, nil)).Data {
			got = append(got, sess.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", query, diff)
		}
	}
}

func TestControlsOfWhatASessionShows(t *testing.T) {
	b := newBench(t, Config{})
	sess := b.create("options[document][require_matching_selfie]", "true")
	must(t, b.ShowOptions(sess.ID, ShownOptions{Email: true, Phone: true, IDNumber: true, MatchingDOB: "similar", MatchingName: "none"}))
	var shown struct{ Options map[string]any }
	must(t, json.Unmarshal([]byte(b.call("GET", sessionsPath+"/"+sess.ID, nil).body), &shown))
	want := map[string]any{
		"document": map[string]any{"require_matching_selfie": true}, "email": map[string]any{"require_verification": true},
		"id_number": map[string]any{}, "matching": map[string]any{"dob": "similar", "name": "none"}, "phone": map[string]any{"require_verification": true},
	}
	if diff := cmp.Diff(want, shown.Options); diff != "" {
		t.Error(diff)
	}
	must(t, b.WithholdLinks(sess.ID, true))
	if got := b.call("GET", sessionsPath+"/"+sess.ID, nil).session(t); got.URL != nil || got.ClientSecret != nil || got.Status != statusRequiresInput {
		t.Errorf("withheld: %+v", got)
	}
	must(t, b.WithholdLinks(sess.ID, false))
	if got := b.call("GET", sessionsPath+"/"+sess.ID, nil).session(t); got.URL == nil {
		t.Errorf("given again: %+v", got)
	}
}

func TestDeletedSessionsAreGone(t *testing.T) {
	b := newBench(t, Config{ProcessingDelay: 20 * time.Millisecond})
	sess := b.create("client_reference_id", "person-1")
	other := b.create("client_reference_id", "person-1")
	must(t, b.Submit(sess.ID, OutcomeVerified))
	events := len(b.Events())
	must(t, b.Delete(sess.ID))
	b.run()
	b.settle() // the end of the processing changes nothing
	if a := b.call("GET", sessionsPath+"/"+sess.ID, nil); a.status != 404 || a.errorOf(t).Code != "resource_missing" {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, query := range []string{"", "?client_reference_id=person-1"} {
		if page := sessionsOf(t, b.call("GET", sessionsPath+query, nil)); len(page.Data) != 1 || page.Data[0].ID != other.ID {
			t.Errorf("the list %q: %+v", query, page.Data)
		}
	}
	if len(b.Events()) != events || len(b.Sessions()) != 1 {
		t.Errorf("%d events and %d sessions", len(b.Events()), len(b.Sessions()))
	}
}

func TestEphemeralKeys(t *testing.T) {
	at := time.Unix(1_790_000_000, 0)
	b := newBench(t, Config{Now: func() time.Time { return at }, Keys: []Key{{Value: restrictedKey, Lacks: []string{PermissionWriteEphemeralKey}}}})
	sess := b.create()
	form := url.Values{"verification_session": {sess.ID}}
	a := b.call("POST", ephemeralKeysPath, form, "Stripe-Version", "2025-12-15.clover")
	var key ephemeralKey
	must(t, json.Unmarshal([]byte(a.body), &key))
	if a.status != 200 || !strings.HasPrefix(key.Secret, "ek_test_") || key.Created != at.Unix() || key.Expires != at.Unix()+3600 ||
		key.AssociatedObjects[0] != (associatedObject{sess.ID, "identity.verification_session"}) {
		t.Errorf("%d %s", a.status, a.body)
	}
	for name, tc := range map[string]struct {
		form    url.Values
		headers []string
		want    int
	}{
		"no version":       {form, nil, 400},
		"an odd version":   {form, []string{"Stripe-Version", "latest"}, 400},
		"no session":       {nil, []string{"Stripe-Version", "2025-12-15.clover"}, 400},
		"a customer":       {url.Values{"verification_session": {sess.ID}, "customer": {"cus_1"}}, []string{"Stripe-Version", "2025-12-15.clover"}, 400},
		"unknown session":  {url.Values{"verification_session": {"vs_none"}}, []string{"Stripe-Version", "2025-12-15.clover"}, 404},
		"another account":  {form, []string{"Stripe-Version", "2025-12-15.clover", "Stripe-Account", "acct_1"}, 404},
		"a restricted key": {form, []string{"Stripe-Version", "2025-12-15.clover", "Authorization", "Bearer " + restrictedKey}, 403},
	} {
		if a := b.call("POST", ephemeralKeysPath, tc.form, tc.headers...); a.status != tc.want || strings.Contains(a.body, "ek_test_") {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, tc.want)
		}
	}
}

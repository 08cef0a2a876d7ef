package stripeform_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/verification-status/server/internal/testing/stripeform"
)

const sessions = "/v1/identity/verification_sessions"

func form(values url.Values) stripeform.Request {
	return stripeform.Request{Method: http.MethodPost, Path: sessions, Body: values.Encode(),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
}

// creation is everything that a creation can have.
func creation() url.Values {
	return url.Values{
		"type": {"document"}, "client_reference_id": {"case-17"}, "metadata[any name]": {"1"}, "return_url": {"https://shop.example"},
		"options[document][allowed_types][0]": {"passport"}, "options[document][allowed_types][1]": {"id_card"},
		"options[document][require_id_number]": {"true"}, "options[document][require_live_capture]": {"true"},
		"options[document][require_matching_selfie]": {"true"}, "provided_details[email]": {"a@b.example"}, "provided_details[phone]": {"+1"},
		"related_customer": {"cus_1"}, "related_customer_account": {"acct_1"}, "related_person[account]": {"acct_1"}, "related_person[person]": {"p"},
	}
}

func destination(change map[string]any) stripeform.Request {
	body := map[string]any{
		"name": "verification", "type": "webhook_endpoint", "event_payload": "thin", "events_from": []string{"self"},
		"enabled_events": []string{"v1.identity.verification_session.redacted"}, "webhook_endpoint": map[string]any{"url": "https://shop.example"},
		"include": []string{"webhook_endpoint.signing_secret", "webhook_endpoint.url"}, "metadata": map[string]any{"a": "b"},
	}
	for name, value := range change {
		body[name] = value
		if value == nil {
			delete(body, name)
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return stripeform.Request{Method: http.MethodPost, Path: "/v2/core/event_destinations", Body: string(text),
		Header: http.Header{"Content-Type": {"application/json"}, "Stripe-Version": {"2026-09-30.endive"}}}
}

func TestRequestsOfTheReferenceAreTaken(t *testing.T) {
	for name, request := range map[string]stripeform.Request{
		"a creation":    form(creation()),
		"of a flow":     form(url.Values{"verification_flow": {"vf_1"}, "metadata[a]": {"b"}}),
		"a list":        {Method: http.MethodGet, Path: sessions, Query: "limit=100&created[gte]=1&created[lt]=2&status=verified&starting_after=vs_1"},
		"a read":        {Method: http.MethodGet, Path: sessions + "/vs_1"},
		"events":        {Method: http.MethodGet, Path: "/v1/events", Query: "types[]=a&types[]=b&created[gte]=1"},
		"an event":      {Method: http.MethodGet, Path: "/v1/events/evt_1"},
		"a destination": destination(nil),
	} {
		if problems := stripeform.Check(request); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// One parameter too many, at any depth, is a problem that names the parameter.
func TestOneParameterTooManyIsAProblem(t *testing.T) {
	extra := func(name, value string) stripeform.Request {
		values := creation()
		values.Set(name, value)
		return form(values)
	}
	for want, request := range map[string]stripeform.Request{
		"colour":                            extra("colour", "red"),
		"options[email]":                    extra("options[email][require_verification]", "true"),
		"options[matching][dob]":            extra("options[matching][dob]", "similar"),
		"options[id_number]":                extra("options[id_number]", ""),
		"options[document][allowed_types]x": extra("options[document][allowed_types]x[0]", "passport"),
		"options[document][allowed_types]":  extra("options[document][allowed_types]", "passport"),
		"provided_details[name]":            extra("provided_details[name]", "Jenny"),
		"related_person[name]":              extra("related_person[name]", "x"),
		"metadata[a][b]":                    extra("metadata[a][b]", "x"),
		"expand[]":                          extra("expand[]", "verified_outputs"),
		"created[gtex]":                     {Method: http.MethodGet, Path: sessions, Query: "created[gtex]=1"},
		"verification_session":              {Method: http.MethodGet, Path: sessions + "/vs_1", Query: "verification_session=x"},
		"delivery":                          {Method: http.MethodGet, Path: "/v1/events", Query: "delivery=1"},
		"secret":                            destination(map[string]any{"secret": "x"}),
		"webhook_endpoint[secret]":          destination(map[string]any{"webhook_endpoint": map[string]any{"url": "https://a.example", "secret": "x"}}),
	} {
		problems := stripeform.Check(request)
		if len(problems) != 1 || !strings.Contains(problems[0], "no parameter "+want) {
			t.Errorf("%s: %v", want, problems)
		}
	}
}

func TestOtherProblems(t *testing.T) {
	change := func(do func(url.Values)) stripeform.Request {
		values := creation()
		do(values)
		return form(values)
	}
	unversioned := destination(nil)
	unversioned.Header = http.Header{"Content-Type": {"application/json"}}
	asForm := destination(nil)
	asForm.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Stripe-Version": {"2026-09-30.endive"}}
	for want, request := range map[string]stripeform.Request{
		"exclude each other":                        change(func(v url.Values) { v.Del("type"); v.Set("verification_flow", "vf_1") }),
		"2 of the parameters type":                  form(url.Values{"type": {"document"}, "verification_flow": {"vf_1"}}),
		"0 of the parameters type":                  form(nil),
		`type cannot be "palm"`:                     change(func(v url.Values) { v.Set("type", "palm") }),
		`cannot be "library_card"`:                  change(func(v url.Values) { v.Set("options[document][allowed_types][0]", "library_card") }),
		`status cannot be "failed"`:                 {Method: http.MethodGet, Path: sessions, Query: "status=failed"},
		"starting_after and ending_before":          {Method: http.MethodGet, Path: sessions, Query: "starting_after=a&ending_before=b"},
		"is no operation":                           {Method: http.MethodPost, Path: sessions + "/vs_1/verify"},
		"want one":                                  destination(map[string]any{"name": nil}),
		"Stripe-Version is missing":                 unversioned,
		"want JSON":                                 asForm,
		`"v1.identity.verification_session.failed"`: destination(map[string]any{"enabled_events": []string{"v1.identity.verification_session.failed"}}),
		"name is 17":                                destination(map[string]any{"name": 17}),
	} {
		problems := stripeform.Check(request)
		if len(problems) != 1 || !strings.Contains(problems[0], want) {
			t.Errorf("want %q, got %v", want, problems)
		}
	}
	key := form(url.Values{"verification_session": {"vs_1"}})
	key.Path = "/v1/ephemeral_keys"
	if problems := stripeform.Check(key); len(problems) != 1 || !strings.Contains(problems[0], "Stripe-Version") {
		t.Errorf("an ephemeral key without a version: %v", problems)
	}
}

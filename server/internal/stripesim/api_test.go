package stripesim

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	stripe "github.com/stripe/stripe-go/v76"
)

func TestRealClientLivesAWholeLife(t *testing.T) {
	b := newBench(t, Config{ProcessingDelay: OnDemand})
	made, err := b.client.New(&stripe.IdentityVerificationSessionParams{
		Type: stripe.String("document"), ClientReferenceID: stripe.String("user-1"), ReturnURL: stripe.String("https://shop.example/back"),
		Metadata: map[string]string{"user": "1", "tier": "gold"},
		Options: &stripe.IdentityVerificationSessionOptionsParams{Document: &stripe.IdentityVerificationSessionOptionsDocumentParams{
			AllowedTypes: stripe.StringSlice([]string{"passport", "id_card"}), RequireMatchingSelfie: stripe.Bool(true)}},
		ProvidedDetails: &stripe.IdentityVerificationSessionProvidedDetailsParams{Email: stripe.String("a@b.example")},
	})
	must(t, err)
	if made.Status != "requires_input" || made.LastError != nil || made.ClientReferenceID != "user-1" || made.URL == "" ||
		made.ClientSecret == "" || made.Metadata["tier"] != "gold" || !made.Options.Document.RequireMatchingSelfie ||
		len(made.Options.Document.AllowedTypes) != 2 || made.Options.Document.AllowedTypes[0] != "passport" || made.ProvidedDetails.Email != "a@b.example" {
		t.Fatalf("New: %+v", made)
	}
	read, err := b.client.Get(made.ID, nil)
	must(t, err)
	if read.URL == made.URL || read.ClientSecret == made.ClientSecret || read.URL == "" {
		t.Fatal("Get must give a fresh link and secret")
	}
	changed, err := b.client.Update(made.ID, &stripe.IdentityVerificationSessionParams{
		Metadata: map[string]string{"tier": "", "age": "40"}, Type: stripe.String("id_number")})
	must(t, err)
	if diff := cmp.Diff(map[string]string{"user": "1", "age": "40"}, changed.Metadata); diff != "" || changed.Type != "id_number" {
		t.Fatalf("Update: %s %s", diff, changed.Type)
	}

	must(t, b.Submit(made.ID, "id_number_mismatch"))
	busy, err := b.client.Get(made.ID, nil)
	must(t, err)
	if busy.Status != "processing" || busy.URL != "" || busy.ClientSecret != "" {
		t.Fatalf("processing: %+v", busy)
	}
	_, err = b.client.Cancel(made.ID, nil)
	var refused *stripe.Error
	if !errors.As(err, &refused) || refused.HTTPStatusCode != 400 || refused.Type != stripe.ErrorTypeInvalidRequest || refused.RequestID == "" ||
		!strings.Contains(refused.Msg, `You cannot cancel this VerificationSession because it has a status of "processing"`) {
		t.Fatalf("cancel while processing: %v", err)
	}
	must(t, b.FinishProcessing(made.ID))
	failed, err := b.client.Get(made.ID, nil)
	must(t, err)
	if failed.LastError == nil || failed.LastError.Code != "id_number_mismatch" || failed.LastVerificationReport == nil || failed.URL == "" {
		t.Fatalf("failed: %+v", failed)
	}
	for range 2 { // the second is a success that changes nothing
		gone, err := b.client.Cancel(made.ID, &stripe.IdentityVerificationSessionCancelParams{})
		must(t, err)
		if gone.Status != "canceled" || gone.LastError != nil || gone.URL != "" {
			t.Fatalf("canceled: %+v", gone)
		}
	}
	red, err := b.client.Redact(made.ID, nil)
	must(t, err)
	if red.Redaction == nil || red.Redaction.Status != "processing" || red.Status != "canceled" {
		t.Fatalf("redact: %+v", red)
	}
	if _, err := b.client.Get("vs_unknown", nil); !errors.As(err, &refused) || refused.HTTPStatusCode != 404 || refused.Code != "resource_missing" {
		t.Fatalf("unknown: %v", err)
	}
}

func TestListPagesBothWays(t *testing.T) {
	var now int64 = 1000
	b := newBench(t, Config{Now: func() time.Time { return time.Unix(now, 0) }})
	var ids []string // the newest first
	for i := range 25 {
		now++
		sess, err := b.Create(NewSession{ClientReferenceID: fmt.Sprintf("user-%d", i%2)})
		must(t, err)
		ids = append([]string{sess.ID}, ids...)
		if i%5 == 0 {
			must(t, b.Submit(sess.ID, OutcomeVerified))
		}
	}
	collect := func(p *stripe.IdentityVerificationSessionListParams) []string {
		t.Helper()
		var got []string
		it := b.client.List(p)
		for it.Next() {
			got = append(got, it.IdentityVerificationSession().ID)
			if it.IdentityVerificationSession().URL != "" {
				t.Error("an item of a list has a link")
			}
		}
		must(t, it.Err())
		return got
	}
	filter := func(keep func(i int, s Session) bool) []string {
		var want []string
		for i, id := range ids {
			if keep(i, b.truth(id)) {
				want = append(want, id)
			}
		}
		return want
	}
	type params = stripe.IdentityVerificationSessionListParams
	paged := stripe.ListParams{Limit: stripe.Int64(3)}
	for name, tc := range map[string]struct {
		p    params
		want []string
	}{
		"all, by threes":  {params{ListParams: paged}, ids},
		"default pages":   {params{}, ids},
		"by reference":    {params{ListParams: paged, ClientReferenceID: stripe.String("user-1")}, filter(func(_ int, s Session) bool { return s.ClientReferenceID == "user-1" })},
		"unknown ref":     {params{ClientReferenceID: stripe.String("nobody")}, nil},
		"by status":       {params{ListParams: paged, Status: stripe.String("verified")}, filter(func(_ int, s Session) bool { return s.Status == statusVerified })},
		"created range":   {params{CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: 1005, LesserThan: 1010}}, filter(func(_ int, s Session) bool { return s.Created >= 1005 && s.Created < 1010 })},
		"created open":    {params{CreatedRange: &stripe.RangeQueryParams{GreaterThan: 1005, LesserThanOrEqual: 1010}}, filter(func(_ int, s Session) bool { return s.Created > 1005 && s.Created <= 1010 })},
		"created exactly": {params{Created: stripe.Int64(1007)}, filter(func(_ int, s Session) bool { return s.Created == 1007 })},
		"after a cursor":  {params{ListParams: stripe.ListParams{StartingAfter: stripe.String(ids[9]), Limit: stripe.Int64(4)}}, ids[10:]},
		"ref after foreign": {params{ListParams: stripe.ListParams{StartingAfter: stripe.String(ids[0])}, ClientReferenceID: stripe.String("user-1")},
			filter(func(i int, s Session) bool { return s.ClientReferenceID == "user-1" })},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, collect(&tc.p)); diff != "" {
				t.Fatal(diff)
			}
		})
	}
	t.Run("before a cursor, the oldest first", func(t *testing.T) {
		want := append([]string(nil), ids[:10]...)
		for i, j := 0, len(want)-1; i < j; i, j = i+1, j-1 {
			want[i], want[j] = want[j], want[i]
		}
		got := collect(&params{ListParams: stripe.ListParams{EndingBefore: stripe.String(ids[10]), Limit: stripe.Int64(3)}})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
	t.Run("one page by curl", func(t *testing.T) {
		a := b.call("GET", sessionsPath+"?limit=2", nil)
		if a.status != 200 || !strings.Contains(a.body, `"has_more": true`) || !strings.Contains(a.body, `"url": "/v1/identity/verification_sessions"`) ||
			strings.Index(a.body, ids[0]) > strings.Index(a.body, ids[1]) {
			t.Fatalf("%d %s", a.status, a.body)
		}
	})
}

func TestBadRequests(t *testing.T) {
	b := newBench(t, Config{})
	id := b.create().ID
	done := b.create().ID
	must(t, b.Submit(done, OutcomeVerified))
	gone := b.create().ID
	must(t, b.Redact(gone))
	one := func(k, v string) url.Values { return url.Values{"type": {"document"}, k: {v}} }
	many := url.Values{"type": {"document"}}
	for i := range 51 {
		many.Set(fmt.Sprintf("metadata[k%d]", i), "v")
	}
	for name, tc := range map[string]struct {
		method, path string
		form         url.Values
		status       int
		code, param  string
	}{
		"no type":              {"POST", sessionsPath, nil, 400, "parameter_missing", "type"},
		"odd type":             {"POST", sessionsPath, url.Values{"type": {"selfie"}}, 400, "parameter_invalid", "type"},
		"type and flow":        {"POST", sessionsPath, one("verification_flow", "vf_1"), 400, "parameter_invalid", "type"},
		"unknown":              {"POST", sessionsPath, one("colour", "red"), 400, "parameter_unknown", "colour"},
		"unknown nested":       {"POST", sessionsPath, one("options[document][colour]", "red"), 400, "parameter_unknown", "options[document][colour]"},
		"expand is not taken":  {"POST", sessionsPath, one("expand[]", "verified_outputs"), 400, "parameter_unknown", "expand"},
		"odd boolean":          {"POST", sessionsPath, one("options[document][require_live_capture]", "maybe"), 400, "parameter_invalid", "options[document][require_live_capture]"},
		"odd document":         {"POST", sessionsPath, one("options[document][allowed_types][]", "library_card"), 400, "parameter_invalid", "options[document][allowed_types]"},
		"hash for string":      {"POST", sessionsPath, one("client_reference_id[a]", "b"), 400, "parameter_invalid", "client_reference_id"},
		"string for hash":      {"POST", sessionsPath, one("metadata", "b"), 400, "parameter_invalid", "metadata"},
		"value and hash":       {"POST", sessionsPath, url.Values{"type": {"document"}, "type[a]": {"x"}}, 400, "", "type[a]"},
		"unclosed bracket":     {"POST", sessionsPath, one("metadata[a", "b"), 400, "parameter_unknown", "metadata[a"},
		"deep":                 {"POST", sessionsPath, one("metadata[a][b][c][d][e][f]", "b"), 400, "parameter_unknown", "metadata[a][b][c][d][e][f]"},
		"long metadata value":  {"POST", sessionsPath, one("metadata[a]", strings.Repeat("x", 501)), 400, "parameter_invalid", "metadata[a]"},
		"long metadata key":    {"POST", sessionsPath, one("metadata["+strings.Repeat("x", 41)+"]", "b"), 400, "parameter_invalid", "metadata"},
		"51 metadata keys":     {"POST", sessionsPath, many, 400, "parameter_invalid", "metadata"},
		"long reference":       {"POST", sessionsPath, one("client_reference_id", strings.Repeat("x", 5001)), 400, "parameter_invalid", "client_reference_id"},
		"script as return_url": {"POST", sessionsPath, one("return_url", "javascript:alert(1)"), 400, "url_invalid", "return_url"},
		"huge body":            {"POST", sessionsPath, one("metadata[a]", strings.Repeat("x", maxBody)), 413, "", ""},
		"reference in update":  {"POST", sessionsPath + "/" + id, url.Values{"client_reference_id": {"x"}}, 400, "parameter_unknown", "client_reference_id"},
		"type once verified":   {"POST", sessionsPath + "/" + done, url.Values{"type": {"id_number"}}, 400, "", ""},
		"redacted update":      {"POST", sessionsPath + "/" + gone, url.Values{"metadata[a]": {"b"}}, 400, "", ""},
		"cancel verified":      {"POST", sessionsPath + "/" + done + "/cancel", nil, 400, "", ""},
		"limit 0":              {"GET", sessionsPath + "?limit=0", nil, 400, "parameter_invalid", "limit"},
		"limit 101":            {"GET", sessionsPath + "?limit=101", nil, 400, "parameter_invalid", "limit"},
		"limit x":              {"GET", sessionsPath + "?limit=x", nil, 400, "parameter_invalid_integer", "limit"},
		"odd status":           {"GET", sessionsPath + "?status=failed", nil, 400, "parameter_invalid", "status"},
		"odd created":          {"GET", sessionsPath + "?created[ge]=1", nil, 400, "parameter_unknown", "created[ge]"},
		"two cursors":          {"GET", sessionsPath + "?starting_after=" + id + "&ending_before=" + id, nil, 400, "parameter_invalid", "ending_before"},
		"unknown cursor":       {"GET", sessionsPath + "?starting_after=vs_x", nil, 400, "resource_missing", "starting_after"},
		"unknown session":      {"GET", sessionsPath + "/vs_x", nil, 404, "resource_missing", "session"},
		"unknown route":        {"GET", "/v1/charges", nil, 404, "", ""},
		"unknown method":       {"DELETE", sessionsPath + "/" + id, nil, 404, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(b.Sessions())
			a := b.call(tc.method, tc.path, tc.form)
			e := a.errorOf(t)
			if a.status != tc.status || e.Code != tc.code || e.Param != tc.param || e.Type != typeInvalidRequest || e.Message == "" {
				t.Fatalf("got %d %+v", a.status, e)
			}
			if len(b.Sessions()) != before {
				t.Fatal("a refused call made a session")
			}
		})
	}
}

func TestUpdateByCurl(t *testing.T) {
	b := newBench(t, Config{})
	id := b.create("metadata[a]", "1", "metadata[b]", "2", "options[document][allowed_types][1]", "id_card", "options[document][allowed_types][0]", "passport").ID
	must(t, b.Submit(id, OutcomeVerified))
	if a := b.call("POST", sessionsPath+"/"+id, url.Values{"metadata[a]": {""}, "metadata[c]": {"3"}}); a.status != 200 {
		t.Fatalf("metadata of a verified session: %d %s", a.status, a.body)
	}
	if diff := cmp.Diff(map[string]string{"b": "2", "c": "3"}, b.truth(id).Metadata); diff != "" {
		t.Fatal(diff)
	}
	b.call("POST", sessionsPath+"/"+id, url.Values{"metadata": {""}})
	if len(b.truth(id).Metadata) != 0 {
		t.Fatal("metadata= clears all")
	}
	a := b.call("GET", sessionsPath+"/"+id, nil)
	if !regexp.MustCompile(`(?s)"passport",\s+"id_card"`).MatchString(a.body) {
		t.Fatalf("the order of a list follows its indexes: %s", a.body)
	}
	if got := len(b.Events()); got != 3 {
		t.Fatalf("an update made an event: %v", b.types())
	}
}

func TestAuthenticationAndHeaders(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	b := newBench(t, Config{Now: func() time.Time { return at }, APIVersion: "2023-10-16"})
	for name, tc := range map[string]struct {
		header string
		want   int
	}{
		"bearer":    {"Bearer " + testKey, 200},
		"lower":     {"bearer " + testKey, 200},
		"basic":     {"Basic c2tfdGVzdF9zaW11bGF0ZWQ6", 200}, // user name only, as curl -u key:
		"none":      {"", 401},
		"wrong":     {"Bearer sk_test_other", 401},
		"truncated": {"Bearer sk_test_", 401},
		"scheme":    {"Token " + testKey, 401},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.call("GET", sessionsPath, nil, "Authorization", tc.header, "Stripe-Version", "2025-01-27.acacia")
			if a.status != tc.want {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if a.status == 401 && (a.errorOf(t).Type != typeInvalidRequest || strings.Contains(a.body, "sk_test_")) {
				t.Fatalf("401 body: %s", a.body)
			}
			if !strings.HasPrefix(a.header.Get("Request-Id"), "req_") || a.header.Get("Date") != "Wed, 04 Mar 2026 05:06:07 GMT" ||
				a.header.Get("Stripe-Version") != "2025-01-27.acacia" || a.header.Get("Content-Type") != "application/json" {
				t.Fatalf("headers: %v", a.header)
			}
		})
	}
	if a := b.call("GET", sessionsPath, nil); a.header.Get("Stripe-Version") != "2023-10-16" {
		t.Errorf("version of the account: %v", a.header)
	}
	if a := b.call("GET", sessionsPath, nil, "Stripe-Account", "someone"); a.status != 403 || a.errorOf(t).Code != "account_invalid" {
		t.Errorf("odd account: %d", a.status)
	}
	if a := b.call("POST", sessionsPath, url.Values{"type": {"document"}}, "Content-Type", "application/json"); a.status != 400 {
		t.Errorf("JSON body: %d", a.status)
	}
}

func TestIdempotency(t *testing.T) {
	at := time.Unix(1_790_000_000, 0)
	b := newBench(t, Config{Now: func() time.Time { return at }})
	form := url.Values{"type": {"document"}, "metadata[a]": {"1"}, "metadata[b]": {"2"}}
	first := b.call("POST", sessionsPath, form, "Idempotency-Key", "k")
	replay := b.call("POST", sessionsPath, form, "Idempotency-Key", "k")
	if first.status != 200 || replay.status != 200 || replay.body != first.body || replay.header.Get("Idempotent-Replayed") != "true" ||
		first.header.Get("Idempotent-Replayed") != "" || replay.header.Get("Original-Request") != first.header.Get("Request-Id") {
		t.Fatalf("replay: %v", replay)
	}
	if len(b.Sessions()) != 1 {
		t.Fatal("the replay made a session")
	}
	for name, a := range map[string]answer{
		"other params": b.call("POST", sessionsPath, url.Values{"type": {"id_number"}}, "Idempotency-Key", "k"),
		"other path":   b.call("POST", sessionsPath+"/"+first.session(t).ID+"/cancel", nil, "Idempotency-Key", "k"),
	} {
		if a.status != 400 || a.errorOf(t).Type != typeIdempotency {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	// Another account is another space; a key is kept for 24 h; GET ignores it.
	if a := b.call("POST", sessionsPath, form, "Idempotency-Key", "k", "Stripe-Account", "acct_1"); a.header.Get("Idempotent-Replayed") != "" {
		t.Error("replayed across accounts")
	}
	if a := b.call("GET", sessionsPath, nil, "Idempotency-Key", "k"); a.status != 200 || a.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("GET with a key: %d", a.status)
	}
	at = at.Add(24 * time.Hour)
	if a := b.call("POST", sessionsPath, form, "Idempotency-Key", "k"); a.header.Get("Idempotent-Replayed") != "" || a.status != 200 {
		t.Error("replayed after 24 h")
	}
	if a := b.call("POST", sessionsPath, form, "Idempotency-Key", strings.Repeat("k", 256)); a.status != 400 {
		t.Errorf("long key: %d", a.status)
	}
}

func TestIdempotencySavesWhatWasCarriedOut(t *testing.T) {
	b := newBench(t, Config{})
	// Refused for its parameters: not saved, the key is free.
	b.call("POST", sessionsPath, url.Values{"type": {"bad"}}, "Idempotency-Key", "k")
	if a := b.call("POST", sessionsPath, url.Values{"type": {"document"}}, "Idempotency-Key", "k"); a.status != 200 {
		t.Fatalf("the key of a refused call is taken: %d %s", a.status, a.body)
	}
	// Refused for the session's state: saved, also when the state has changed since.
	id := b.create().ID
	must(t, b.Submit(id, OutcomeVerified))
	cancel := func() answer { return b.call("POST", sessionsPath+"/"+id+"/cancel", nil, "Idempotency-Key", "c") }
	first := cancel()
	must(t, b.Override(id, statusRequiresInput, ""))
	again := cancel()
	if first.status != 400 || again.status != 400 || again.body != first.body || again.header.Get("Idempotent-Replayed") != "true" {
		t.Fatalf("%v %v", first, again)
	}
}

func TestIdempotencyKeyInUse(t *testing.T) {
	m := newIdempotency(2)
	at := time.Unix(1, 0)
	key := idemKey{key: "k"}
	call, replay, err := m.begin(key, [32]byte{1}, "req_1", at)
	if replay || err != nil {
		t.Fatal(replay, err)
	}
	if _, _, err := m.begin(key, [32]byte{1}, "req_2", at); err == nil || err.HTTPStatus != http.StatusConflict || err.Code != "idempotency_key_in_use" {
		t.Fatalf("while in use: %v", err)
	}
	m.save(call, 200, []byte("x"))
	if old, replay, _ := m.begin(key, [32]byte{1}, "req_3", at); !replay || string(old.body) != "x" {
		t.Fatal("after: no replay")
	}
	// The oldest make room.
	for i := range 5 {
		if _, _, err := m.begin(idemKey{key: fmt.Sprint(i)}, [32]byte{}, "", at); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.calls) != 2 || len(m.order) != 2 {
		t.Fatalf("%d calls and %d in order, want 2", len(m.calls), len(m.order))
	}
}

func TestConcurrentCreatesWithOneKeyMakeOneSession(t *testing.T) {
	b := newBench(t, Config{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a := b.call("POST", sessionsPath, url.Values{"type": {"document"}}, "Idempotency-Key", "same")
			if a.status != 200 && a.status != 409 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if n := len(b.Sessions()); n != 1 {
		t.Fatalf("%d sessions", n)
	}
}

func TestSessionCap(t *testing.T) {
	b := newBench(t, Config{MaxSessions: 1})
	b.create()
	if a := b.call("POST", sessionsPath, url.Values{"type": {"document"}}); a.status != 429 || a.errorOf(t).Code != "rate_limit" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if _, err := b.Create(NewSession{}); err == nil {
		t.Fatal("Create goes beyond the cap")
	}
}

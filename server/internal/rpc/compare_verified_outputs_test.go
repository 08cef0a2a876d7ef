package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/comparison"
	"example.com/verification-status/server/internal/stripesim"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

type compareRequest = verificationv1.CompareVerifiedOutputsRequest

// comparable returns a backend with the verified session vs_1, and its Stripe.
func comparable(t *testing.T) (*backend, *fakeStripe) {
	t.Helper()
	b := newBackend(t)
	stripe := newFakeStripe(object("vs_1", "verified"))
	stripe.outputs = comparison.Outputs{
		FirstName: comparison.Value{Text: "ANNA MARIA"}, LastName: comparison.Value{Text: "MUELLER"},
		DateOfBirth: comparison.Date(1985, 3, 7), IDNumber: comparison.Value{Hidden: true}, Country: comparison.Value{Text: "NL"},
	}
	b.stripe = stripe
	return b, stripe
}

// limited lets a replica compare so often.
func limited(limit int) func(*Config) { return func(c *Config) { c.ComparisonLimit = limit } }

// TestComparisonAnswersInTheOrderOfTheRequest: each field that was set has a result and a rule, and nothing else is answered.
func TestComparisonAnswersInTheOrderOfTheRequest(t *testing.T) {
	b, stripe := comparable(t)
	r := b.replica(t, limited(10), func(c *Config) { c.Principal = func(context.Context) string { return "token:desk" } })
	r.apply(eventOf(1, 1, object("vs_1", "verified")))
	response, err := r.CompareVerifiedOutputs(r.context(), &compareRequest{
		SessionId: "vs_1", Phone: "+31201234567", IdNumber: "1234", Country: "be", DateOfBirth: "1985-03-07", LastName: "Müller", FirstName: "Anna",
	})
	if err != nil {
		t.Fatal(err)
	}
	field := func(name string, result verificationv1.MatchResult, rule verificationv1.MatchRule) *verificationv1.FieldComparison {
		return &verificationv1.FieldComparison{Field: name, Result: result, Rule: rule}
	}
	want := &verificationv1.CompareVerifiedOutputsResponse{Fields: []*verificationv1.FieldComparison{
		field("first_name", verificationv1.MatchResult_MATCH_RESULT_CLOSE, verificationv1.MatchRule_MATCH_RULE_NAMES_LEFT_OUT),
		field("last_name", verificationv1.MatchResult_MATCH_RESULT_MATCH, verificationv1.MatchRule_MATCH_RULE_TRANSLITERATED),
		field("date_of_birth", verificationv1.MatchResult_MATCH_RESULT_MATCH, verificationv1.MatchRule_MATCH_RULE_EXACT),
		field("country", verificationv1.MatchResult_MATCH_RESULT_MISMATCH, 0),
		field("id_number", verificationv1.MatchResult_MATCH_RESULT_NOT_READABLE, 0),
		field("phone", verificationv1.MatchResult_MATCH_RESULT_NOT_VERIFIED, 0),
	}}
	if diff := cmp.Diff(want, response, protocmp.Transform()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	entries := r.historyOf("vs_1")
	last := entries[len(entries)-1]
	names := []string{"first_name", "last_name", "date_of_birth", "country", "id_number", "phone"}
	if last.GetSource() != verificationv1.Source_SOURCE_COMPARISON || last.GetPrincipal() != "token:desk" || !cmp.Equal(last.GetComparedFields(), names) {
		t.Errorf("history: got %v, want a comparison of %v", last, names)
	}
	if got := fmt.Sprint(stripe.outputReads); got != "[ vs_1 false  vs_1 true]" {
		t.Errorf("reads at Stripe: got %s, want one with each key", got)
	}
	if v := r.status("vs_1"); v.GetRevision() != 1 {
		t.Errorf("revision: got %d, want 1: a comparison is no change", v.GetRevision())
	}
}

// TestComparisonReadsOnlyWhatIsCompared: values that nobody asked for are not fetched.
func TestComparisonReadsOnlyWhatIsCompared(t *testing.T) {
	for want, request := range map[string]*compareRequest{
		"[ vs_1 false]": {SessionId: "vs_1", Country: "NL"},
		"[ vs_1 true]":  {SessionId: "vs_1", DateOfBirth: "1985-03-07"},
	} {
		b, stripe := comparable(t)
		r := b.replica(t, limited(1))
		r.apply(eventOf(1, 1, object("vs_1", "verified")))
		if _, err := r.CompareVerifiedOutputs(r.context(), request); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(stripe.outputReads); got != want {
			t.Errorf("reads at Stripe: got %s, want %s", got, want)
		}
	}
}

// TestComparisonIsRefused where it is wrong, has nothing to compare or is not allowed. The error does not quote the request, and
// Stripe is asked only if the record says that it can answer.
func TestComparisonIsRefused(t *testing.T) {
	const planted = "Plantedname"
	redacted := object("vs_red", "verified")
	redacted.Redaction = verification.RedactionRedacted
	for name, test := range map[string]struct {
		request *compareRequest
		change  func(*Config, *fakeStripe)
		code    codes.Code
		reason  string
		reads   int
	}{
		"no field":             {&compareRequest{SessionId: "vs_1"}, nil, codes.InvalidArgument, "INVALID_REQUEST", 0},
		"no session":           {&compareRequest{FirstName: planted}, nil, codes.InvalidArgument, "INVALID_REQUEST", 0},
		"a wrong date":         {&compareRequest{SessionId: "vs_1", DateOfBirth: planted}, nil, codes.InvalidArgument, "INVALID_REQUEST", 0},
		"a wrong country":      {&compareRequest{SessionId: "vs_1", Country: planted}, nil, codes.InvalidArgument, "INVALID_REQUEST", 0},
		"a wrong phone":        {&compareRequest{SessionId: "vs_1", Phone: planted}, nil, codes.InvalidArgument, "INVALID_REQUEST", 0},
		"a wrong address":      {&compareRequest{SessionId: "vs_1", Email: planted}, nil, codes.InvalidArgument, "INVALID_REQUEST", 0},
		"unknown":              {&compareRequest{SessionId: "vs_none", FirstName: planted}, nil, codes.NotFound, "SESSION_NOT_FOUND", 0},
		"not verified":         {&compareRequest{SessionId: "vs_open", FirstName: planted}, nil, codes.FailedPrecondition, "NOT_COMPARABLE", 0},
		"redacted":             {&compareRequest{SessionId: "vs_red", FirstName: planted}, nil, codes.FailedPrecondition, "NOT_COMPARABLE", 0},
		"no longer at Stripe":  {&compareRequest{SessionId: "vs_1", FirstName: planted}, func(_ *Config, f *fakeStripe) { f.set(object("vs_1", "requires_input")) }, codes.FailedPrecondition, "NOT_COMPARABLE", 1},
		"no key":               {&compareRequest{SessionId: "vs_1", FirstName: planted}, func(c *Config, _ *fakeStripe) { c.Stripe = nil }, codes.FailedPrecondition, "STRIPE_NOT_CONFIGURED", 0},
		"Stripe away":          {&compareRequest{SessionId: "vs_1", FirstName: planted}, func(_ *Config, f *fakeStripe) { f.fail = verification.ErrStripeUnavailable }, codes.Unavailable, "STRIPE_UNAVAILABLE", 1},
		"none allowed":         {&compareRequest{SessionId: "vs_1", FirstName: planted}, func(c *Config, _ *fakeStripe) { c.ComparisonLimit = 0 }, codes.ResourceExhausted, "COMPARISON_LIMIT", 0},
		"an old record format": {&compareRequest{SessionId: "vs_1", FirstName: planted}, func(c *Config, _ *fakeStripe) { c.Operators = false }, codes.Unimplemented, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			b, stripe := comparable(t)
			stripe.set(object("vs_open", "requires_input"), redacted)
			outcomes := make(chan ComparisonOutcome, 1)
			r := b.replica(t, limited(3), func(c *Config) {
				c.ObserveComparison = func(o ComparisonOutcome) { outcomes <- o }
				if test.change != nil {
					test.change(c, stripe)
				}
			})
			r.apply(eventOf(1, 1, object("vs_1", "verified")))
			r.apply(eventOf(2, 1, object("vs_open", "requires_input")))
			r.apply(eventOf(3, 1, redacted))
			_, err := r.CompareVerifiedOutputs(r.context(), test.request)
			if status.Code(err) != test.code || test.reason != "" && reasonOf(t, err) != test.reason {
				t.Errorf("got %v, want %s %s", err, test.code, test.reason)
			}
			if test.reason != "" && detailsOf(t, err).retry != nil && test.code != codes.Unavailable {
				t.Errorf("got %v, whose RetryInfo says that the same call can work later", err)
			}
			if text := fmt.Sprintf("%v %v", err, status.Convert(err).Proto()); strings.Contains(text, planted) {
				t.Errorf("the error quotes the request: %s", text)
			}
			if len(stripe.outputReads) != test.reads {
				t.Errorf("reads at Stripe: got %v, want %d", stripe.outputReads, test.reads)
			}
			if got := <-outcomes; got == ComparisonDone {
				t.Errorf("the outcome is %s", got)
			}
		})
	}
}

// TestGuessesStopAtTheLimit: 400 guesses of a date of birth, made at once through three servers that share a Redis, are ten
// comparisons. The next ten are allowed a day after.
func TestGuessesStopAtTheLimit(t *testing.T) {
	b, stripe := comparable(t)
	b.addr = redistest.Start(t).Addr
	var mu sync.Mutex
	now := time.Unix(1_700_000_000, 0)
	b.clock = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	var replicas []*replica
	for range 3 {
		replicas = append(replicas, b.replica(t, limited(10)))
	}
	replicas[0].apply(eventOf(1, 1, object("vs_1", "verified")))
	guess := func() (compared, refused int) {
		var calls sync.WaitGroup
		for i := range 400 {
			calls.Go(func() {
				day := time.Date(1985, 1, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
				r := replicas[i%len(replicas)]
				var err error
				for range 400 { // a guess is repeated while other writers are in its way
					_, err = r.CompareVerifiedOutputs(r.context(), &compareRequest{SessionId: "vs_1", DateOfBirth: day})
					if status.Code(err) != codes.Aborted {
						break
					}
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					compared++
				case reasonOf(t, err) == "COMPARISON_LIMIT":
					refused++
					if wait := detailsOf(t, err).retry.GetRetryDelay().AsDuration(); wait <= 0 || wait > 24*time.Hour {
						t.Errorf("RetryInfo: got %s, want up to a day", wait)
					}
				default:
					t.Error(err)
				}
			})
		}
		calls.Wait()
		return compared, refused
	}
	for day := 1; day <= 2; day++ {
		if compared, refused := guess(); compared != 10 || refused != 390 || len(stripe.outputReads) != 10*day {
			t.Errorf("day %d: %d compared, %d refused, %d reads at Stripe; want 10, 390 and %d", day, compared, refused, len(stripe.outputReads), 10*day)
		}
		mu.Lock()
		now = now.Add(24*time.Hour + time.Second)
		mu.Unlock()
	}
}

// TestG10_ComparedValuesStayInTheCall: neither what a caller expects nor what Stripe verified is in a log at the lowest level, in an
// error or in Redis, whether Stripe answers, fails or sends what is no JSON.
func TestG10_ComparedValuesStayInTheCall(t *testing.T) {
	expected := []string{"Plantedfirst", "Plantedlast", "1971-02-03", "PLANTED9Z", "XK", "plantedid77", "planted@example.com", "+31201234567"}
	verified := []string{"Verifiedfirst", "Verifiedlast", "VERIFIED8Y", "verifiedid66", "verified@example.com", "+442079460018"}
	fault := make(chan func(http.ResponseWriter), 1)
	b := newBackend(t)
	var logged, stored syncBuffer
	b.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return recorder{conn, &stored}, err
	}
	b.logger = slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug - 4}))
	sim := simulated(t, b, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case fail := <-fault:
				fail(w)
			default:
				next.ServeHTTP(w, r)
			}
		})
	})
	session, err := sim.Create(stripesim.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.SetOutputs(session.ID, stripesim.Outputs{
		FirstName: verified[0], LastName: verified[1], PostalCode: verified[2], Country: "XK", IDNumber: verified[3], Email: verified[4], Phone: verified[5],
	}); err != nil {
		t.Fatal(err)
	}
	r := b.replica(t, limited(100))
	submit(t, sim, session.ID, "verified")
	deliver(t, r, sim, 0)
	request := &compareRequest{SessionId: session.ID, FirstName: expected[0], LastName: expected[1], DateOfBirth: expected[2],
		PostalCode: expected[3], Country: expected[4], IdNumber: expected[5], Email: expected[6], Phone: expected[7]}
	body := fmt.Sprintf(`{"error":{"type":"invalid_request_error","message":"%s"}}`, strings.Join(append(expected, verified...), " "))
	texts := ""
	for name, fail := range map[string]func(http.ResponseWriter){
		"answers": nil,
		"fails":   func(w http.ResponseWriter) { http.Error(w, body, http.StatusInternalServerError) },
		"refuses": func(w http.ResponseWriter) { http.Error(w, body, http.StatusBadRequest) },
		"no JSON": func(w http.ResponseWriter) { _, _ = w.Write([]byte(strings.Join(verified, " "))) },
		"a list": func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"verified_outputs":{"first_name":["` + verified[0] + `"]}}`))
		},
		"no id": func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"id":"vs_other","object":"identity.verification_session","status":"` + verified[0] + `"}`))
		},
	} {
		if fail != nil {
			fault <- fail
		}
		response, err := r.CompareVerifiedOutputs(r.context(), request)
		if (err == nil) != (fail == nil) {
			t.Errorf("Stripe %s: got %v", name, err)
		}
		if err == nil && len(response.GetFields()) != 8 {
			t.Errorf("got %v, want eight fields", response)
		}
		texts += fmt.Sprint(name, response, err, status.Convert(err).Proto())
	}
	if _, err := r.CompareVerifiedOutputs(r.context(), &compareRequest{SessionId: session.ID, Country: expected[5]}); err == nil {
		t.Error("a wrong country is accepted")
	} else {
		texts += fmt.Sprint(err, status.Convert(err).Proto())
	}
	for name, text := range map[string]string{"answer": texts, "log": logged.String(), "Redis": stored.String()} {
		for _, value := range append(expected, verified...) {
			if value != "XK" && strings.Contains(strings.ToLower(text), strings.ToLower(value)) {
				t.Errorf("%q is in the %s:\n%s", value, name, text)
			}
		}
	}
	if !strings.Contains(logged.String(), "verified outputs are compared") || !strings.Contains(stored.String(), session.ID) {
		t.Error("the test sees no log or no Redis")
	}
}

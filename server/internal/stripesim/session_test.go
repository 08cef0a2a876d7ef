package stripesim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// hookless is an endpoint that makes redacted events exist; nothing is ever sent to it, for the
// tests that use it do not call Run.
var hookless = []Endpoint{{URL: "http://127.0.0.1:1/hook", Secrets: []string{secret}}}

func TestEachOutcomeEndsAsStripeSays(t *testing.T) {
	b := newBench(t, Config{})
	var codes []string
	for _, g := range errorGroups {
		for _, c := range g.codes {
			codes = append(codes, c.code)
		}
	}
	if len(codes) != 20 {
		t.Fatalf("%d codes, want Stripe's 19 and address_mismatch", len(codes))
	}
	for _, code := range append(codes, "a_code_of_tomorrow", OutcomeVerified) {
		sess, err := b.Create(NewSession{})
		must(t, err)
		before := len(b.Events())
		must(t, b.Submit(sess.ID, code))
		got, events := b.truth(sess.ID), b.types()[before:]
		switch code {
		case OutcomeVerified:
			if got.Status != statusVerified || got.LastErrorCode != "" || got.LastVerificationReport == "" ||
				!slices.Equal(events, []string{"processing", "verified"}) {
				t.Errorf("verified: %+v %v", got, events)
			}
		case OutcomeAbandoned:
			if got.Status != statusRequiresInput || got.LastErrorCode != code || got.LastVerificationReport != "" ||
				got.Submissions != 0 || !slices.Equal(events, []string{"requires_input"}) {
				t.Errorf("abandoned: %+v %v", got, events)
			}
		default:
			if got.Status != statusRequiresInput || got.LastErrorCode != code || !strings.HasSuffix(got.LastErrorReason, ".") ||
				got.LastVerificationReport == "" || !slices.Equal(events, []string{"processing", "requires_input"}) {
				t.Errorf("%s: %+v %v", code, got, events)
			}
		}
	}
}

func TestEachSubmissionMakesANewReport(t *testing.T) {
	b := newBench(t, Config{})
	sess, err := b.Create(NewSession{})
	must(t, err)
	must(t, b.Submit(sess.ID, "document_expired"))
	first := b.truth(sess.ID).LastVerificationReport
	must(t, b.Submit(sess.ID, "document_expired"))
	second := b.truth(sess.ID)
	if second.LastVerificationReport == first || second.Submissions != 2 {
		t.Fatalf("first report %s, then %+v", first, second)
	}
	if err := b.Submit(sess.ID, "Not A Code"); err == nil {
		t.Fatal("a malformed outcome was taken")
	}
}

func TestProcessingWaitsForControlAndIgnoresAnOldTimer(t *testing.T) {
	b := newBench(t, Config{ProcessingDelay: OnDemand})
	sess, err := b.Create(NewSession{})
	must(t, err)
	must(t, b.Submit(sess.ID, "selfie_manipulated"))
	b.settle() // OnDemand leaves nothing that would end by itself
	if got := b.truth(sess.ID); got.Status != statusProcessing || got.LastVerificationReport != "" {
		t.Fatalf("while processing: %+v", got)
	}
	if err := b.Submit(sess.ID, OutcomeVerified); err == nil {
		t.Fatal("a second submission while processing was taken")
	}
	must(t, b.FinishProcessing(sess.ID))
	if got := b.truth(sess.ID); got.LastErrorCode != "selfie_manipulated" {
		t.Fatalf("after: %+v", got)
	}
	if err := b.FinishProcessing(sess.ID); err == nil {
		t.Fatal("finished twice")
	}
}

func TestATimerOfAnEarlierSubmissionEndsNothing(t *testing.T) {
	b := newBench(t, Config{ProcessingDelay: 20 * time.Millisecond})
	sess, err := b.Create(NewSession{})
	must(t, err)
	must(t, b.Submit(sess.ID, "document_expired"))
	must(t, b.FinishProcessing(sess.ID))
	must(t, b.Submit(sess.ID, OutcomeVerified))
	b.run()
	b.settle()
	want := []string{"created", "processing", "requires_input", "processing", "verified"}
	if diff := cmp.Diff(want, b.types()); diff != "" {
		t.Fatal(diff)
	}
}

func TestCancel(t *testing.T) {
	b := newBench(t, Config{ProcessingDelay: OnDemand})
	sess, err := b.Create(NewSession{})
	must(t, err)
	must(t, b.Submit(sess.ID, "document_expired"))
	if err := b.Cancel(sess.ID); err == nil || !strings.Contains(err.Error(), `status of "processing"`) {
		t.Fatalf("cancel while processing: %v", err)
	}
	must(t, b.FinishProcessing(sess.ID))
	must(t, b.Cancel(sess.ID))
	if got := b.truth(sess.ID); got.Status != statusCanceled || got.LastErrorCode != "" || got.LastVerificationReport == "" {
		t.Fatalf("cancel wipes last_error and keeps the report: %+v", got)
	}
	events := len(b.Events())
	must(t, b.Cancel(sess.ID))
	if len(b.Events()) != events {
		t.Fatal("a second cancel made an event")
	}
	if err := b.Submit(sess.ID, OutcomeVerified); err == nil {
		t.Fatal("a canceled session took a submission")
	}
	if err := b.Cancel("vs_nobody"); err == nil || !strings.Contains(err.Error(), "vs_nobody") {
		t.Fatalf("unknown session: %v", err)
	}
}

func TestRedactVerified(t *testing.T) {
	for _, canceledToo := range []bool{false, true} {
		b := newBench(t, Config{Endpoints: hookless})
		must(t, b.SetFaults(Faults{CanceledEventOnRedact: canceledToo}))
		sess, err := b.Create(NewSession{ClientReferenceID: "u1", Metadata: map[string]string{"k": "v"}})
		must(t, err)
		must(t, b.Submit(sess.ID, OutcomeVerified))
		must(t, b.Redact(sess.ID))
		must(t, b.Redact(sess.ID)) // nothing more
		if got := b.truth(sess.ID); got.Status != statusVerified || got.Redaction != redactionProcessing || len(got.Metadata) != 1 {
			t.Fatalf("while redacting: %+v", got)
		}
		must(t, b.FinishRedaction(sess.ID))
		got := b.truth(sess.ID)
		if got.Status != statusVerified || got.Redaction != redactionDone || len(got.Metadata) != 0 {
			t.Fatalf("redacted: %+v", got)
		}
		want := []string{"created", "processing", "verified", "redacted"}
		if canceledToo {
			want = []string{"created", "processing", "verified", "canceled", "redacted"}
			if b.Events()[3].Status != statusVerified {
				t.Fatal("that canceled event shows status verified")
			}
		}
		if diff := cmp.Diff(want, b.types()); diff != "" {
			t.Fatal(diff)
		}
		if b.FinishRedaction(sess.ID) == nil || b.Override(sess.ID, statusRequiresInput, "") == nil {
			t.Fatal("a redacted session was changed")
		}
	}
}

func TestRedactUnverified(t *testing.T) {
	b := newBench(t, Config{Endpoints: hookless, ProcessingDelay: OnDemand, RedactionDelay: Immediately})
	waiting, err := b.Create(NewSession{})
	must(t, err)
	must(t, b.Redact(waiting.ID))
	if got := b.truth(waiting.ID); got.Status != statusCanceled || got.Redaction != redactionDone {
		t.Fatalf("from requires_input: %+v", got)
	}
	busy, err := b.Create(NewSession{})
	must(t, err)
	must(t, b.Submit(busy.ID, OutcomeVerified))
	if b.Redact(busy.ID) == nil {
		t.Fatal("redacted while processing")
	}
	canceled, err := b.Create(NewSession{})
	must(t, err)
	must(t, b.Cancel(canceled.ID))
	must(t, b.Redact(canceled.ID))
	if got := b.truth(canceled.ID); got.Status != statusCanceled || got.Redaction != redactionDone {
		t.Fatalf("from canceled: %+v", got)
	}
	want := []string{"created", "canceled", "redacted", "created", "processing", "created", "canceled", "redacted"}
	if diff := cmp.Diff(want, b.types()); diff != "" {
		t.Fatal(diff)
	}
}

func TestRedactedEventExistsOnlyWhereItIsListedByName(t *testing.T) {
	url := "http://127.0.0.1:1/hook"
	for name, tc := range map[string]struct {
		endpoints []Endpoint
		want      bool
	}{
		"no endpoint": {nil, false},
		"star":        {[]Endpoint{{URL: url, Secrets: []string{secret}, EnabledEvents: []string{"*"}}}, false},
		"by name":     {[]Endpoint{{URL: url, Secrets: []string{secret}, EnabledEvents: []string{"*", eventRedacted}}}, true},
		"default":     {hookless, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{Endpoints: tc.endpoints, RedactionDelay: Immediately})
			sess, err := b.Create(NewSession{})
			must(t, err)
			must(t, b.Redact(sess.ID))
			if got := slices.Contains(b.types(), "redacted"); got != tc.want {
				t.Fatalf("event: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestOverrideGoesBothWays(t *testing.T) {
	b := newBench(t, Config{ProcessingDelay: OnDemand})
	sess, err := b.Create(NewSession{})
	must(t, err)
	must(t, b.Submit(sess.ID, OutcomeVerified))
	if b.Override(sess.ID, statusRequiresInput, "") == nil {
		t.Fatal("overridden while processing")
	}
	must(t, b.FinishProcessing(sess.ID))
	report := b.truth(sess.ID).LastVerificationReport
	must(t, b.Override(sess.ID, statusRequiresInput, "selfie_face_mismatch"))
	if got := b.truth(sess.ID); got.LastErrorCode != "selfie_face_mismatch" || got.LastVerificationReport != report {
		t.Fatalf("to failed: %+v", got)
	}
	must(t, b.Override(sess.ID, statusVerified, ""))
	must(t, b.Override(sess.ID, statusRequiresInput, ""))
	if got := b.truth(sess.ID); got.Status != statusRequiresInput || got.LastErrorCode != "" {
		t.Fatalf("to failed without a reason: %+v", got)
	}
	want := []string{"created", "processing", "verified", "requires_input", "verified", "requires_input"}
	if diff := cmp.Diff(want, b.types()); diff != "" {
		t.Fatal(diff)
	}
	for _, bad := range [][2]string{{statusCanceled, ""}, {statusVerified, "document_expired"}, {"", ""}} {
		if b.Override(sess.ID, bad[0], bad[1]) == nil {
			t.Errorf("override to %v was taken", bad)
		}
	}
}

// The newest event of a session always tells its status, its error and its redaction, whatever is
// done to it in whatever order: state and event change together.
func TestNewestEventIsTheTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, err := New(Config{APIKeys: []string{testKey}, Seed: 1, ProcessingDelay: OnDemand, Endpoints: hookless})
		if err != nil {
			rt.Fatal(err)
		}
		sess, err := s.Create(NewSession{})
		if err != nil {
			rt.Fatal(err)
		}
		steps := map[string]func() error{
			"verified":  func() error { return s.Submit(sess.ID, OutcomeVerified) },
			"expired":   func() error { return s.Submit(sess.ID, "document_expired") },
			"abandoned": func() error { return s.Submit(sess.ID, OutcomeAbandoned) },
			"finish":    func() error { return s.FinishProcessing(sess.ID) },
			"up":        func() error { return s.Override(sess.ID, statusVerified, "") },
			"down":      func() error { return s.Override(sess.ID, statusRequiresInput, "") },
			"cancel":    func() error { return s.Cancel(sess.ID) },
			"redact":    func() error { return s.Redact(sess.ID) },
			"redacted":  func() error { return s.FinishRedaction(sess.ID) },
		}
		names := make([]string, 0, len(steps))
		for name := range steps {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(names), 1, 30).Draw(rt, "steps") {
			before, events := mustSession(s, sess.ID), len(s.Events())
			refused := steps[name]() != nil
			after := mustSession(s, sess.ID)
			if refused && (!cmp.Equal(before, after) || len(s.Events()) != events) {
				rt.Fatalf("%s was refused and changed something: %+v to %+v", name, before, after)
			}
			if before.Status == statusCanceled && after.Status != statusCanceled {
				rt.Fatalf("%s revived a canceled session", name)
			}
			newest := s.Events()[len(s.Events())-1]
			shown := eventSession(rt, newest.Body)
			if shown.Status != after.Status || (shown.LastError != nil) != (after.LastErrorCode != "") {
				rt.Fatalf("after %s the event says %+v, the truth is %+v", name, shown, after)
			}
			if (shown.URL != nil) != (after.Status == statusRequiresInput) {
				rt.Fatalf("after %s: url %v in status %s", name, shown.URL, after.Status)
			}
		}
	})
}

func mustSession(s *Sim, id string) Session {
	sess, _ := s.Session(id)
	return sess
}

package main

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// mailerRig is a mailer between a server of clienttest and an SMTP server.
type mailerRig struct {
	t        *testing.T
	server   *clienttest.Server
	smtp     *fakeSMTP
	settings settings
	steps    []string // of the handlers that a test calls itself
	stop     func() error
}

func newRig(t *testing.T, args ...string) *mailerRig {
	t.Helper()
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(before) })
	r := &mailerRig{t: t, server: clienttest.New(t), smtp: startSMTP(t)}
	replica, err := r.server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.settings, err = readSettings(append([]string{"-status", replica.Target(), "-smtp", r.smtp.addr(), "-address", "{reference}@people.example"}, args...),
		func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs the mailer until the test ends or calls stop, and waits for its stream.
func (r *mailerRig) run() {
	r.t.Helper()
	_, opened := r.server.Streams()
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, r.settings, hooks{}) }()
	stop := func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Second):
			return errors.New("the mailer does not stop")
		}
	}
	stopped := false
	r.stop = func() error { stopped = true; return stop() }
	r.t.Cleanup(func() {
		if !stopped {
			if err := stop(); err != nil {
				r.t.Error(err)
			}
		}
	})
	waiting, done := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer done()
	if err := r.server.AwaitStreams(waiting, opened+1); err != nil {
		r.t.Fatal(err)
	}
}

// mailer returns a mailer whose handler the test calls itself.
func (r *mailerRig) mailer() *mailer {
	r.t.Helper()
	m, err := newMailer(r.server.Client(), r.settings, hooks{step: func(name string) { r.steps = append(r.steps, name) }})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = m.record.close() })
	return m
}

// await waits until n mails have come, and returns them as "recipient: subject".
func (r *mailerRig) await(n int) []string {
	r.t.Helper()
	late := time.After(20 * time.Second)
	for len(r.smtp.received()) < n {
		select {
		case <-r.smtp.kept:
		case <-late:
			r.t.Fatalf("%d mails, want %d", len(r.smtp.received()), n)
		}
	}
	return r.mails()
}

func (r *mailerRig) mails() (all []string) {
	r.t.Helper()
	for _, text := range r.smtp.received() {
		m, err := mail.ReadMessage(strings.NewReader(text))
		if err != nil {
			r.t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, strings.Trim(m.Header.Get("To"), "<>")+": "+subject)
	}
	return all
}

const (
	requiresInput = verificationv1.Status_STATUS_REQUIRES_INPUT
	processing    = verificationv1.Status_STATUS_PROCESSING
	verified      = verificationv1.Status_STATUS_VERIFIED
)

// session returns a session of a person whose reference is its id. A report makes each submission another one.
func session(id string, status verificationv1.Status, report string) *verificationv1.Verification {
	return &verificationv1.Verification{SessionId: id, Status: status, ClientReferenceId: id, LastVerificationReport: report}
}

func failed(id, report, code string) *verificationv1.Verification {
	v := session(id, requiresInput, report)
	v.LastError = &verificationv1.VerificationError{
		Code:       verificationv1.ErrorCode(verificationv1.ErrorCode_value["ERROR_CODE_"+strings.ToUpper(code)]),
		StripeCode: code, Reason: "It failed.",
	}
	return v
}

// finish has one more person verified. With this mail, all earlier changes of its session's partition have been handled; the server of
// clienttest has one partition.
func (r *mailerRig) finish() string {
	r.server.Set(session("vs_last", verified, "vr_last"))
	return "vs_last@people.example: You’re verified"
}

func (r *mailerRig) want(want ...string) {
	r.t.Helper()
	got := r.await(len(want))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.t.Errorf("mails:\ngot  %q\nwant %q", got, want)
	}
}

// TestALife: a submission, a failure, a grant by the mailer's own link, a second try, and an erasure: two outcomes that get a mail.
func TestALife(t *testing.T) {
	r := newRig(t)
	r.run()
	r.server.Set(session("vs_1", requiresInput, ""))
	r.server.Set(session("vs_1", processing, ""))
	r.server.Set(failed("vs_1", "vr_1", "document_expired"))
	r.want("vs_1@people.example: That didn’t work")
	if text := r.smtp.received()[0]; !strings.Contains(text, "Your document has expired") {
		t.Errorf("the mail is\n%s", text)
	}
	r.server.Set(session("vs_1", processing, "vr_1"))
	r.server.Set(session("vs_1", verified, "vr_2"))
	r.await(2)
	erased := session("vs_1", verified, "")
	erased.ClientReferenceId, erased.Redaction = "", verificationv1.Redaction_REDACTION_REDACTED
	r.server.Set(erased)
	r.want("vs_1@people.example: That didn’t work", "vs_1@people.example: You’re verified", r.finish())
}

// TestTheTeamHelps: where a retry is denied for good, the team gets a mail too.
func TestTheTeamHelps(t *testing.T) {
	r := newRig(t)
	r.run()
	r.server.Set(failed("vs_1", "vr_1", "consent_declined"))
	r.server.Set(failed("vs_2", "vr_1", "document_expired"))
	r.await(3)
	for _, report := range []string{"vr_2", "vr_3"} {
		r.server.Set(session("vs_2", processing, report))
		before := len(r.smtp.received())
		r.server.Set(failed("vs_2", report, "document_expired"))
		r.await(before + 1)
	}
	r.want(
		"team@larkspur.example: A person needs help: vs_1", "vs_1@people.example: You chose not to be verified",
		"vs_2@people.example: That didn’t work", "vs_2@people.example: That didn’t work",
		"team@larkspur.example: A person needs help: vs_2", "vs_2@people.example: We couldn’t verify you", r.finish(),
	)
}

// TestNobodyToTell: a person without an address gets no mail, and the outcome is handled.
func TestNobodyToTell(t *testing.T) {
	r := newRig(t)
	m := r.mailer()
	for _, reference := range []string{"", "user 2"} {
		v := session("vs_1", verified, "vr_1")
		v.ClientReferenceId, v.OutcomeId = reference, "one"
		if err := m.handle(t.Context(), client.Update{Verification: v}); err != nil {
			t.Errorf("%q: %v", reference, err)
		}
	}
	if n := m.counts.unaddressed.Load(); n != 2 || len(r.mails()) > 0 {
		t.Errorf("%d persons without an address, mails %q", n, r.mails())
	}
}

// TestAnArchivedSessionIsNoPersonWithoutAnAddress: the archive repeats the outcome without the reference, perhaps after the record of
// the mail is gone.
func TestAnArchivedSessionIsNoPersonWithoutAnAddress(t *testing.T) {
	r := newRig(t)
	m := r.mailer()
	v := session("vs_1", verified, "")
	v.ClientReferenceId, v.OutcomeId, v.Settled, v.Revision, v.OutcomeRevision = "", "one", true, 4, 3
	if err := m.handle(t.Context(), client.Update{Verification: v}); err != nil {
		t.Error(err)
	}
	if n := m.counts.unaddressed.Load(); n != 0 || len(r.mails()) > 0 {
		t.Errorf("%d persons without an address, mails %q; want none", n, r.mails())
	}
}

// TestOvertaken: a failure whose mail is sent only after the next failure is no reason for the team: the newer outcome is.
func TestOvertaken(t *testing.T) {
	r := newRig(t)
	m := r.mailer()
	older := r.server.Set(failed("vs_1", "vr_1", "document_expired"))
	r.server.Set(session("vs_1", processing, "vr_1"))
	newer := r.server.Set(failed("vs_1", "vr_2", "consent_declined"))
	for _, v := range []*verificationv1.Verification{older, newer} {
		if err := m.handle(t.Context(), client.Update{Verification: v}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"vs_1@people.example: That didn’t work",
		"team@larkspur.example: A person needs help: vs_1", "vs_1@people.example: You chose not to be verified",
	}
	if got := r.mails(); !slices.Equal(got, want) {
		t.Errorf("mails:\ngot  %q\nwant %q", got, want)
	}
}

// TestHelpIsNotOvertaken: a person that needs help, and then opens the page and leaves it, needs help still. A canceled session needs none.
func TestHelpIsNotOvertaken(t *testing.T) {
	for name, test := range map[string]struct {
		newer *verificationv1.Verification
		helps bool
	}{
		"abandoned":       {failed("vs_1", "vr_1", "abandoned"), true},
		"a newer failure": {failed("vs_1", "vr_2", "under_supported_age"), false},
		"processing":      {session("vs_1", processing, "vr_1"), false},
		"verified":        {session("vs_1", verified, "vr_2"), false},
		"canceled":        {session("vs_1", verificationv1.Status_STATUS_CANCELED, "vr_1"), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			failure := proto.CloneOf(r.server.Set(failed("vs_1", "vr_1", "consent_declined")))
			r.server.Set(test.newer)
			if err := r.mailer().handle(t.Context(), client.Update{Verification: failure}); err != nil {
				t.Fatal(err)
			}
			if helps := slices.Contains(r.mails(), "team@larkspur.example: A person needs help: vs_1"); helps != test.helps || len(r.mails()) == 0 {
				t.Errorf("the team has a mail: %v, want %v; mails %q", helps, test.helps, r.mails())
			}
		})
	}
}

// TestAfterALoss: if the store has lost the outcome's revision, the mail says what the outcome itself says.
func TestAfterALoss(t *testing.T) {
	r := newRig(t, "-page", "https://verify.example.com/again")
	v := proto.CloneOf(r.server.Set(failed("vs_1", "vr_1", "document_expired")))
	r.server.FailNext(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST))
	if err := r.mailer().handle(t.Context(), client.Update{Verification: v}); err != nil || len(r.mails()) != 1 {
		t.Errorf("error %v, mails %q", err, r.mails())
	}
}

// TestNotAFailure: an abandoned and a canceled session get no mail.
func TestNotAFailure(t *testing.T) {
	r := newRig(t)
	r.run()
	r.server.Set(failed("vs_1", "", "abandoned"))
	r.server.Set(session("vs_1", verificationv1.Status_STATUS_CANCELED, ""))
	r.want(r.finish())
}

// TestAPage: with a page of the company's own, mails have its address, and the mailer grants nothing.
func TestAPage(t *testing.T) {
	r := newRig(t, "-page", "https://verify.example.com/again")
	r.server.OnRetry(func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
		t.Error("the mailer asks for a link")
		return nil, clienttest.StripeRefused("no_link")
	})
	r.run()
	r.server.Set(failed("vs_1", "vr_1", "document_expired"))
	r.want("vs_1@people.example: That didn’t work")
	if text := r.smtp.received()[0]; !strings.Contains(text, "https://verify.example.com/again") {
		t.Errorf("the mail is\n%s", text)
	}
	r.server.Set(failed("vs_2", "vr_1", "under_supported_age"))
	r.want("vs_1@people.example: That didn’t work", "team@larkspur.example: A person needs help: vs_2", "vs_2@people.example: We couldn’t verify you")
}

// TestNoLinkOfStripeInLiveMode: without a page, a person of live mode gets no mail with Stripe's own link.
func TestNoLinkOfStripeInLiveMode(t *testing.T) {
	r := newRig(t)
	v := failed("vs_1", "vr_1", "document_expired")
	v.Livemode = true
	err := r.mailer().handle(t.Context(), client.Update{Verification: proto.CloneOf(r.server.Set(v))})
	if err == nil || !strings.Contains(err.Error(), "-page") || len(r.mails()) > 0 {
		t.Errorf("error %v, mails %q", err, r.mails())
	}
}

// TestNoLink: what the person reads where the service gives no link.
func TestNoLink(t *testing.T) {
	next := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		answer error
		want   []string // subjects, in their order
		text   string   // in the last mail
		fails  bool
	}{
		"Stripe gives none":   {clienttest.StripeRefused("no_link"), []string{"A person needs help: vs_1", "We couldn’t verify you"}, "Our team can help you", false},
		"a cooldown":          {clienttest.RetryDenied(verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN, "", time.Hour), []string{"That didn’t work"}, "You can try again from " + next.UTC().Format(time.DateOnly), false},
		"submitted meanwhile": {clienttest.RetryDenied(verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING, "", 0), []string{"That didn’t work"}, "still being checked", false},
		"verified meanwhile":  {clienttest.RetryDenied(verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED, "", 0), []string{"That didn’t work"}, "verified already", false},
		"the service is away": {clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE), nil, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.server.OnRetry(func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
				return nil, test.answer
			})
			v := r.server.Set(failed("vs_1", "vr_1", "document_expired"))
			err := r.mailer().handle(t.Context(), client.Update{Verification: v})
			if (err != nil) != test.fails {
				t.Errorf("error %v, want one: %v", err, test.fails)
			}
			var subjects []string
			for _, m := range r.mails() {
				subjects = append(subjects, m[strings.Index(m, ": ")+2:])
			}
			if !slices.Equal(subjects, test.want) {
				t.Errorf("mails %q, want %q", subjects, test.want)
			}
			if all := r.smtp.received(); len(all) > 0 && !strings.Contains(all[len(all)-1], test.text) {
				t.Errorf("the last mail has no %q:\n%s", test.text, all[len(all)-1])
			}
		})
	}
}

// TestOnceInEffect: an outcome that comes again gets no second mail, also after a restart with the same record.
func TestOnceInEffect(t *testing.T) {
	r := newRig(t, "-sent", t.TempDir())
	v := session("vs_1", verified, "vr_1")
	v.OutcomeId = "one"
	for range 2 {
		m := r.mailer()
		for range 2 {
			if err := m.handle(t.Context(), client.Update{Verification: v}); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []string{stepReceive, stepSend, stepRecord, stepRecorded, stepReceive, stepReceive, stepReceive}
	if len(r.mails()) != 1 || !slices.Equal(r.steps, want) {
		t.Errorf("mails %q, steps %q; want one mail, steps %q", r.mails(), r.steps, want)
	}
}

// TestWithoutAName: an outcome without a name gets no mail, because a crash would give its mails two names.
func TestWithoutAName(t *testing.T) {
	r := newRig(t)
	if err := r.mailer().handle(t.Context(), client.Update{Verification: session("vs_1", verified, "vr_1")}); err == nil || len(r.mails()) > 0 {
		t.Errorf("error %v, mails %q", err, r.mails())
	}
}

// TestErased: a person whose data is erased gets no mail, where the outcome comes by the erasure's revision.
func TestErased(t *testing.T) {
	r := newRig(t)
	for _, redaction := range []verificationv1.Redaction{verificationv1.Redaction_REDACTION_PROCESSING, verificationv1.Redaction_REDACTION_REDACTED} {
		v := session("vs_1", verified, "")
		v.OutcomeId, v.Redaction = redaction.String(), redaction
		if err := r.mailer().handle(t.Context(), client.Update{Verification: v}); err != nil || len(r.mails()) > 0 {
			t.Errorf("%v: error %v, mails %q", redaction, err, r.mails())
		}
	}
}

// TestErasedMeanwhile: a person whose data was erased while the mail waited gets none, and the team neither.
func TestErasedMeanwhile(t *testing.T) {
	r := newRig(t)
	m := r.mailer()
	for _, v := range []*verificationv1.Verification{
		failed("vs_1", "vr_1", "document_expired"), failed("vs_2", "vr_1", "consent_declined"), session("vs_3", verified, "vr_1"),
	} {
		outcome := proto.CloneOf(r.server.Set(v))
		erased := session(outcome.GetSessionId(), outcome.GetStatus(), "")
		erased.ClientReferenceId, erased.Redaction = "", verificationv1.Redaction_REDACTION_REDACTED
		r.server.Set(erased)
		if err := m.handle(t.Context(), client.Update{Verification: outcome}); err != nil {
			t.Error(err)
		}
	}
	r.want()
}

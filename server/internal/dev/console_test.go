package dev

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/testing/await"
	"example.com/verification-status/server/internal/verification"
	"example.com/verification-status/server/internal/webhook"
)

// shown ends the console and returns its lines without their times.
func shown(t *testing.T, d *console) []string {
	t.Helper()
	var out strings.Builder
	d.begin(&out)
	d.end()
	var lines []string
	for line := range strings.Lines(out.String()) {
		if found := regexp.MustCompile(`^\d\d:\d\d:\d\d  (.*)\n$`).FindStringSubmatch(line); found != nil {
			line = found[1]
		}
		lines = append(lines, line)
	}
	return lines
}

func wantLines(t *testing.T, d *console, want ...string) {
	t.Helper()
	if got := shown(t, d); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// committing is a store and an applier in one: each event commits the next session.
type committing struct {
	store.Store
	next    verification.Session
	outcome verification.Outcome
	err     error
}

func (c *committing) Update(context.Context, string, store.UpdateFunc) (verification.Session, error) {
	return c.next, c.err
}

func (c *committing) apply(s store.Store) webhook.Applier {
	return applierFunc(func(ctx context.Context, e verification.Event) (verification.Outcome, error) {
		_, err := s.Update(ctx, e.Object.ID, nil)
		return c.outcome, err
	})
}

type applierFunc func(context.Context, verification.Event) (verification.Outcome, error)

func (f applierFunc) Apply(ctx context.Context, e verification.Event) (verification.Outcome, error) {
	return f(ctx, e)
}

func TestDevShowsWhatAnEventDid(t *testing.T) {
	session := verification.Session{ID: "vs_1", Revision: 3, State: verification.State{
		Status: "requires_input", Error: verification.Error{Code: "document_expired", Reason: "planted reason"}, Reference: "planted reference"}}
	erased := session
	erased.Error, erased.Redaction = verification.Error{}, verification.RedactionProcessing
	const is = "requires_input (document_expired), revision 3"
	for _, test := range []struct {
		name    string
		next    verification.Session
		outcome verification.Outcome
		err     error
		want    string
	}{
		{"applied", session, verification.Outcome{Effect: verification.EffectApplied}, nil, "→ " + is},
		{"erased", erased, verification.Outcome{Effect: verification.EffectApplied}, nil, "→ requires_input, revision 3, personal data erased or being erased"},
		{"known", session, verification.Outcome{Duplicate: true}, nil, "was known already; still " + is},
		{"counted", session, verification.Outcome{Effect: verification.EffectCounted}, nil, "came late: its failure is counted; still " + is},
		{"stale", session, verification.Outcome{Effect: verification.EffectStale}, nil, "came late and changes nothing; still " + is},
		{"ambiguous", session, verification.Outcome{Effect: verification.EffectPending}, nil, "→ " + is + "; its order is not certain until Stripe is asked"},
		{"not kept", session, verification.Outcome{}, errors.New("planted error"), "could not be kept; Stripe sends it again"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, c := newConsole(), &committing{next: test.next, outcome: test.outcome, err: test.err}
			event := verification.Event{Type: verification.EventRequiresInput, Object: verification.Object{ID: "vs_1"}}
			if _, err := d.applier(c.apply(d.store(c))).Apply(t.Context(), event); !errors.Is(err, test.err) {
				t.Errorf("got %v, want %v", err, test.err)
			}
			wantLines(t, d, "webhook  verification_session.requires_input  vs_1 "+test.want)
		})
	}
}

// Each webhook that does not reach the applier is shown in words.
func TestDevShowsEveryRefusedWebhook(t *testing.T) {
	d := newConsole()
	d.webhook(webhook.Result{Status: 400, Reason: webhook.ReasonWrongSignature})
	d.webhook(webhook.Result{Status: 200, Reason: webhook.ReasonApplied})
	d.webhook(webhook.Result{Status: 200, Reason: webhook.ReasonNotIdentity})
	wantLines(t, d, "webhook  refused: it was signed with another secret (400)", "webhook  ignored: not an event of a verification session (200)")
}

// retrying answers retries.
type retrying struct {
	verificationv1.UnimplementedVerificationServiceServer
	session string
	err     error
}

func (r retrying) RetryVerification(context.Context, *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
	if r.err != nil {
		return nil, r.err
	}
	return &verificationv1.RetryVerificationResponse{Url: "planted link", ClientSecret: "planted secret", Verification: &verificationv1.Verification{
		SessionId: r.session, Revision: 4, Retry: &verificationv1.RetryState{RetriesRemaining: 1}, ClientReferenceId: "planted reference",
	}}, nil
}

func TestDevShowsRetries(t *testing.T) {
	for _, test := range []struct {
		name    string
		service retrying
		want    string
	}{
		{"granted", retrying{session: "vs_1"}, "vs_1 granted: a fresh link, retries left: 1, revision 4"},
		{"replaced", retrying{session: "vs_2"}, "vs_1 granted: replaced by vs_2, retries left: 1"},
		{"denied", retrying{err: grpcstatus.Error(codes.FailedPrecondition, "no retry: the person is verified already")}, "vs_1 refused: the person is verified already"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newConsole()
			_, _ = d.service(test.service).RetryVerification(t.Context(), &verificationv1.RetryVerificationRequest{SessionId: "vs_1"})
			wantLines(t, d, "retry    "+test.want)
		})
	}
}

// A terminal that reads nothing blocks neither the server nor its end.
func TestConsoleNeverBlocks(t *testing.T) {
	d := newConsole()
	for n := range maxLines + 5 {
		d.say("webhook", "line %d", n)
	}
	reader, held := io.Pipe()
	d.begin(held)
	began, ended := time.Now(), make(chan struct{})
	go func() {
		d.end()
		close(ended)
	}()
	await.One(t, ended)
	if took := time.Since(began); took < lastLines || took > 5*lastLines {
		t.Errorf("the end took %v; want about %v", took, lastLines)
	}
	_ = reader.Close()
	await.One(t, d.written)

	d = newConsole()
	for n := range maxLines + 5 {
		d.say("webhook", "line %d", n)
	}
	if lines := shown(t, d); len(lines) != maxLines+1 || lines[0] != "(5 lines are left out)\n" {
		t.Errorf("got %d lines, the first %q; want %d lines, and a word on 5 more", len(lines), lines[0], maxLines)
	}
}

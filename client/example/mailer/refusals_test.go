package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"example.com/verification-status/client"
)

// TestARefusalForNow: the mail is tried again, and others do not wait for it.
func TestARefusalForNow(t *testing.T) {
	r := newRig(t)
	r.smtp.answer(map[string]string{"RCPT": "451 4.7.1 try again later"})
	r.run()
	r.server.Set(session("vs_1", verified, "vr_1"))
	r.smtp.awaitRefusal()
	r.smtp.answer(nil)
	r.want(r.finish(), "vs_1@people.example: You’re verified")
}

// TestARefusalForGood: the mail is in the record, and not tried again.
func TestARefusalForGood(t *testing.T) {
	r := newRig(t)
	r.smtp.answer(map[string]string{"RCPT": "550 5.1.1 no such user"})
	m := r.mailer()
	v := session("vs_1", verified, "vr_1")
	v.OutcomeId = "one"
	for range 2 {
		if err := m.handle(t.Context(), client.Update{Verification: v}); err != nil {
			t.Fatal(err)
		}
	}
	if refused, known := m.counts.refused.Load(), m.counts.known.Load(); refused != 1 || known != 1 {
		t.Errorf("%d mails refused and %d known, want 1 and 1", refused, known)
	}
}

// TestAMailIsGivenUp: a mail that fails while others are sent is given up after the time of the setting, also across a restart, and is
// never tried again. While the SMTP server refuses all mails, none is given up.
func TestAMailIsGivenUp(t *testing.T) {
	r := newRig(t, "-sent", t.TempDir(), "-give-up-after", "24h")
	m := r.mailer()
	now := time.Now()
	outcome := func(id string) client.Update {
		v := session(id, verified, "vr_1")
		v.OutcomeId = id
		return client.Update{Verification: v}
	}
	refuse := func() { r.smtp.answer(map[string]string{".": "550 5.7.1 message rejected as spam"}) }
	fails := func(when string) {
		t.Helper()
		m.now = func() time.Time { return now }
		refuse()
		if err := m.handle(t.Context(), outcome("vs_1")); err == nil {
			t.Fatalf("%s, a mail that failed counts as done", when)
		}
		now = now.Add(25 * time.Hour)
	}
	fails("first")
	fails("while all are refused")
	fails("while all are still refused")
	r.smtp.answer(nil)
	if err := m.handle(t.Context(), outcome("vs_2")); err != nil {
		t.Fatal(err)
	}
	fails("after another one was sent")
	m = r.mailer()
	m.now = func() time.Time { return now }
	for range 2 {
		if err := m.handle(t.Context(), outcome("vs_1")); err != nil {
			t.Fatalf("not given up after a day: %v", err)
		}
	}
	if n, note := m.counts.givenUp.Load(), mustNote(t, m.record, "vs_1"); n != 1 || note != noteGivenUp {
		t.Errorf("%d mails given up, note %q", n, note)
	}
	r.want("vs_2@people.example: You’re verified")
}

// TestAServerThatIsAway: a connection that cannot be opened is no reason to give a mail up.
func TestAServerThatIsAway(t *testing.T) {
	r := newRig(t)
	m := r.mailer()
	away := fmt.Errorf("dial failed: %w", syscall.ECONNREFUSED)
	for range 3 {
		m.counts.sent.Add(1)
		if overdue, err := m.isOverdue("one", away); overdue || err != nil {
			t.Errorf("overdue is %v, %v", overdue, err)
		}
		now := m.now().Add(25 * time.Hour)
		m.now = func() time.Time { return now }
	}
}

// TestTheTeamCannotBeTold: the person has the mail nevertheless, once. The team gets its own later, after a restart too.
func TestTheTeamCannotBeTold(t *testing.T) {
	r := newRig(t, "-sent", t.TempDir())
	v := proto.CloneOf(r.server.Set(failed("vs_1", "vr_1", "consent_declined")))
	r.smtp.answer(map[string]string{"RCPT team@": "550 5.7.1 not from outside"})
	for range 2 {
		if err := r.mailer().handle(t.Context(), client.Update{Verification: v}); err == nil {
			t.Error("the team was not told, and the outcome is done")
		}
		r.want("vs_1@people.example: You chose not to be verified")
	}
	r.smtp.answer(nil)
	for range 2 {
		if err := r.mailer().handle(t.Context(), client.Update{Verification: v}); err != nil {
			t.Error(err)
		}
	}
	r.want("vs_1@people.example: You chose not to be verified", "team@larkspur.example: A person needs help: vs_1")
}

func mustNote(t *testing.T, r *record, name string) string {
	t.Helper()
	note, known, err := r.note(name)
	if err != nil || !known {
		t.Fatalf("note of %q: known %v, %v", name, known, err)
	}
	return note
}

// TestNoAddressInLogs: neither the log nor the error of a handler has the address of a person.
func TestNoAddressInLogs(t *testing.T) {
	for name, test := range map[string]struct {
		answer map[string]string
		reason string
	}{
		"refused for good":    {map[string]string{"RCPT": "550 5.1.1 <vs_1@people.example>: no such user"}, "sending SMTP RCPT TO command: reply 550 5.1.1"},
		"refused for now":     {map[string]string{"RCPT": "451 4.7.1 <vs_1@people.example>: try again later"}, "sending SMTP RCPT TO command: reply 451 4.7.1"},
		"the mail is refused": {map[string]string{".": "554 not for vs_1@people.example"}, "closing SMTP DATA writer: reply 554"},
		"a broken connection": {map[string]string{"RCPT": ""}, "sending SMTP RCPT TO command: no reply"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			var log bytes.Buffer
			slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
			r.smtp.answer(test.answer)
			v := session("vs_1", verified, "vr_1")
			v.OutcomeId = "one"
			err := r.mailer().handle(t.Context(), client.Update{Verification: v})
			said := log.String() + fmt.Sprint(err)
			if strings.Contains(said, "@people.example") {
				t.Errorf("the log has the person's address: %s", said)
			}
			if !strings.Contains(said, test.reason) {
				t.Errorf("the log does not say what failed: %s", said)
			}
		})
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// recordRig is a mailer with a record in a directory, in a bubble of testing/synctest.
type recordRig struct {
	t      *testing.T
	dir    string
	server *clienttest.Server
	smtp   *fakeSMTP
	mailer *mailer
	log    bytes.Buffer
}

// inBubble calls test with a mailer that consumes. step is called at each step of a mail; it can be nil.
func inBubble(t *testing.T, step func(r *recordRig, name string), test func(r *recordRig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &recordRig{t: t, dir: filepath.Join(t.TempDir(), "sent")}
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&r.log, nil)))
		defer slog.SetDefault(before)
		fake, h := startPipedSMTP(t, 0)
		r.smtp, r.server = fake, clienttest.NewVirtual(t)
		if step != nil {
			h.step = func(name string) { step(r, name) }
		}
		s := mustSettings(t, "-sent", r.dir)
		m, err := newMailer(r.server.Client(), s, h)
		if err != nil {
			t.Fatal(err)
		}
		defer m.record.close()
		r.mailer = m
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.consume(ctx, s) }()
		if err := r.server.AwaitStreams(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		test(r)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the mailer ended with %v", err)
		}
	})
}

// after returns the number of mails and the log, when time has passed.
func (r *recordRig) after(d time.Duration) (mails int, log string) {
	time.Sleep(d)
	synctest.Wait()
	return len(r.smtp.received()), r.log.String()
}

func (r *recordRig) wantKnown(outcome string, want bool) {
	r.t.Helper()
	wantHas(r.t, r.mailer.record, outcome, want)
}

const recordFails = "level=ERROR msg=\"no mails until the record of sent mails works\""

// TestNoMailWithoutARecord: while the record cannot be written, no mail is sent, and the log says so once.
func TestNoMailWithoutARecord(t *testing.T) {
	inBubble(t, nil, func(r *recordRig) {
		if err := os.RemoveAll(r.dir); err != nil {
			t.Fatal(err)
		}
		r.server.Set(session("vs_1", verified, "vr_1"))
		r.server.Set(failed("vs_2", "vr_1", "consent_declined"))
		mails, log := r.after(24 * time.Hour)
		if mails != 0 || strings.Count(log, recordFails) != 1 || strings.Count(log, "\n") != 1 {
			t.Errorf("%d mails in a day, want 0; the log is\n%s", mails, log)
		}
		if !strings.Contains(log, r.dir) {
			t.Errorf("the log does not name the directory %s:\n%s", r.dir, log)
		}
	})
}

// blockAfterTheSend has the record fail once a mail is sent: as a disk that becomes full or read-only at this moment, but also for root.
func blockAfterTheSend(r *recordRig, name string) {
	if name == stepRecord && len(r.smtp.received()) == 1 {
		if err := os.MkdirAll(r.obstacle(), 0o700); err != nil {
			r.t.Error(err)
		}
	}
}

// obstacle is a directory in place of the first mail's entry.
func (r *recordRig) obstacle() string {
	_, id, _ := strings.Cut(r.smtp.received()[0], "Message-ID: <")
	name, _, _ := strings.Cut(id, "@")
	return filepath.Join(r.dir, name)
}

// TestASentMailIsRecordedLater: a mail that was sent, and whose record failed, is not sent again, and no other mail before it is recorded.
func TestASentMailIsRecordedLater(t *testing.T) {
	inBubble(t, blockAfterTheSend, func(r *recordRig) {
		first := r.server.Set(session("vs_1", verified, "vr_1")).GetOutcomeId()
		if mails, log := r.after(time.Hour); mails != 1 || strings.Count(log, recordFails) != 1 {
			t.Errorf("%d mails of one outcome in an hour, want 1; the log is\n%s", mails, log)
		}
		second := r.server.Set(session("vs_2", verified, "vr_1")).GetOutcomeId()
		if mails, log := r.after(time.Hour); mails != 1 || strings.Count(log, recordFails) != 1 {
			t.Errorf("%d mails in two hours, want 1; the log is\n%s", mails, log)
		}
		r.wantKnown(second, false)
		if err := os.Remove(r.obstacle()); err != nil {
			t.Fatal(err)
		}
		if mails, log := r.after(time.Hour); mails != 2 || !strings.Contains(log, "the record of sent mails works again") {
			t.Errorf("%d mails of two outcomes, want 2; the log is\n%s", mails, log)
		}
		r.wantKnown(first, true)
		r.wantKnown(second, true)
	})
}

// TestASentMailIsRecordedAtTheEnd: a stop records what could not be recorded before.
func TestASentMailIsRecordedAtTheEnd(t *testing.T) {
	r := newRig(t, "-sent", t.TempDir())
	m := r.mailer()
	v := session("vs_1", verified, "vr_1")
	v.OutcomeId = "one"
	obstacle := filepath.Join(r.settings.sent, "one")
	m.step = func(name string) {
		if name == stepRecord {
			if err := os.Mkdir(obstacle, 0o700); err != nil {
				t.Error(err)
			}
		}
	}
	if err := m.handle(t.Context(), client.Update{Verification: v}); !errors.Is(err, errRecord) {
		t.Errorf("error %v, want that of the record", err)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	m.end()
	wantHas(t, m.record, "one", true)
	if mails := r.mails(); len(mails) != 1 {
		t.Errorf("mails %q, want one", mails)
	}
}

// TestTheRecordIsTriedAtTheStart: a mailer whose record cannot be written does not start. With -must-exist it does not make the record:
// an empty directory in place of one that is not mounted would have mails sent again.
func TestTheRecordIsTriedAtTheStart(t *testing.T) {
	unwritable, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.Mkdir(filepath.Join(unwritable, nameStart+suffixSending), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for _, args := range [][]string{{"-sent", unwritable}, {"-sent", file}, {"-sent", missing, "-must-exist"}} {
		r := newRig(t, args...)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := run(ctx, r.settings, hooks{}); !errors.Is(err, errRecord) || !strings.Contains(err.Error(), args[1]) {
			t.Errorf("%q: error %v, want that of the record", args, err)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// TestAStopWhileSending: a mailer that is asked to stop waits for the answer to the mail that it sends, and records the mail.
func TestAStopWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		smtp, h := startPipedSMTP(t, contentTimeout-time.Second)
		server, s := clienttest.NewVirtual(t), mustSettings(t)
		m, err := newMailer(server.Client(), s, h)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.consume(ctx, s) }()
		if err := server.AwaitStreams(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		outcome := server.Set(session("vs_1", verified, "vr_1")).GetOutcomeId()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if known, err := m.record.has(outcome); !known || err != nil || len(smtp.received()) != 1 {
			t.Errorf("the mail is in the record: %v, %v; %d mails", known, err, len(smtp.received()))
		}
	})
}

// TestALostConsumerIsTold: the mailer ends and says what to do, where outcomes can be missing. The consumer is made first: outcomes that
// come between the list of the sessions and a later start would be in neither.
func TestALostConsumerIsTold(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := newRig(t, "-must-exist")
	if err := run(ctx, r.settings, hooks{}); !errors.Is(err, client.ErrConsumerNotFound) || !inOrder(err.Error(), "start once without -must-exist", "list the sessions") {
		t.Errorf("error %v", err)
	}
	r = newRig(t)
	r.run()
	r.server.Set(session("vs_1", verified, "vr_1"))
	r.await(1)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.server.ExpireConsumer("mailer")
	if err := run(ctx, r.settings, hooks{}); !errors.Is(err, client.ErrConsumerExpired) || !inOrder(err.Error(), "server consumers --delete mailer", "start once without -must-exist", "list the sessions") {
		t.Errorf("error %v", err)
	}
}

// TestAStandbySaysSoOnce: an instance that stands by for a minute has one line in its log, until it has been at work.
func TestAStandbySaysSoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		defer slog.SetDefault(before)
		_, h := startPipedSMTP(t, 0)
		server, s := clienttest.NewVirtual(t), mustSettings(t)
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		defer ended.Wait()
		defer cancel()
		for range 2 {
			m, err := newMailer(server.Client(), s, h)
			if err != nil {
				t.Fatal(err)
			}
			ended.Go(func() { _ = m.consume(ctx, s) })
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "another instance is at work") {
			t.Errorf("the log of a minute is\n%s", said)
		}
	})
	m := newRig(t).mailer()
	m.logInterruption(client.ErrConsumerBusy, 0)
	_ = m.handle(t.Context(), client.Update{})
	if m.standsBy.Load() {
		t.Error("after an outcome the mailer would not say that it stands by")
	}
}

// inOrder reports whether a text has all parts, one after the other.
func inOrder(text string, parts ...string) bool {
	for _, part := range parts {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}

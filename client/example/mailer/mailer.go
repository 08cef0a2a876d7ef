package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// mailer sends the mails of outcomes.
type mailer struct {
	status    *client.Client
	directory directory
	offers    offers
	outbox    *outbox
	record    *record
	team      recipient
	step      func(name string)
	// sending is held from before a mail is sent until it is recorded. So a crash repeats at most one mail.
	sending chan struct{}

	counts struct{ sent, known, refused, unaddressed atomic.Int64 }
}

// The steps of a mail, in their order.
const (
	stepReceive  = "receive"  // an outcome has come
	stepSend     = "send"     // its mail is about to be sent
	stepRecord   = "record"   // the SMTP server has the mail
	stepRecorded = "recorded" // the mail is in the record
)

func newMailer(status *client.Client, s settings, h hooks) (*mailer, error) {
	record, err := openRecord(s.sent)
	if err != nil {
		return nil, err
	}
	m := &mailer{
		status: status, directory: template{address: s.address, language: s.language},
		offers: offers{status: status, page: s.page},
		record: record, team: recipient{address: s.team}, step: h.step, sending: make(chan struct{}, 1),
	}
	if m.step == nil {
		m.step = func(string) {}
	}
	if m.outbox, err = newOutbox(s, h.dial); err != nil {
		_ = record.close()
		return nil, err
	}
	return m, nil
}

// handle sends the mails of one outcome. After an error it is called again. An outcome that comes a second time has the same
// outcome_id, and its mails are in the record.
func (m *mailer) handle(ctx context.Context, update client.Update) error {
	m.step(stepReceive)
	v := update.Verification
	if v.GetOutcomeId() == "" {
		return errors.New("the server gives no outcome_id: a crash would send mails twice under different names")
	}
	done, err := m.record.has(v.GetOutcomeId())
	if err != nil {
		return err
	}
	failed := v.GetStatus() == verificationv1.Status_STATUS_REQUIRES_INPUT && v.GetLastError() != nil &&
		v.GetLastError().GetCode() != verificationv1.ErrorCode_ERROR_CODE_ABANDONED
	switch {
	case v.GetRedaction() != verificationv1.Redaction_REDACTION_UNSPECIFIED:
		return nil // the person's data is erased: there is nothing to say, and often nobody to say it to
	case done:
		m.counts.known.Add(1)
		return nil
	case v.GetStatus() == verificationv1.Status_STATUS_VERIFIED:
		return m.toPerson(ctx, v, verifiedLetter)
	case failed:
		return m.handleFailure(ctx, v)
	}
	return nil // not submitted yet, or closed by us
}

// handleFailure tells the person, and before it the team if the person needs help: the record of the person's mail says that both
// are sent.
func (m *mailer) handleFailure(ctx context.Context, v *verificationv1.Verification) error {
	now, err := m.offers.ask(ctx, v)
	if err != nil {
		return err
	}
	if now.needsHelp() {
		if err := m.deliver(ctx, v.GetOutcomeId()+".team", m.team, helpLetter(v, now)); err != nil {
			return err
		}
	}
	return m.toPerson(ctx, v, func(language string) letter { return failedLetter(language, v.GetLastError(), now) })
}

// toPerson sends the mail that is named after the outcome.
func (m *mailer) toPerson(ctx context.Context, v *verificationv1.Verification, compose func(language string) letter) error {
	to, err := m.directory.find(ctx, v.GetClientReferenceId())
	if errors.Is(err, errNoAddress) && isArchived(v) {
		slog.Debug("no mail: an archived session repeats its outcome", "session", v.GetSessionId(), "outcome", v.GetOutcomeId())
		return nil
	}
	if errors.Is(err, errNoAddress) {
		m.counts.unaddressed.Add(1)
		slog.Warn("no mail: the person has no address", "session", v.GetSessionId(), "outcome", v.GetOutcomeId(), "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	return m.deliver(ctx, v.GetOutcomeId(), to, compose(to.language))
}

// isArchived reports whether the service has erased the details of a settled session. It sends that change with the outcome of before,
// which can be older than the record of sent mails.
func isArchived(v *verificationv1.Verification) bool {
	return v.GetSettled() && v.GetClientReferenceId() == "" && v.GetRevision() != v.GetOutcomeRevision()
}

// deliver sends a mail that is not in the record, and records it. A mail that its recipient's server refuses for good is recorded too:
// another try would not help.
func (m *mailer) deliver(ctx context.Context, id string, to recipient, l letter) error {
	select {
	case m.sending <- struct{}{}:
		defer func() { <-m.sending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	known, err := m.record.has(id)
	if known {
		m.counts.known.Add(1)
	}
	if known || err != nil {
		return err
	}
	m.step(stepSend)
	err = m.outbox.send(ctx, id, to.address, l)
	switch {
	case errors.Is(err, errRefused):
		m.counts.refused.Add(1)
		slog.Error("a mail was refused for good", "mail", id, "error", err)
	case err != nil:
		return err
	default:
		m.counts.sent.Add(1)
		slog.Info("mail sent", "mail", id, "title", l.Title)
	}
	m.step(stepRecord)
	if err := m.record.add(id); err != nil {
		return err
	}
	m.step(stepRecorded)
	return nil
}

// summary logs what this process has done.
func (m *mailer) summary() {
	slog.Info("stopped", "sent", m.counts.sent.Load(), "sent before", m.counts.known.Load(),
		"refused", m.counts.refused.Load(), "without an address", m.counts.unaddressed.Load())
}

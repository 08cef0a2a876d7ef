package main

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// mailNote is a mail with its note for the record.
type mailNote struct{ id, note string }

// deliver sends a mail that is not in the record, and records it. It sends none if the record cannot be written. A mail that its recipient's server refuses for good, or that is given
// up, is recorded too: another try would not help.
func (m *mailer) deliver(ctx context.Context, id string, to recipient, l letter) error {
	select {
	case m.sending <- struct{}{}:
		defer func() { <-m.sending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := m.settle(); err != nil {
		return err
	}
	known, err := m.record.has(id)
	if known {
		m.counts.known.Add(1)
	}
	if known || err != nil {
		return err
	}
	if err := m.record.reserve(id); err != nil {
		return err
	}
	m.step(stepSend)
	note, err := m.send(ctx, id, to, l)
	if err != nil {
		return err
	}
	m.unrecorded = &mailNote{id, note}
	m.step(stepRecord)
	return m.settle()
}

// settle records the mail that is not in the record yet.
func (m *mailer) settle() error {
	if m.unrecorded == nil {
		return nil
	}
	if err := m.record.add(m.unrecorded.id, m.unrecorded.note); err != nil {
		return err
	}
	delete(m.failed, m.unrecorded.id)
	m.unrecorded = nil
	m.step(stepRecorded)
	if m.recordFails.Swap(false) {
		slog.Info("the record of sent mails works again")
	}
	return nil
}

// send sends a mail and returns its note for the record, or the error after which the mail is tried again.
func (m *mailer) send(ctx context.Context, id string, to recipient, l letter) (note string, err error) {
	err = m.outbox.send(ctx, id, to.address, l)
	if err == nil {
		m.counts.sent.Add(1)
		slog.Info("mail sent", "mail", id, "title", l.Title)
		return noteSent, nil
	}
	if errors.Is(err, errRefused) {
		m.counts.refused.Add(1)
		slog.Error("a mail was refused for good", "mail", id, "error", err)
		return noteRefused, nil
	}
	overdue, recordErr := m.isOverdue(id, err)
	if recordErr != nil || !overdue {
		return "", errors.Join(err, recordErr)
	}
	m.counts.givenUp.Add(1)
	slog.Error("a mail was given up: others were sent, and this one failed again and again", "mail", id, "for", m.giveUpAfter, "error", err)
	return noteGivenUp, nil
}

// isOverdue reports whether a mail that has failed again is given up. Its time begins when it fails although another mail was sent since
// its last try: while the SMTP server takes no mail at all, none begins. The time
// runs through a later failure of the whole server: the mail has failed before it. A connection that cannot be opened says nothing about
// the mail.
func (m *mailer) isOverdue(id string, failure error) (bool, error) {
	if !errors.Is(failure, errNotTaken) {
		return false, nil
	}
	note, _, err := m.record.note(id + suffixFailing)
	if err != nil {
		return false, err
	}
	if since, err := time.Parse(time.RFC3339, note); err == nil {
		return m.now().Sub(since) >= m.giveUpAfter, nil
	}
	sent := m.counts.sent.Load()
	before, again := m.failed[id]
	m.failed[id] = sent
	if !again || before == sent {
		return false, nil
	}
	return false, m.record.add(id+suffixFailing, m.now().Format(time.RFC3339))
}

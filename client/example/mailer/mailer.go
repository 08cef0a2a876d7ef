package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

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
	// sending is held while a mail is sent. It is the lock of unrecorded and failed.
	sending chan struct{}
	// unrecorded is the mail that is done and not in the record, nil if there is none. No other mail is sent before it is recorded:
	// so a crash repeats at most one mail, if the record outlasts the crash.
	unrecorded *mailNote
	// failed has the mails that have failed, with the number of mails that were sent before.
	failed      map[string]int64
	giveUpAfter time.Duration
	now         func() time.Time
	standsBy    atomic.Bool // another instance is at work
	recordFails atomic.Bool // no mail is sent; the log says so already

	counts struct{ sent, known, refused, givenUp, unaddressed atomic.Int64 }
}

// The notes of mails in the record. The suffixes make names for what is not a mail.
const (
	noteSent    = "sent"
	noteRefused = "refused for good"
	noteGivenUp = "given up"

	suffixTeam    = ".team"     // the mail to the team
	suffixTeamDue = ".team-due" // the person's mail is sent, and that to the team can be missing
	suffixFailing = ".failing"  // the note is the time since which the mail fails
)

// The steps of a mail, in their order.
const (
	stepReceive  = "receive"  // an outcome has come
	stepSend     = "send"     // its mail is about to be sent
	stepRecord   = "record"   // the SMTP server has the mail
	stepRecorded = "recorded" // the mail is in the record
)

func newMailer(status *client.Client, s settings, h hooks) (*mailer, error) {
	record, err := openRecord(s.sent, s.mustExist)
	if err != nil {
		return nil, err
	}
	m := &mailer{
		status: status, directory: template{address: s.address, language: s.language},
		offers: offers{status: status, page: s.page},
		record: record, team: recipient{address: s.team}, step: h.step, sending: make(chan struct{}, 1),
		failed: map[string]int64{}, giveUpAfter: s.giveUpAfter, now: time.Now,
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
	m.standsBy.Store(false)
	m.step(stepReceive)
	v := update.Verification
	if v.GetOutcomeId() == "" {
		return errors.New("the server gives no outcome_id: a crash would send mails twice under different names")
	}
	done, err := m.isDone(v.GetOutcomeId())
	if err != nil {
		return err
	}
	switch {
	case done:
		m.counts.known.Add(1)
		return nil
	case isErased(v), !isFailure(v) && v.GetStatus() != verificationv1.Status_STATUS_VERIFIED:
		return nil // nothing to say: erased, not submitted yet, or closed by us
	}
	now, err := m.offers.present(ctx, v)
	switch {
	case err != nil:
		return err
	case isErased(now):
		return nil
	case isFailure(v):
		return m.handleFailure(ctx, v, now)
	}
	return m.toPerson(ctx, v, verifiedLetter)
}

// isErased reports whether a person's data is erased, or is being erased: the person gets no mail any more.
func isErased(v *verificationv1.Verification) bool {
	return v.GetRedaction() != verificationv1.Redaction_REDACTION_UNSPECIFIED
}

// isDone reports whether the mails of an outcome are in the record.
func (m *mailer) isDone(outcome string) (bool, error) {
	person, err := m.record.has(outcome)
	if !person || err != nil {
		return false, err
	}
	due, err := m.record.has(outcome + suffixTeamDue)
	if !due || err != nil {
		return err == nil, err
	}
	return m.record.has(outcome + suffixTeam)
}

// handleFailure tells the person, and before it the team if the person needs help. If the team cannot be told, the person is told
// nevertheless, and the record says that the team is due.
func (m *mailer) handleFailure(ctx context.Context, v, present *verificationv1.Verification) error {
	now, err := m.offers.ask(ctx, v, present)
	if err != nil {
		return err
	}
	var teamErr error
	if now.needsHelp() {
		teamErr = m.deliver(ctx, v.GetOutcomeId()+suffixTeam, m.team, helpLetter(v, now))
	}
	if teamErr != nil {
		if err := m.record.add(v.GetOutcomeId()+suffixTeamDue, ""); err != nil {
			return err
		}
	}
	return errors.Join(teamErr, m.toPerson(ctx, v, func(language string) letter { return failedLetter(language, v.GetLastError(), now) }))
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

// end records what could not be recorded before, if no handler is left, and logs what this process has done.
func (m *mailer) end() {
	select {
	case m.sending <- struct{}{}:
		if err := m.settle(); err != nil {
			slog.Error("the last mail is not in the record: the next instance repeats it", "mail", m.unrecorded.id, "error", err)
		}
		<-m.sending
	default:
	}
	slog.Info("stopped", "sent", m.counts.sent.Load(), "sent before", m.counts.known.Load(),
		"refused", m.counts.refused.Load(), "given up", m.counts.givenUp.Load(), "without an address", m.counts.unaddressed.Load())
}

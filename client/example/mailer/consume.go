package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// atOnce is how many outcomes are handled side by side. Mails are sent one after the other. The calls that ask what a person can do take
// longer, up to seconds.
const atOnce = 8

// drainWithin lets the mail that is being sent at the end of the process come into the record: a mail whose answer is not awaited is sent
// again by the next instance. It lasts as long only if the SMTP server does not answer.
const drainWithin = dialogTimeout + contentTimeout + 5*time.Second

// consume handles outcomes until ctx ends. The service leaves out what gets no mail: all other statuses, and changes that brought no
// outcome, such as the grants that this program causes.
func (m *mailer) consume(ctx context.Context, s settings) error {
	options := []client.ConsumeOption{
		client.Workers(atOnce),
		client.DrainWithin(drainWithin),
		client.Statuses(verificationv1.Status_STATUS_VERIFIED, verificationv1.Status_STATUS_REQUIRES_INPUT),
		client.OnFailure(m.logFailure),
		client.OnInterruption(m.logInterruption),
	}
	if s.mustExist {
		options = append(options, client.MustExist())
	}
	return m.status.Consume(ctx, s.consumer, m.handle, options...)
}

// logFailure logs why an outcome has no mail yet. A record that fails holds up all mails: the log says so once, until a mail is recorded.
func (m *mailer) logFailure(update client.Update, err error, wait time.Duration) {
	switch {
	case !errors.Is(err, errRecord):
		slog.Warn("no mail yet", "session", update.Verification.GetSessionId(), "outcome", update.Verification.GetOutcomeId(),
			"next try within", wait, "error", err)
	case !m.recordFails.Swap(true):
		slog.Error("no mails until the record of sent mails works", "error", err)
	}
}

// logInterruption logs why there is no stream of outcomes. An instance that stands by is asked to wait again and again: it says so once.
func (m *mailer) logInterruption(err error, wait time.Duration) {
	busy := errors.Is(err, client.ErrConsumerBusy)
	switch standsBy := m.standsBy.Swap(busy); {
	case !busy:
		slog.Info("no stream of outcomes", "next try within", wait, "error", err)
	case !standsBy:
		slog.Info("another instance is at work, this one stands by")
	}
}

// explain adds to an error what an operator does about it. It returns nil for the end that was asked for.
func explain(err error, s settings) error {
	// The consumer first: what comes while somebody reads the sessions is in one of both then.
	const restart = "start once without -must-exist, so that outcomes have mails from then on"
	const then = "Then list the sessions that Stripe has changed since FEED_MAX_AGE and 30 days before the newest mail, by ListVerifications, " +
		"ask for the other people that still wait, by GetStatus, and tell those that have no mail: " +
		"server/docs/consuming.md says why, in After OUT_OF_RANGE"
	switch {
	case errors.Is(err, context.Canceled):
		slog.Info("asked to stop", "end", err) // it also says if the last acknowledgement failed
		return nil
	case errors.Is(err, client.ErrConsumerNotFound):
		return fmt.Errorf("%w. Outcomes can be missing since the newest mail. First %s. %s", err, restart, then)
	case errors.Is(err, client.ErrConsumerExpired):
		return fmt.Errorf("%w. Outcomes that are no longer kept have no mail. First delete the consumer, by: server consumers --delete %s, and %s. %s", err, s.consumer, restart, then)
	}
	return err
}

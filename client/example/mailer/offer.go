package main

import (
	"context"
	"errors"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// offer is what a person with a failed check can do now.
type offer struct {
	link      string // with which the person tries again; empty: there is none
	left      int32  // tries, that of the link included
	denial    verificationv1.RetryDenial
	next      time.Time // with COOLDOWN
	stuck     bool      // Stripe gives no link, and another try would not help
	overtaken bool      // a newer outcome has come that gets mails of its own, or the person is not stuck any more
}

// needsHelp reports whether the person cannot go on without the team.
func (o offer) needsHelp() bool {
	return !o.overtaken && (o.stuck || o.denial == verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED ||
		o.denial == verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE)
}

// offers asks what a person can do. It asks when a mail is sent, because the change can be days old, and stores no link.
type offers struct {
	status *client.Client
	page   string // on which the person signs in and asks for a link, as with client/example/bff; empty: mails have Stripe's own link
}

// present returns the present state of a session whose outcome is v. It returns v if the store has lost writes since.
func (o offers) present(ctx context.Context, v *verificationv1.Verification) (*verificationv1.Verification, error) {
	now, err := o.status.Status(ctx, client.Session(v.GetSessionId()), client.MinRevision(v.GetRevision()))
	if errors.Is(err, client.ErrRevisionLost) || errors.Is(err, client.ErrNotFound) {
		return v, nil
	}
	return now, err
}

// ask returns the offer after the failure v, in the present state.
func (o offers) ask(ctx context.Context, v, now *verificationv1.Verification) (offer, error) {
	retry := now.GetRetry()
	left := retry.GetRetriesRemaining()
	if retry.GetOverrideOpen() {
		left++ // an operator's try comes on top
	}
	answer := offer{
		denial: retry.GetDenial(), next: retry.GetNextRetryTime().AsTime(), left: max(1, left),
		overtaken: now.GetOutcomeId() != v.GetOutcomeId() && settlesHelp(now),
	}
	switch {
	case !retry.GetAllowed():
		return answer, nil
	case o.page != "":
		answer.link = o.page
		return answer, nil
	case now.GetLivemode():
		return offer{}, errors.New("no -page is set, and Stripe's own links must not be sent in mails")
	}
	return o.byLink(ctx, v, answer)
}

// settlesHelp reports whether a newer state makes the team's mail about an older failure unnecessary. A session that was abandoned after
// the failure does not: the person needs as much help as before, and no other mail says so.
func settlesHelp(now *verificationv1.Verification) bool {
	switch now.GetStatus() {
	case verificationv1.Status_STATUS_PROCESSING, verificationv1.Status_STATUS_VERIFIED:
		return true
	}
	return isFailure(now) // it gets a mail of its own; of a canceled session the denial says that nobody can help
}

// isFailure reports whether a check of the person has failed.
func isFailure(v *verificationv1.Verification) bool {
	return v.GetStatus() == verificationv1.Status_STATUS_REQUIRES_INPUT && v.GetLastError() != nil &&
		v.GetLastError().GetCode() != verificationv1.ErrorCode_ERROR_CODE_ABANDONED
}

// byLink adds a new link of Stripe. The service grants one retry for a failure, however often it is asked. A canceled session is not
// replaced: that is for a person to ask for.
func (o offers) byLink(ctx context.Context, v *verificationv1.Verification, answer offer) (offer, error) {
	link, err := o.status.Retry(ctx, v.GetSessionId())
	var denied *client.RetryDeniedError
	switch {
	case err == nil:
		answer.link, answer.left = link.URL.Reveal(), 1+link.Verification.GetRetry().GetRetriesRemaining()
	case errors.As(err, &denied):
		answer.denial, answer.next = denied.Denial, denied.NextRetryTime
	case errors.Is(err, client.ErrStripeRefused), errors.Is(err, client.ErrStripeSessionUnknown),
		errors.Is(err, client.ErrStripeNotConfigured), errors.Is(err, client.ErrNotFound):
		answer.stuck = true
	default:
		return offer{}, err
	}
	return answer, nil
}

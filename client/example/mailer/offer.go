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
	link   string // with which the person tries again; empty: there is none
	left   int32  // tries, that of the link included
	denial verificationv1.RetryDenial
	next   time.Time // with COOLDOWN
	stuck  bool      // Stripe gives no link, and another try would not help
}

// needsHelp reports whether the person cannot go on without the team.
func (o offer) needsHelp() bool {
	return o.stuck || o.denial == verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED ||
		o.denial == verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE
}

// offerer asks what a person can do. It asks when a mail is sent, because the change can be days old, and stores no link.
type offerer func(ctx context.Context, v *verificationv1.Verification) (offer, error)

// onPage offers a page on which the person signs in. The page makes the link to Stripe when the person asks for it, as client/example/bff
// does.
func onPage(status *client.Client, page string) offerer {
	return func(ctx context.Context, v *verificationv1.Verification) (offer, error) {
		now, err := status.Status(ctx, client.Session(v.GetSessionId()), client.MinRevision(v.GetRevision()))
		switch {
		case errors.Is(err, client.ErrRevisionLost), errors.Is(err, client.ErrNotFound):
			now = v // the store lost writes since
		case err != nil:
			return offer{}, err
		}
		retry := now.GetRetry()
		if retry.GetAllowed() {
			return offer{link: page, left: max(1, retry.GetRetriesRemaining())}, nil
		}
		return offer{denial: retry.GetDenial(), next: retry.GetNextRetryTime().AsTime()}, nil
	}
}

// byLink offers a new link of Stripe. The service grants one retry for a failure, however often it is asked. A canceled session is not
// replaced: that is for a person to ask for.
func byLink(status *client.Client) offerer {
	return func(ctx context.Context, v *verificationv1.Verification) (offer, error) {
		link, err := status.Retry(ctx, v.GetSessionId())
		var denied *client.RetryDeniedError
		switch {
		case err == nil:
			return offer{link: link.URL.Reveal(), left: 1 + link.Verification.GetRetry().GetRetriesRemaining()}, nil
		case errors.As(err, &denied):
			return offer{denial: denied.Denial, next: denied.NextRetryTime}, nil
		case errors.Is(err, client.ErrStripeRefused), errors.Is(err, client.ErrStripeSessionUnknown),
			errors.Is(err, client.ErrStripeNotConfigured), errors.Is(err, client.ErrNotFound):
			return offer{stuck: true}, nil
		}
		return offer{}, err
	}
}

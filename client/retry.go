package client

import (
	"context"
	"log/slog"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Link is a person's way back in.
type Link struct {
	// Verification is the session to go on with; a new one where the old one was replaced.
	Verification *verificationv1.Verification
	// ClientSecret is for Stripe.js: single use, expires after 24 hours.
	ClientSecret Secret
	// URL is the hosted page's: single use, expires after 48 hours.
	URL Secret
}

// Secret is a text that does not show itself: printed, logged or encoded it is "[redacted]".
// Whoever holds a person's link is that person to Stripe.
type Secret struct{ text string }

// Reveal is the text, for the one response that takes it to the person.
func (s Secret) Reveal() string { return s.text }

const redacted = "[redacted]"

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]", for JSON and the like.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// RetryOption changes one retry.
type RetryOption func(*verificationv1.RetryVerificationRequest)

// ReplaceClosed has a new session made, like the old one, where the old one is canceled. The new one's
// hosted page sends the person to returnURL afterwards; empty: nowhere.
func ReplaceClosed(returnURL string) RetryOption {
	return func(request *verificationv1.RetryVerificationRequest) {
		request.ReplaceClosed, request.ReturnUrl = true, returnURL
	}
}

// Retry lets the person of a session ("vs_...") try again, within the limit of attempts, and returns a
// fresh link. It may be repeated: a retry is counted once for each failure. While the service cannot be
// reached, it waits until ctx's deadline; without a deadline it waits 10 s for a connection, 30 s in all.
//
// Errors: [*RetryDeniedError], [ErrNotFound], [ErrStripeNotConfigured], and those of every call (see
// [Error]).
func (c *Client) Retry(ctx context.Context, sessionID string, options ...RetryOption) (*Link, error) {
	request := &verificationv1.RetryVerificationRequest{SessionId: sessionID}
	for _, option := range options {
		option(request)
	}
	if err := checkText("the session id or the return URL", sessionID+request.GetReturnUrl()); err != nil {
		return nil, err
	}
	ctx, cancel := withDefaultTimeout(ctx, retryTimeout)
	defer cancel()
	response, err := c.rpc.RetryVerification(ctx, request)
	if err != nil {
		return nil, asError(ctx, err)
	}
	return &Link{
		Verification: response.GetVerification(),
		ClientSecret: Secret{response.GetClientSecret()},
		URL:          Secret{response.GetUrl()},
	}, nil
}

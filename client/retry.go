package client

import (
	"context"
	"log/slog"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Link lets a person continue a verification.
type Link struct {
	// Verification is the session to continue with. It is a new session if the old one was replaced.
	Verification *verificationv1.Verification
	// ClientSecret is for Stripe.js. It works once and expires after 24 hours.
	ClientSecret Secret
	// URL is the address of Stripe's hosted page. It works once and expires after 48 hours.
	URL Secret
	// EphemeralKeySecret is for Stripe's mobile libraries. It expires after an hour. It is empty without [EphemeralKey].
	EphemeralKeySecret Secret
}

// Secret is a text that shows as "[redacted]" when it is printed, logged or encoded. Anybody that has a person's link is that
// person to Stripe.
type Secret struct{ text string }

// Reveal returns the text. Use it in the one response to the person.
func (s Secret) Reveal() string { return s.text }

const redacted = "[redacted]"

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]". Package json and others use it.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// RetryOption changes one call of Retry. Make one with [ReplaceClosed], [EphemeralKey] or [Account].
type RetryOption interface {
	changeRetry(*verificationv1.RetryVerificationRequest)
}

type retryOption func(*verificationv1.RetryVerificationRequest)

func (o retryOption) changeRetry(request *verificationv1.RetryVerificationRequest) { o(request) }

// ReplaceClosed makes Retry create a new session like the old one if the old one is canceled. The hosted page of the new
// session sends the person to returnURL at the end; empty: nowhere.
func ReplaceClosed(returnURL string) RetryOption {
	return retryOption(func(request *verificationv1.RetryVerificationRequest) {
		request.ReplaceClosed, request.ReturnUrl = true, returnURL
	})
}

// EphemeralKey makes Retry also return an ephemeral key, with which one of Stripe's mobile libraries continues the session.
// version is the API version that the library names, such as "2026-09-30.endive".
func EphemeralKey(version string) RetryOption {
	return retryOption(func(request *verificationv1.RetryVerificationRequest) { request.EphemeralKeyVersion = version })
}

// Retry lets the person of a session ("vs_...") try again, within the limit of attempts, and returns a new link. Repeating the
// call is safe: the service counts a retry once for each failure. While the service cannot be reached, Retry waits until the
// deadline of ctx. If ctx has none, it waits at most 10 s for a connection and 30 s in all.
//
// It returns a [*RetryDeniedError] if the service denies the retry, [ErrNotFound], [ErrStripeNotConfigured], [ErrStripeRefused],
// [ErrStripeSessionUnknown], and the errors of every call (see [Error]).
func (c *Client) Retry(ctx context.Context, sessionID string, options ...RetryOption) (*Link, error) {
	request := &verificationv1.RetryVerificationRequest{SessionId: sessionID}
	for _, option := range options {
		option.changeRetry(request)
	}
	texts := sessionID + request.GetReturnUrl() + request.GetEphemeralKeyVersion() + request.GetAccount()
	if err := checkText("the session id, the return URL, the version or the account", texts); err != nil {
		return nil, err
	}
	ctx, cancel := withDefaultTimeout(ctx, retryTimeout)
	defer cancel()
	response, err := c.rpc.RetryVerification(ctx, request)
	if err != nil {
		return nil, asError(ctx, err)
	}
	return &Link{
		Verification:       response.GetVerification(),
		ClientSecret:       Secret{response.GetClientSecret()},
		URL:                Secret{response.GetUrl()},
		EphemeralKeySecret: Secret{response.GetEphemeralKeySecret()},
	}, nil
}

package client

import (
	"context"
	"fmt"
	"log/slog"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Expected is what the caller expects of a verified person. Compare compares the fields that are not empty. It shows as
// "[redacted]" when it is printed, logged or encoded.
type Expected struct {
	// FirstName has the given name or names.
	FirstName string
	// LastName is the family name.
	LastName string
	// DateOfBirth has the form "YYYY-MM-DD".
	DateOfBirth string
	// PostalCode is that of the address.
	PostalCode string
	// Country is that of the address, by ISO 3166-1 alpha-2, such as "NL".
	Country string
	// IDNumber is the id number, whole or its last four characters.
	IDNumber string
	// Email is the e-mail address.
	Email string
	// Phone is the telephone number in E.164, such as "+31201234567".
	Phone string
}

// String returns "[redacted]".
func (Expected) String() string { return redacted }

// GoString returns "[redacted]".
func (Expected) GoString() string { return redacted }

// LogValue returns "[redacted]".
func (Expected) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]". Package json and others use it.
func (Expected) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format prints "[redacted]" for every verb. Otherwise a verb such as %d would print the fields.
func (Expected) Format(state fmt.State, _ rune) { _, _ = fmt.Fprint(state, redacted) }

// Compare asks whether what Stripe verified in a session is what the caller expects. It returns a result for each field that is
// set, in the order of the fields of [Expected]. No answer has a verified value. The session's history keeps the names of the
// fields and the caller's name, never a value.
//
// The caller needs the right compare. Do not repeat the call blindly: each call counts against the limit of the session, also a
// call that fails after the service has begun it. The service allows ten calls in 24 hours by default. It can take several
// requests to Stripe: without a deadline in ctx, Compare waits at most 10 s for a connection and 30 s in all.
//
// It returns [ErrComparisonLimit], [ErrNotComparable] if the session has no verified values, [ErrInvalidRequest] if no field is
// set or one has another form, [ErrNotFound], [ErrStripeNotConfigured], [ErrStripeRefused], [ErrStripeSessionUnknown], and the
// errors of every call (see [Error]).
func (c *Client) Compare(ctx context.Context, sessionID string, expected Expected) ([]*verificationv1.FieldComparison, error) {
	texts := sessionID + expected.FirstName + expected.LastName + expected.DateOfBirth + expected.PostalCode + expected.Country +
		expected.IDNumber + expected.Email + expected.Phone
	if err := checkText("the session id or a field", texts); err != nil {
		return nil, err
	}
	ctx, cancel := withDefaultTimeout(ctx, retryTimeout)
	defer cancel()
	response, err := c.comparisons.CompareVerifiedOutputs(ctx, &verificationv1.CompareVerifiedOutputsRequest{
		SessionId: sessionID,
		FirstName: expected.FirstName, LastName: expected.LastName, DateOfBirth: expected.DateOfBirth,
		PostalCode: expected.PostalCode, Country: expected.Country, IdNumber: expected.IDNumber,
		Email: expected.Email, Phone: expected.Phone,
	})
	if err != nil {
		return nil, asError(ctx, err)
	}
	return response.GetFields(), nil
}

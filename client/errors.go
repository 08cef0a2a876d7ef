package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// The errors that errors.Is finds in an error of a call. The [Error] in it has more.
var (
	// ErrNotFound: the service does not know the session. Stripe does not know it either, if the service can ask.
	ErrNotFound = errors.New("no such verification session")
	// ErrInvalidRequest: the request is invalid. The text names the field. The caller's code must change.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrResumeTokenInvalid: the token is not of this service, or of another subject.
	ErrResumeTokenInvalid = errors.New("resume token is invalid")
	// ErrResumeTokenExpired: the service no longer has the changes after the token, so the caller can have missed some. Only
	// WatchAll ends with it; Watch restarts (see [Update]).
	ErrResumeTokenExpired = errors.New("resume token has expired")
	// ErrRevisionLost: the store has lost the revision of MinRevision. Ask again without it.
	ErrRevisionLost = errors.New("revision is lost")
	// ErrUnauthenticated: the server could not identify the caller.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrPermissionDenied: the caller may not make this call.
	ErrPermissionDenied = errors.New("permission denied")
	// ErrStripeNotConfigured: the server has no Stripe API key. Its operator must set one.
	ErrStripeNotConfigured = errors.New("server has no Stripe API key")
	// ErrStripeRefused: Stripe refuses the call. "stripe_code" in Error.Metadata says why, such as "no_link" for a session to
	// which Stripe gives no link.
	ErrStripeRefused = errors.New("Stripe refused the call")
	// ErrStripeSessionUnknown: the service knows the session, but Stripe does not know it under the service's key. An operator
	// must look at it.
	ErrStripeSessionUnknown = errors.New("session is unknown at Stripe")
	// ErrConsumerNotFound: the named consumer does not exist, or is another one of the same name: it was deleted, or the store
	// has lost it. Changes can be lost to the caller.
	ErrConsumerNotFound = errors.New("no such consumer")
	// ErrConsumerExpired: changes that the consumer has not acknowledged are gone. Delete the consumer, begin with a new one, and
	// then look at the sessions that matter: the new consumer gets what changes meanwhile.
	ErrConsumerExpired = errors.New("consumer has expired")
	// ErrConsumerBusy: another stream of the consumer is open. Consume stands by and never returns it.
	ErrConsumerBusy = errors.New("consumer is busy")
	// ErrCheckpointLost: the checkpoint of Consume has no token, but its consumer has acknowledged changes. Their effects can be
	// lost with the token.
	ErrCheckpointLost = errors.New("the checkpoint has no token, but its consumer was used before: the token was lost, or was never saved")
	// ErrBeginAgain is no error of a call: a handler of Consume, or [Checkpoint.Save], returns it if the position of the checkpoint
	// is not where it left it. Consume then drops what it holds, loads the checkpoint and begins there with another stream.
	// Without a checkpoint it begins after what was acknowledged.
	ErrBeginAgain = errors.New("client: begin again")
	// ErrTooManyConsumers: the service has as many consumers as it keeps. Delete one.
	ErrTooManyConsumers = errors.New("too many consumers")
	// ErrOutcomeChanged: the session has another outcome than the one of SeenOutcome. Nothing was changed: look at the session
	// again.
	ErrOutcomeChanged = errors.New("outcome has changed")
	// ErrComparisonLimit: the comparisons of the session are used up. Error.RetryAfter says when the next one is allowed.
	ErrComparisonLimit = errors.New("limit of comparisons is reached")
	// ErrNotComparable: the session has no verified values, because it is not verified or is redacted.
	ErrNotComparable = errors.New("nothing to compare")
	// ErrUnavailable: try again later. Error.RetryAfter says when, if the server says it.
	ErrUnavailable = errors.New("unavailable")
)

// errorDomain is the ErrorInfo domain of the contract.
const errorDomain = "verification.v1"

// Error is the error of a failed call. All errors of calls are an *Error or wrap one. errors.Is finds the package's sentinels
// in them, and context.Canceled and context.DeadlineExceeded. status.FromError and status.Code work on all of them.
type Error struct {
	// Code is the gRPC code.
	Code codes.Code
	// Reason is the contract's reason. It is ERROR_REASON_UNSPECIFIED if the error came from a connection or a proxy.
	Reason verificationv1.ErrorReason
	// Message says what has happened and what to do.
	Message string
	// RetryAfter is the wait before another try that the server asks for; 0: it asks for none.
	RetryAfter time.Duration
	// Metadata has details of the reason, such as "stripe_code" with ERROR_REASON_STRIPE_REFUSED.
	Metadata map[string]string

	own            bool // made by verification-status, not by a proxy or a connection
	outcomeChanged bool // the outcome is not that of SeenOutcome
	status         *status.Status
	cause          error
}

// Error returns the message and the reason, or the code if there is no reason.
func (e *Error) Error() string {
	if e.Reason != verificationv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return fmt.Sprintf("verification-status: %s (%s)", e.Message, e.Reason)
	}
	return fmt.Sprintf("verification-status: %s (%s)", e.Message, e.Code)
}

// GRPCStatus returns the status as it was received.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Unwrap returns the error as gRPC returned it.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is a sentinel of this package or of package context that stands for e. errors.Is calls it.
func (e *Error) Is(target error) bool {
	byReason, ok := reasons[e.Reason]
	switch {
	case ok && target == byReason, e.outcomeChanged && target == ErrOutcomeChanged:
		return true
	case slices.Contains(specialReasons, e.Reason):
		return false // ErrNotFound is about a session, and a call that fails with ErrUnavailable can be repeated
	}
	return slices.Contains(meanings[e.Code], target)
}

var reasons = map[verificationv1.ErrorReason]error{
	verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID:   ErrResumeTokenInvalid,
	verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED:   ErrResumeTokenExpired,
	verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST:          ErrRevisionLost,
	verificationv1.ErrorReason_ERROR_REASON_STRIPE_NOT_CONFIGURED:  ErrStripeNotConfigured,
	verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED:         ErrStripeRefused,
	verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN: ErrStripeSessionUnknown,
	verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND:     ErrConsumerNotFound,
	verificationv1.ErrorReason_ERROR_REASON_CONSUMER_EXPIRED:       ErrConsumerExpired,
	verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY:          ErrConsumerBusy,
	verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_CONSUMERS:     ErrTooManyConsumers,
	verificationv1.ErrorReason_ERROR_REASON_COMPARISON_LIMIT:       ErrComparisonLimit,
	verificationv1.ErrorReason_ERROR_REASON_NOT_COMPARABLE:         ErrNotComparable,
}

// specialReasons are the reasons whose codes have another meaning, for a consumer or for a comparison.
var specialReasons = []verificationv1.ErrorReason{
	verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_EXPIRED,
	verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_CONSUMERS,
	verificationv1.ErrorReason_ERROR_REASON_COMPARISON_LIMIT,
}

// meanings has the codes that have the same meaning from the service and from a proxy.
var meanings = map[codes.Code][]error{
	codes.Canceled:          {context.Canceled},
	codes.DeadlineExceeded:  {context.DeadlineExceeded},
	codes.InvalidArgument:   {ErrInvalidRequest},
	codes.NotFound:          {ErrNotFound},
	codes.PermissionDenied:  {ErrPermissionDenied},
	codes.Unauthenticated:   {ErrUnauthenticated},
	codes.Unavailable:       {ErrUnavailable},
	codes.ResourceExhausted: {ErrUnavailable},
}

// RetryDeniedError is the error of Retry and of AllowRetry if the service denies a retry. It wraps an [*Error].
type RetryDeniedError struct {
	// Denial is the reason.
	Denial verificationv1.RetryDenial
	// NextRetryTime is the time from which on a retry is allowed, by this machine's clock. Zero without
	// RETRY_DENIAL_COOLDOWN.
	NextRetryTime time.Time
	// SupersededBy is the session to use instead. Empty without RETRY_DENIAL_SUPERSEDED.
	SupersededBy string

	cause *Error
}

// Error returns the server's text, which says why.
func (e *RetryDeniedError) Error() string { return e.cause.Error() }

// Unwrap returns the *Error.
func (e *RetryDeniedError) Unwrap() error { return e.cause }

// newError returns a gRPC error as an *Error or a *RetryDeniedError.
func newError(err error) error {
	received := status.Convert(err)
	e := &Error{Code: received.Code(), Message: readable(received.Message()), status: received, cause: err}
	for _, detail := range received.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == errorDomain {
				e.own, e.Message = true, received.Message()
				e.Reason = verificationv1.ErrorReason(verificationv1.ErrorReason_value[detail.GetReason()])
				e.Metadata = detail.GetMetadata()
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = max(detail.GetRetryDelay().AsDuration(), 0)
		}
	}
	if e.Reason == verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED {
		return newRetryDenied(e)
	}
	return e
}

// maxText bounds the text of an error that the service did not make, in bytes.
const maxText = 300

// readable returns a text as one line. gRPC quotes the HTML page of a proxy after "data: "; readable cuts it.
func readable(text string) string {
	text, _, _ = strings.Cut(text, "data: ")
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

func newRetryDenied(e *Error) *RetryDeniedError {
	denied := &RetryDeniedError{
		Denial:       verificationv1.RetryDenial(verificationv1.RetryDenial_value[e.Metadata["denial"]]),
		SupersededBy: e.Metadata["superseded_by"],
		cause:        e,
	}
	if denied.Denial == verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN {
		denied.NextRetryTime = time.Now().Add(e.RetryAfter)
	}
	return denied
}

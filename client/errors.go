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

// What errors.Is finds in an error of this package. The [Error] in it says more.
var (
	// ErrNotFound means: the service knows no such session, and neither does Stripe if the service can ask it.
	ErrNotFound = errors.New("no such verification session")
	// ErrInvalidRequest means: the caller's code must change; the text names the field.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrResumeTokenInvalid means: no token of this service, or one of another subject.
	ErrResumeTokenInvalid = errors.New("resume token is invalid")
	// ErrResumeTokenExpired means: what followed the token is no longer held, changes may be lost to
	// the caller. Only WatchAll ends with it; a watch of one subject starts again (see [Update]).
	ErrResumeTokenExpired = errors.New("resume token has expired")
	// ErrRevisionLost means: the store has lost what was seen before; ask again without MinRevision.
	ErrRevisionLost = errors.New("revision is lost")
	// ErrUnauthenticated means: the server does not know who calls.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrPermissionDenied means: the server knows, and refuses.
	ErrPermissionDenied = errors.New("permission denied")
	// ErrStripeNotConfigured means: the server has no key of Stripe's API; its operator must set one.
	ErrStripeNotConfigured = errors.New("server has no Stripe API key")
	// ErrUnavailable means: try again later; Error.RetryAfter may say when.
	ErrUnavailable = errors.New("unavailable")
)

// errorDomain is the ErrorInfo domain of the contract.
const errorDomain = "verification.v1"

// Error is what a call failed with. All errors of calls are an *Error or wrap one, and
// status.FromError and status.Code work on all of them. errors.Is also finds context.Canceled and
// context.DeadlineExceeded.
type Error struct {
	// Code is gRPC's.
	Code codes.Code
	// Reason is the contract's; ERROR_REASON_UNSPECIFIED where the error is not the service's own, but
	// a connection's or a proxy's.
	Reason verificationv1.ErrorReason
	// Message says what happened and what to do.
	Message string
	// RetryAfter is how long the server asks to wait before another try; 0 where it does not say.
	RetryAfter time.Duration
	// Metadata are the reason's particulars, such as "stripe_code" with ERROR_REASON_STRIPE_REFUSED.
	Metadata map[string]string

	own    bool // of verification-status, not of a proxy or a connection
	status *status.Status
	cause  error
}

// Error names the reason, or the code where there is none, and what happened.
func (e *Error) Error() string {
	if e.Reason != verificationv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return fmt.Sprintf("verification-status: %s (%s)", e.Message, e.Reason)
	}
	return fmt.Sprintf("verification-status: %s (%s)", e.Message, e.Code)
}

// GRPCStatus is the status as it was received.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Unwrap is the error as gRPC returned it.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is find the sentinels of this package.
func (e *Error) Is(target error) bool {
	if byReason, ok := reasons[e.Reason]; ok && target == byReason {
		return true
	}
	return slices.Contains(meanings[e.Code], target)
}

var reasons = map[verificationv1.ErrorReason]error{
	verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID:  ErrResumeTokenInvalid,
	verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED:  ErrResumeTokenExpired,
	verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST:         ErrRevisionLost,
	verificationv1.ErrorReason_ERROR_REASON_STRIPE_NOT_CONFIGURED: ErrStripeNotConfigured,
}

// meanings are those of the codes that have one meaning here, whoever sent them.
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

// RetryDeniedError says why Retry refused. It wraps an *Error.
type RetryDeniedError struct {
	// Denial is the reason.
	Denial verificationv1.RetryDenial
	// NextRetryTime is from when on a retry is allowed, with RETRY_DENIAL_COOLDOWN, by this machine's
	// clock; else zero.
	NextRetryTime time.Time
	// SupersededBy is the session to go on with, with RETRY_DENIAL_SUPERSEDED; else empty.
	SupersededBy string

	cause *Error
}

// Error is the server's text, which says why.
func (e *RetryDeniedError) Error() string { return e.cause.Error() }

// Unwrap is the *Error.
func (e *RetryDeniedError) Unwrap() error { return e.cause }

// newError reads a gRPC error.
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

// maxText bounds what somebody else than the service says in an error.
const maxText = 300

// readable makes one line of a text that can hold a proxy's HTML page, which gRPC quotes. The page is cut.
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

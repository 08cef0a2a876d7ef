package clienttest

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// retryAfter is the RetryInfo of errors. The service's is a second.
const retryAfter = time.Millisecond

var reasonCodes = map[verificationv1.ErrorReason]codes.Code{
	verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST:        codes.InvalidArgument,
	verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND:      codes.NotFound,
	verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED:           codes.FailedPrecondition,
	verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID:   codes.InvalidArgument,
	verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED:   codes.OutOfRange,
	verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST:          codes.OutOfRange,
	verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE:      codes.Unavailable,
	verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE:     codes.Unavailable,
	verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED:         codes.FailedPrecondition,
	verificationv1.ErrorReason_ERROR_REASON_STRIPE_NOT_CONFIGURED:  codes.FailedPrecondition,
	verificationv1.ErrorReason_ERROR_REASON_DRAINING:               codes.Unavailable,
	verificationv1.ErrorReason_ERROR_REASON_STREAM_EXPIRED:         codes.Unavailable,
	verificationv1.ErrorReason_ERROR_REASON_STREAM_STALLED:         codes.ResourceExhausted,
	verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS:       codes.ResourceExhausted,
	verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED:           codes.ResourceExhausted,
	verificationv1.ErrorReason_ERROR_REASON_OVERLOADED:             codes.Unavailable,
	verificationv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED:        codes.Unauthenticated,
	verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED:      codes.PermissionDenied,
	verificationv1.ErrorReason_ERROR_REASON_CONFLICT:               codes.Aborted,
	verificationv1.ErrorReason_ERROR_REASON_INTERNAL:               codes.Internal,
	verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY:          codes.Aborted,
	verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND:     codes.NotFound,
	verificationv1.ErrorReason_ERROR_REASON_COMPARISON_LIMIT:       codes.ResourceExhausted,
	verificationv1.ErrorReason_ERROR_REASON_NOT_COMPARABLE:         codes.FailedPrecondition,
	verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN: codes.FailedPrecondition,
	verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_CONSUMERS:     codes.ResourceExhausted,
	verificationv1.ErrorReason_ERROR_REASON_CONSUMER_EXPIRED:       codes.OutOfRange,
}

// Error returns the error of the service for a reason: code, ErrorInfo and, if the contract promises it, RetryInfo, of one
// millisecond.
func Error(reason verificationv1.ErrorReason) error {
	var details []protoadapt.MessageV1
	switch code := reasonCodes[reason]; {
	case code == codes.Unavailable, code == codes.Aborted, reason == verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED,
		reason == verificationv1.ErrorReason_ERROR_REASON_COMPARISON_LIMIT:
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	case reason == verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID:
		details = append(details, badRequest("resume_token", "is not a token of this watch"))
	}
	return newError(reason, "made by clienttest", nil, details...)
}

// RetryDenied returns the error of a denied RetryVerification. Set supersededBy with RETRY_DENIAL_SUPERSEDED, and wait with
// RETRY_DENIAL_COOLDOWN.
func RetryDenied(denial verificationv1.RetryDenial, supersededBy string, wait time.Duration) error {
	metadata := map[string]string{"denial": denial.String()}
	if supersededBy != "" {
		metadata["superseded_by"] = supersededBy
	}
	details := []protoadapt.MessageV1{&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{
		Type: denial.String(), Subject: "session_id", Description: "made by clienttest",
	}}}}
	if denial == verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	}
	return newError(verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED, "no retry", metadata, details...)
}

// StripeRefused returns the error of a call that Stripe refused, with the code that says why, such as "no_link" for a session
// to which Stripe gives no link.
func StripeRefused(stripeCode string) error {
	return newError(verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED, "Stripe refused the call: "+stripeCode, map[string]string{"stripe_code": stripeCode})
}

func invalid(field, description string) error {
	return newError(verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, field+": "+description, nil, badRequest(field, description))
}

func badRequest(field, description string) *errdetails.BadRequest {
	return &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: description}}}
}

func newError(reason verificationv1.ErrorReason, text string, metadata map[string]string, details ...protoadapt.MessageV1) error {
	return newErrorOf(reasonCodes[reason], reason, text, metadata, details...)
}

// consumerDeleted returns the error of an open stream whose consumer was deleted.
func consumerDeleted() error {
	return newErrorOf(codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND, "the consumer was deleted", nil)
}

func newErrorOf(code codes.Code, reason verificationv1.ErrorReason, text string, metadata map[string]string, details ...protoadapt.MessageV1) error {
	info := &errdetails.ErrorInfo{Reason: reason.String(), Domain: "verification.v1", Metadata: metadata}
	s, err := status.New(code, text).WithDetails(append([]protoadapt.MessageV1{info}, details...)...)
	if err != nil {
		panic("clienttest: " + reason.String() + " has no gRPC code")
	}
	return s.Err()
}

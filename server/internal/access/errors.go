package access

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// errorDomain is the ErrorInfo domain that the contract promises.
const errorDomain = "verification.v1"

// refusal is why a call is refused.
type refusal struct {
	code   codes.Code
	reason verificationv1.ErrorReason
	text   string
	after  time.Duration // RetryInfo; 0: none
	limit  string        // the setting whose limit is reached; empty: no limit is
}

func unauthenticated(text string) *refusal {
	return &refusal{codes.Unauthenticated, verificationv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED, text, 0, ""}
}

func denied(principal, path string) *refusal {
	return &refusal{codes.PermissionDenied, verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED,
		principal + " may not call " + path, 0, ""}
}

func rateLimited(principal string, after time.Duration) *refusal {
	return &refusal{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED,
		principal + " makes too many calls; slow down", max(after, time.Millisecond), "CALLER_RATE"}
}

func tooManyStreams(text, limit string) *refusal {
	return &refusal{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_STREAMS, text, 0, limit}
}

// evicted ends an unauthenticated health watch. Clients try again after UNAVAILABLE.
func evicted() *refusal {
	return &refusal{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_OVERLOADED,
		"this health watch, which has no credentials, makes room for another one; try again", evictedRetry,
		"none: it is fixed for health watches without credentials"}
}

// evictedRetry is the RetryInfo of an evicted health watch.
const evictedRetry = time.Second

// err returns the error for the caller.
func (r *refusal) err() error {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Domain: errorDomain, Reason: r.reason.String()}}
	if r.after > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(r.after)})
	}
	detailed, err := status.New(r.code, r.text).WithDetails(details...)
	if err != nil {
		return status.Error(r.code, r.text)
	}
	return detailed.Err()
}

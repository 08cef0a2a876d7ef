package clienttest

import (
	"time"

	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// OnRetry replaces what RetryVerification answers; nil: the rule again, which is
//
//   - denied, where Verification.retry says so;
//   - a link, for which a failed session uses one of its retries, once for each failure;
//   - never a replacement of a closed session.
//
// For a denial return [RetryDenied].
func (s *Server) OnRetry(answer func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error)) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.onRetry = answer
}

// firstRetries is how many retries a session has that came without a retry state.
const firstRetries = 2

// retryState is what the contract would say, by the state before.
func retryState(v, last *verificationv1.Verification) *verificationv1.RetryState {
	r := proto.CloneOf(last.GetRetry())
	if r == nil {
		r = &verificationv1.RetryState{RetriesRemaining: firstRetries}
	}
	failed := v.GetLastError() != nil && v.GetRedaction() == 0
	if failed && !sameFailure(v, last) {
		r.FailedAttempts++
	}
	r.NextRetryTime = nil
	r.Denial = denial(v)
	if r.Denial == 0 && failed && r.RetriesRemaining == 0 {
		r.Denial = verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED
	}
	r.Allowed = r.Denial == 0
	return r
}

// sameFailure: the failure was shown before, and nothing was submitted since.
func sameFailure(v, last *verificationv1.Verification) bool {
	return proto.Equal(v.GetLastError(), last.GetLastError()) && v.GetStatus() == last.GetStatus()
}

func denial(v *verificationv1.Verification) verificationv1.RetryDenial {
	switch {
	case v.GetSupersededBy() != "":
		return verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED
	case v.GetRedaction() != 0:
		return verificationv1.RetryDenial_RETRY_DENIAL_REDACTED
	case v.GetStatus() == verificationv1.Status_STATUS_CANCELED:
		return verificationv1.RetryDenial_RETRY_DENIAL_CANCELED
	case v.GetStatus() == verificationv1.Status_STATUS_VERIFIED:
		return verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED
	case v.GetStatus() != verificationv1.Status_STATUS_REQUIRES_INPUT:
		return verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING
	}
	return verificationv1.RetryDenial_RETRY_DENIAL_UNSPECIFIED
}

// retry is the rule of OnRetry. It is called with the lock held.
func (s *state) retry(id string) (*verificationv1.RetryVerificationResponse, error) {
	life := s.sessions[id]
	if life == nil {
		return nil, Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	}
	v := life.latest()
	if r := v.GetRetry(); !r.GetAllowed() && !life.granted {
		var wait time.Duration
		if r.GetNextRetryTime() != nil {
			wait = time.Until(r.GetNextRetryTime().AsTime())
		}
		return nil, RetryDenied(r.GetDenial(), v.GetSupersededBy(), wait)
	}
	if v.GetLastError() != nil && !life.granted {
		next := proto.CloneOf(v)
		next.Retry.RetriesGranted++
		next.Retry.RetriesRemaining = max(0, next.Retry.RetriesRemaining-1)
		v = s.set(next, true)
	}
	return &verificationv1.RetryVerificationResponse{
		Verification: proto.CloneOf(v), ClientSecret: id + "_secret_test", Url: "https://verify.stripe.test/start/" + id,
	}, nil
}

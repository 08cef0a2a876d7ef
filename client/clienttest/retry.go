package clienttest

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// OnRetry replaces what RetryVerification answers; nil: the rules of the service again, with its default
// settings, which are
//
//   - denied, where Verification.retry says so;
//   - a fresh link, for which a failed session uses one of its retries, once for each failure;
//   - with replace_closed, a replacement of a canceled session, named after it with "_replacement".
//
// For a denial return [RetryDenied].
func (s *Server) OnRetry(answer func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error)) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.onRetry = answer
}

// The service's default settings: how many retries a session has, and after which errors it has none.
const maxRetries = 2

var denyCodes = []string{"consent_declined", "country_not_supported", "selfie_manipulated", "under_supported_age"}

// failure is one counted failure.
type failure struct {
	id   string // its report or, without one, a number
	code string
}

// count notes the failure that v shows, if it is one, and reports whether it was not counted before.
func (l *session) count(v, last *verificationv1.Verification) bool {
	e, before := v.GetLastError(), l.shown
	l.shown = ""
	none := e.GetCode() == 0 && e.GetStripeCode() == "" && e.GetReason() == "" || e.GetStripeCode() == "abandoned"
	if v.GetStatus() != verificationv1.Status_STATUS_REQUIRES_INPUT || none {
		return false
	}
	id := v.GetLastVerificationReport()
	switch {
	case id != "":
	case before != "" && proto.Equal(e, last.GetLastError()):
		id = before // nothing was submitted since
	default:
		id = strconv.Itoa(len(l.failures))
	}
	granted, counted := l.failures[id]
	l.failures[id] = granted
	l.shown, l.newest = id, failure{id, e.GetStripeCode()}
	return !counted
}

// retryState is what the contract would say, by the state before. failed: one more failure is counted.
func (l *session) retryState(v, last *verificationv1.Verification, failed bool) *verificationv1.RetryState {
	r := proto.CloneOf(v.GetRetry())
	if r == nil {
		r = proto.CloneOf(last.GetRetry())
	}
	if r == nil {
		r = &verificationv1.RetryState{RetriesRemaining: maxRetries}
	}
	if failed {
		r.FailedAttempts++
	}
	r.NextRetryTime = nil
	if r.Denial = stateDenial(v); r.Denial == 0 {
		r.Denial = l.failureDenial(r)
	}
	r.Allowed = r.Denial == 0
	return r
}

// stateDenial is why a state has no retry.
func stateDenial(v *verificationv1.Verification) verificationv1.RetryDenial {
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

// failureDenial is why the failure that is judged has no retry.
func (l *session) failureDenial(r *verificationv1.RetryState) verificationv1.RetryDenial {
	switch {
	case l.newest.id == "" || l.failures[l.newest.id]:
		return verificationv1.RetryDenial_RETRY_DENIAL_UNSPECIFIED
	case slices.Contains(denyCodes, l.newest.code):
		return verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE
	case r.GetRetriesRemaining() == 0:
		return verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED
	}
	return verificationv1.RetryDenial_RETRY_DENIAL_UNSPECIFIED
}

// retry is the rule of OnRetry. It is called with the lock held.
func (s *state) retry(request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
	id := request.GetSessionId()
	for range len(s.sessions) + 1 { // a chain of replacements
		life := s.sessions[id]
		if life == nil {
			return nil, Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
		}
		v := life.latest()
		denial := stateDenial(v)
		switch {
		case !request.GetReplaceClosed():
			return s.grant(life)
		case denial == verificationv1.RetryDenial_RETRY_DENIAL_CANCELED:
			return s.replace(life)
		case denial != verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED:
			return s.grant(life)
		}
		id = v.GetSupersededBy()
	}
	return nil, Error(verificationv1.ErrorReason_ERROR_REASON_CONFLICT)
}

// grant gives a link, or says why not.
func (s *state) grant(life *session) (*verificationv1.RetryVerificationResponse, error) {
	v := life.latest()
	if r := v.GetRetry(); !r.GetAllowed() {
		var wait time.Duration
		if r.GetNextRetryTime() != nil {
			wait = time.Until(r.GetNextRetryTime().AsTime())
		}
		return nil, RetryDenied(r.GetDenial(), v.GetSupersededBy(), wait)
	}
	if id := life.newest.id; id != "" && !life.failures[id] {
		life.failures[id] = true
		v = s.set(useRetry(v), verificationv1.Source_SOURCE_RETRY)
	}
	return s.link(v), nil
}

// replace makes a session in place of a canceled one, and gives a link for it.
func (s *state) replace(life *session) (*verificationv1.RetryVerificationResponse, error) {
	closed := life.latest()
	denial := life.failureDenial(closed.GetRetry())
	if denial == 0 && closed.GetRetry().GetRetriesRemaining() == 0 {
		denial = verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED // a replacement uses a retry of its own
	}
	if denial != 0 {
		return nil, RetryDenied(denial, "", 0)
	}
	closed = s.set(useRetry(closed), verificationv1.Source_SOURCE_RETRY)
	id := closed.GetSessionId()
	next := s.set(&verificationv1.Verification{
		SessionId: id[:min(len(id), 255-len(replacement))] + replacement, Status: verificationv1.Status_STATUS_REQUIRES_INPUT,
		Type: closed.GetType(), StripeType: closed.GetStripeType(), Livemode: closed.GetLivemode(), Account: closed.GetAccount(),
		ClientReferenceId: closed.GetClientReferenceId(),
	}, verificationv1.Source_SOURCE_STRIPE_API)
	next = proto.CloneOf(next)
	next.Retry = proto.CloneOf(closed.GetRetry())
	next = s.set(next, verificationv1.Source_SOURCE_REPLACEMENT)
	closed = proto.CloneOf(closed)
	closed.SupersededBy = next.GetSessionId()
	s.set(closed, verificationv1.Source_SOURCE_REPLACEMENT)
	return s.link(next), nil
}

const replacement = "_replacement"

func useRetry(v *verificationv1.Verification) *verificationv1.Verification {
	v = proto.CloneOf(v)
	v.Retry.RetriesGranted++
	v.Retry.RetriesRemaining = max(0, v.Retry.RetriesRemaining-1)
	return v
}

// link is an answer with a link that was not given before.
func (s *state) link(v *verificationv1.Verification) *verificationv1.RetryVerificationResponse {
	s.links++
	name := v.GetSessionId()
	if s.links > 1 {
		name += "/" + strconv.Itoa(s.links)
	}
	return &verificationv1.RetryVerificationResponse{
		Verification: proto.CloneOf(v), ClientSecret: v.GetSessionId() + "_secret_test" + strconv.Itoa(s.links), Url: "https://verify.stripe.test/start/" + name,
	}
}

// checkReturnURL takes an absolute web address, or none.
func checkReturnURL(text string) error {
	parsed, err := url.Parse(text)
	if text != "" && (len(text) > 2048 || err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http") {
		return invalid("return_url", "is not an absolute http or https address of at most 2048 bytes")
	}
	return nil
}

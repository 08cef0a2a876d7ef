package clienttest

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// OnRetry sets the function that answers RetryVerification. It can return [RetryDenied], [StripeRefused] or [Error] as an
// error. With nil, the rules of the
// service with its default settings apply again:
//
//   - A retry is denied if Verification.retry says so.
//   - Otherwise the answer is a new link. A failed session uses one of its retries, once for each failure, or what an operator
//     allowed.
//   - With replace_closed, a canceled session gets a replacement, whose id is the old one with "_replacement".
//   - With ephemeral_key_version, the answer also has a new key, "ek_test_" and the session's id and a number.
func (s *Server) OnRetry(answer func(*verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error)) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.onRetry = answer
}

// The service's default settings: the number of retries, and the errors after which a retry is denied.
const maxRetries = 2

var denyCodes = []string{"consent_declined", "country_not_supported", "selfie_manipulated", "under_supported_age"}

// failure is one counted failure.
type failure struct {
	id   string // its report, or a number if it has none
	code string
}

// count counts the failure that v shows, if any. It reports whether the failure is a new one.
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

// retryState returns the RetryState of v by the contract. last is the state before. failed adds a failure.
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
	r.NextRetryTime, r.OverrideOpen = nil, l.open(v)
	if r.Denial = stateDenial(v); r.Denial == 0 && !r.OverrideOpen {
		r.Denial = l.failureDenial(r)
	}
	r.Allowed = r.Denial == 0
	return r
}

// stateDenial returns why the state of a session denies a retry.
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
	case v.GetResolution() != nil:
		return verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED
	case v.GetStatus() != verificationv1.Status_STATUS_REQUIRES_INPUT:
		return verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING
	}
	return verificationv1.RetryDenial_RETRY_DENIAL_UNSPECIFIED
}

// failureDenial returns why the newest failure denies a retry.
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

// replacementDenial returns why the replacement of a canceled session is denied.
func (l *session) replacementDenial() verificationv1.RetryDenial {
	v := l.latest()
	denial := l.failureDenial(v.GetRetry())
	switch {
	case v.GetResolution() != nil:
		return verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED
	case l.open(v):
		return verificationv1.RetryDenial_RETRY_DENIAL_UNSPECIFIED
	case denial == 0 && v.GetRetry().GetRetriesRemaining() == 0:
		return verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED // a replacement uses a retry itself
	}
	return denial
}

// retry applies the rules that OnRetry lists. The lock is held.
func (s *state) retry(request *verificationv1.RetryVerificationRequest, principal string) (*verificationv1.RetryVerificationResponse, error) {
	id := request.GetSessionId()
	for range len(s.sessions) + 1 { // a chain of replacements
		life := s.sessions[id]
		if life == nil || life.otherAccount(request.GetAccount()) {
			return nil, Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
		}
		v := life.latest()
		denial := stateDenial(v)
		switch {
		case !request.GetReplaceClosed():
			return s.grant(life, principal)
		case denial == verificationv1.RetryDenial_RETRY_DENIAL_CANCELED:
			return s.replace(life, principal)
		case denial != verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED:
			return s.grant(life, principal)
		}
		id = v.GetSupersededBy()
	}
	return nil, Error(verificationv1.ErrorReason_ERROR_REASON_CONFLICT)
}

// grant returns a link, or the error of a denied retry.
func (s *state) grant(life *session, principal string) (*verificationv1.RetryVerificationResponse, error) {
	v := life.latest()
	if r := v.GetRetry(); !r.GetAllowed() {
		var wait time.Duration
		if r.GetNextRetryTime() != nil {
			wait = time.Until(r.GetNextRetryTime().AsTime())
		}
		return nil, RetryDenied(r.GetDenial(), v.GetSupersededBy(), wait)
	}
	if id := life.newest.id; id != "" && !life.failures[id] {
		used := life.useRetry()
		life.failures[id] = true
		v = s.set(used, verificationv1.Source_SOURCE_RETRY)
		life.note(principal, 0)
	}
	return s.link(v), nil
}

// replace creates the replacement of a canceled session, and returns a link for it.
func (s *state) replace(life *session, principal string) (*verificationv1.RetryVerificationResponse, error) {
	if denial := life.replacementDenial(); denial != 0 {
		return nil, RetryDenied(denial, "", 0)
	}
	closed := s.set(life.useRetry(), verificationv1.Source_SOURCE_RETRY)
	life.note(principal, 0)
	id := closed.GetSessionId()
	next := s.set(&verificationv1.Verification{
		SessionId: id[:min(len(id), 255-len(replacement))] + replacement, Status: verificationv1.Status_STATUS_REQUIRES_INPUT,
		Type: closed.GetType(), StripeType: closed.GetStripeType(), Livemode: closed.GetLivemode(), Account: closed.GetAccount(),
		ClientReferenceId: closed.GetClientReferenceId(),
	}, verificationv1.Source_SOURCE_STRIPE_API)
	next = proto.CloneOf(next)
	next.Retry, next.Replaces = proto.CloneOf(closed.GetRetry()), closed.GetSessionId()
	s.sessions[next.GetSessionId()].inherited = closed.GetRetry().GetFailedAttempts()
	next = s.set(next, verificationv1.Source_SOURCE_REPLACEMENT)
	closed = proto.CloneOf(closed)
	closed.SupersededBy = next.GetSessionId()
	s.set(closed, verificationv1.Source_SOURCE_REPLACEMENT)
	return s.link(next), nil
}

const replacement = "_replacement"

// link returns an answer with a new link.
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

// keyVersion matches the names of Stripe's API versions.
var keyVersion = regexp.MustCompile(`^20\d\d-\d\d-\d\d(\.[a-z]{1,50})?$`)

func checkKeyVersion(version string) error {
	if version != "" && !keyVersion.MatchString(version) {
		return invalid("ephemeral_key_version", "is not an API version of Stripe")
	}
	return nil
}

// checkReturnURL returns an error unless text is an absolute web address or empty.
func checkReturnURL(text string) error {
	parsed, err := url.Parse(text)
	if text != "" && (len(text) > 2048 || err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http") {
		return invalid("return_url", "is not an absolute http or https address of at most 2048 bytes")
	}
	return nil
}

package clienttest

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// allowance is an operator's permission for one more try.
type allowance struct {
	given       bool
	failure     string // the id of the failure that it is for; "": there was none
	replacement bool   // for the replacement of a canceled session
}

// open reports whether an allowance of a session in state v is open: it is for the newest failure, and no grant has used it.
func (l *session) open(v *verificationv1.Verification) bool {
	switch {
	case !l.allowance.given, v.GetSupersededBy() != "", v.GetRedaction() != 0, l.allowance.failure != l.newest.id:
		return false
	case l.allowance.replacement:
		return v.GetStatus() == verificationv1.Status_STATUS_CANCELED
	}
	return !l.failures[l.newest.id]
}

// useRetry returns the state after a grant. A grant that uses an open allowance uses none of the person's own retries.
func (l *session) useRetry() *verificationv1.Verification {
	v := proto.CloneOf(l.latest())
	v.Retry.RetriesGranted++
	if l.open(v) {
		l.allowance = allowance{}
		return v
	}
	v.Retry.RetriesRemaining = max(0, v.Retry.RetriesRemaining-1)
	return v
}

// NameCallers sets the function that returns the name of a caller, such as "token:billing", from the metadata of the call. The
// history and resolutions name the caller by it. With nil, callers have no names, which is the default.
func (s *Server) NameCallers(name func(context.Context) string) {
	s.change(func(st *state) { st.nameCaller = name })
}

// principal returns the name of a caller. The lock is held.
func (s *state) principal(ctx context.Context) string {
	if s.nameCaller == nil {
		return ""
	}
	return s.nameCaller(ctx)
}

// OutcomeChanged returns the error of AllowRetry and ResolveVerification if outcome_revision is that of an earlier outcome.
func OutcomeChanged() error {
	return newErrorOf(codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT, "the session has another outcome by now", nil)
}

// operatorService answers the calls of operators.
type operatorService struct {
	verificationv1.UnimplementedOperatorServiceServer
	state *state
}

func (s *operatorService) AllowRetry(ctx context.Context, request *verificationv1.AllowRetryRequest) (*verificationv1.AllowRetryResponse, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	life, err := s.state.operate(request.GetSessionId(), request.GetOutcomeRevision(), nil)
	if err != nil {
		return nil, err
	}
	v, err := s.state.allowRetry(life, s.state.principal(ctx))
	if err != nil {
		return nil, err
	}
	return &verificationv1.AllowRetryResponse{Verification: v}, nil
}

func (s *operatorService) ResolveVerification(ctx context.Context, request *verificationv1.ResolveVerificationRequest) (*verificationv1.ResolveVerificationResponse, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	life, err := s.state.operate(request.GetSessionId(), request.GetOutcomeRevision(), checkKind(request.GetKind()))
	if err != nil {
		return nil, err
	}
	return &verificationv1.ResolveVerificationResponse{Verification: s.state.resolve(life, request.GetKind(), s.state.principal(ctx))}, nil
}

func checkKind(kind verificationv1.ResolutionKind) error {
	if _, known := verificationv1.ResolutionKind_name[int32(kind)]; !known {
		return invalid("kind", "is not a ResolutionKind")
	}
	return nil
}

// operate returns the session of an operator's call, or the error for its caller. wrong is what is wrong with the rest of the
// request. The lock is held.
func (s *state) operate(id string, outcomeRevision int32, wrong error) (*session, error) {
	if err := s.nextFailure(); err != nil {
		return nil, err
	}
	if err := checkSessionID(id); err != nil {
		return nil, err
	}
	life := s.sessions[id]
	switch {
	case outcomeRevision < 0:
		return nil, invalid("outcome_revision", "is negative")
	case wrong != nil:
		return nil, wrong
	case life == nil:
		return nil, Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	case outcomeRevision != 0 && outcomeRevision != life.latest().GetOutcomeRevision():
		return nil, OutcomeChanged()
	}
	return life, nil
}

// allowRetry opens an allowance for what denies a retry. The lock is held.
func (s *state) allowRetry(life *session, principal string) (*verificationv1.Verification, error) {
	v := life.latest()
	denial := v.GetRetry().GetDenial()
	closed := denial == verificationv1.RetryDenial_RETRY_DENIAL_CANCELED
	if closed {
		denial = life.replacementDenial()
	}
	switch denial {
	case verificationv1.RetryDenial_RETRY_DENIAL_UNSPECIFIED:
		return proto.CloneOf(v), nil
	case verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED, verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE,
		verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN:
	default:
		return nil, RetryDenied(denial, v.GetSupersededBy(), 0)
	}
	life.allowance = allowance{given: true, failure: life.newest.id, replacement: closed}
	v = s.set(proto.CloneOf(v), verificationv1.Source_SOURCE_OPERATOR)
	life.note(principal, verificationv1.Operation_OPERATION_ALLOW_RETRY)
	return proto.CloneOf(v), nil
}

// resolve marks a session as resolved, or takes the mark back. The lock is held.
func (s *state) resolve(life *session, kind verificationv1.ResolutionKind, principal string) *verificationv1.Verification {
	v := proto.CloneOf(life.latest())
	if v.GetResolution().GetKind() == kind {
		return v
	}
	operation := verificationv1.Operation_OPERATION_RESOLVE
	v.Resolution = &verificationv1.Resolution{Kind: kind, Principal: principal, Time: &timestamppb.Timestamp{Seconds: time.Now().Unix()}}
	if kind == 0 {
		operation = verificationv1.Operation_OPERATION_TAKE_BACK
	}
	v = s.set(v, verificationv1.Source_SOURCE_OPERATOR)
	life.note(principal, operation)
	return proto.CloneOf(v)
}

// note completes the newest entry of the history.
func (l *session) note(principal string, operation verificationv1.Operation) {
	entry := l.history[len(l.history)-1]
	entry.Principal, entry.Operation = principal, operation
	entry.RecordTime = timestamppb.Now()
}

package rpc

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// Operation is what an operator's call asks for: a small, fixed set.
type Operation string

// The operations.
const (
	OperationAllowRetry Operation = "allow_retry"
	OperationResolve    Operation = "resolve"
	OperationTakeBack   Operation = "take_back"
)

// OperatorOutcome is how an operator's call ended: a small, fixed set.
type OperatorOutcome string

// The outcomes.
const (
	OperatorChanged   OperatorOutcome = "changed"
	OperatorUnchanged OperatorOutcome = "unchanged" // the session was as asked for already
	OperatorDenied    OperatorOutcome = "denied"    // AllowRetry: a retry is refused for another reason
	OperatorConflict  OperatorOutcome = "conflict"  // the outcome is not the one that the operator saw
	OperatorUnknown   OperatorOutcome = "unknown"   // the session is not known here
	OperatorFailed    OperatorOutcome = "failed"    // the request is wrong, too many changes, the calls are off, or the store is unavailable
)

// maxOperatorTries is how often an operator's call completes a replacement that it finds unfinished.
const maxOperatorTries = 3

// errOperatorsOff is the answer to a call that needs records of format 3.
var errOperatorsOff = status.Error(codes.Unimplemented,
	"RECORD_FORMAT is below 3 here: the calls of operators and comparisons are off; set it to 3 once no replica of the version before runs")

// AllowRetry implements the RPC.
func (s *Service) AllowRetry(ctx context.Context, request *verificationv1.AllowRetryRequest) (*verificationv1.AllowRetryResponse, error) {
	shown, err := s.operate(ctx, &operatorCall{
		operation: OperationAllowRetry, id: request.GetSessionId(), seen: request.GetOutcomeRevision(),
		text: "an operator allowed one more try",
		change: func(current verification.Session) (verification.Session, verification.Decision, bool) {
			return verification.AllowRetry(current, s.config.Policy, s.config.Clock(), s.config.Principal(ctx))
		},
	})
	if err != nil {
		return nil, err
	}
	return &verificationv1.AllowRetryResponse{Verification: shown}, nil
}

// ResolveVerification implements the RPC.
func (s *Service) ResolveVerification(ctx context.Context, request *verificationv1.ResolveVerificationRequest) (*verificationv1.ResolveVerificationResponse, error) {
	kind := request.GetKind()
	call := &operatorCall{
		operation: OperationResolve, id: request.GetSessionId(), seen: request.GetOutcomeRevision(), invalid: checkResolution(kind),
		text: "an operator resolved a session", attrs: []any{"kind", kind.String()},
		change: func(current verification.Session) (verification.Session, verification.Decision, bool) {
			next, changed := verification.ResolveVerification(current, verification.ResolutionKind(kind), s.config.Clock(), s.config.Principal(ctx))
			return next, verification.Decision{}, changed
		},
	}
	if kind == verificationv1.ResolutionKind_RESOLUTION_KIND_UNSPECIFIED {
		call.operation, call.text, call.attrs = OperationTakeBack, "an operator took a resolution back", nil
	}
	shown, err := s.operate(ctx, call)
	if err != nil {
		return nil, err
	}
	return &verificationv1.ResolveVerificationResponse{Verification: shown}, nil
}

func checkResolution(kind verificationv1.ResolutionKind) error {
	if _, known := verificationv1.ResolutionKind_name[int32(kind)]; !known {
		return invalid("kind", "%d is not a kind of this version", kind)
	}
	return nil
}

// operatorCall is a call of OperatorService.
type operatorCall struct {
	operation Operation
	id        string
	seen      int32 // the outcome_revision that the operator saw; 0: any
	invalid   error // what is wrong with the rest of the request
	text      string
	attrs     []any
	// change returns the next record. changed reports whether it must be stored.
	change func(current verification.Session) (next verification.Session, decision verification.Decision, changed bool)
	// made has the entries that this call tried to commit. If the answer to a commit is lost, the store calls again with the
	// record of this commit.
	made []verification.Entry
}

// isStored reports whether a commit of this call is in the record.
func (c *operatorCall) isStored(current verification.Session) bool {
	return slices.ContainsFunc(c.made, current.Holds)
}

// isDone reports whether nothing is left to do for a call of which a commit is stored. One call allows one try. A mark that another
// operator replaced since is set again: the caller is answered that it holds.
func (c *operatorCall) isDone(current verification.Session) bool {
	if c.operation == OperationAllowRetry {
		return true
	}
	_, _, again := c.change(current)
	return !again
}

func (c *operatorCall) check() error {
	if c.seen < 0 {
		return cmp.Or(checkSessionID(c.id), invalid("outcome_revision", "is negative; leave it out for any outcome"))
	}
	return cmp.Or(checkSessionID(c.id), c.invalid)
}

// operate makes the change of an operator's call, and returns the session for the caller. It returns the status error of a call
// that changes nothing because it must not.
func (s *Service) operate(ctx context.Context, call *operatorCall) (*verificationv1.Verification, error) {
	session, changed, err := s.commitOperation(ctx, call)
	if err != nil {
		err = s.fail(ctx, err)
		s.config.ObserveOperator(call.operation, operatorFailure(err))
		return nil, err
	}
	shown := s.config.current(ctx, &session)
	if !changed {
		s.config.ObserveOperator(call.operation, OperatorUnchanged)
		return s.forCaller(ctx, shown), nil
	}
	s.config.ObserveOperator(call.operation, OperatorChanged)
	s.config.Logger.InfoContext(ctx, call.text, append([]any{
		"session_id", session.ID, "outcome_revision", shown.GetOutcomeRevision(), "principal", s.config.Principal(ctx),
	}, call.attrs...)...)
	return s.forCaller(ctx, shown), nil
}

// commitOperation commits the change in the store. Stripe is not asked: an operator decides by what this service knows.
func (s *Service) commitOperation(ctx context.Context, call *operatorCall) (session verification.Session, changed bool, err error) {
	if !s.config.Operators {
		return session, false, errOperatorsOff
	}
	if err := call.check(); err != nil {
		return session, false, err
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	if session, err = s.config.Live.Get(ctx, call.id); err != nil {
		return session, false, unknownHere(err)
	}
	for range maxOperatorTries {
		// The counts of the predecessor decide too: what is due after a crash comes first, as for a retry.
		checked := session.UnfinishedPredecessor()
		if session, err = s.config.Ingest.Inherit(ctx, session); err != nil {
			return session, false, unknownHere(err)
		}
		var due bool
		session, changed, due, err = s.tryOperation(ctx, call, checked)
		if err != nil || !due {
			return session, changed, err
		}
	}
	return session, false, errOvertaken
}

// tryOperation commits the change, unless the session has claimed since to replace one that was not checked.
func (s *Service) tryOperation(ctx context.Context, call *operatorCall, checked string) (session verification.Session, changed, due bool, err error) {
	var decision verification.Decision
	session, err = s.config.Live.Update(ctx, call.id, func(current verification.Session) (next verification.Session, write bool, err error) {
		changed, due, decision = false, false, verification.Decision{}
		stored := call.isStored(current)
		if stored && call.isDone(current) {
			changed = true
			return current, false, nil
		}
		if !current.Exists() {
			return current, false, errUnknownHere
		}
		if owed := current.UnfinishedPredecessor(); owed != "" && owed != checked {
			due = true
			return current, false, nil
		}
		if outcome := current.Current().Outcome.Revision; call.seen != 0 && call.seen != outcome {
			changed = stored
			return current, false, &outcomeChangedError{now: outcome}
		}
		if next, decision, changed = call.change(current); changed {
			if again := current.NextOperation(s.config.Clock()); !again.IsZero() {
				changed = stored
				return current, false, &operationLimitError{again}
			}
			call.made = append(call.made, next.History[len(next.History)-1])
		}
		return next, changed, nil
	})
	if err != nil && changed {
		s.config.Logger.WarnContext(ctx, "an operator's call failed, and its change can be stored",
			"operation", call.operation, "session_id", call.id, "principal", s.config.Principal(ctx), "error", err)
	}
	if err == nil && decision.Denial != verification.DenialNone {
		err = deniedBy(session, decision)
	}
	return session, changed, due, err
}

// unknownHere returns the error for an operator if the store has no record of a session. Stripe was not asked.
func unknownHere(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return errUnknownHere
	}
	return err
}

// operatorFailure returns the outcome of a call that ended with a status error.
func operatorFailure(err error) OperatorOutcome {
	switch code := status.Code(err); {
	case denialOf(err) != "":
		return OperatorDenied
	case code == codes.NotFound:
		return OperatorUnknown
	case isOutcomeChange(err):
		return OperatorConflict
	default:
		return OperatorFailed
	}
}

package client

import (
	"context"
	"errors"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// OperatorOption changes one call of AllowRetry or Resolve. Make one with [SeenOutcome].
type OperatorOption func(*operatorCall)

// operatorCall is the part of a request that the two calls have in common.
type operatorCall struct{ outcomeRevision int32 }

// SeenOutcome makes the call change nothing if the session has another outcome than this one by now: it fails with
// [ErrOutcomeChanged]. revision is Verification.outcome_revision of the session that the operator saw. 0 is no condition. Use it
// wherever a person decides.
//
// It guards against another outcome only. What operators do is no outcome: neither a resolution nor an allowance changes
// outcome_revision. Of two operators that resolve a session, the last one holds. Compare Verification.resolution before the call
// if your operators must see each other's marks first.
func SeenOutcome(revision int32) OperatorOption {
	return func(call *operatorCall) { call.outcomeRevision = revision }
}

func newOperatorCall(options []OperatorOption) operatorCall {
	var call operatorCall
	for _, option := range options {
		option(&call)
	}
	return call
}

// AllowRetry gives the person of a session one more try, although the limit is reached, another try cannot fix the failure, or it
// is too early. If the session is canceled, the try is for its replacement. It returns the session. It changes nothing if a retry is allowed
// already; otherwise retry.override_open of the answer is set. The session's history names the caller.
//
// The caller needs the right override. Repeating the call is safe with [SeenOutcome]. Without it, a repeated call can allow a
// further try, if the person has used the first one and failed meanwhile. Tell a person that a try was allowed only if
// retry.override_open is set in the answer.
//
// It returns a [*RetryDeniedError] if a retry is denied for a reason that an operator cannot lift, [ErrOutcomeChanged],
// [ErrNotFound] if the service does not know the session, and the errors of every call (see [Error]). It does not ask Stripe.
func (c *Client) AllowRetry(ctx context.Context, sessionID string, options ...OperatorOption) (*verificationv1.Verification, error) {
	if err := checkText("the session id", sessionID); err != nil {
		return nil, err
	}
	ctx, cancel := withDefaultTimeout(ctx, statusTimeout)
	defer cancel()
	response, err := c.operators.AllowRetry(ctx, &verificationv1.AllowRetryRequest{
		SessionId: sessionID, OutcomeRevision: newOperatorCall(options).outcomeRevision,
	})
	if err != nil {
		return nil, operatorError(ctx, err)
	}
	return response.GetVerification(), nil
}

// Resolve notes how an operator dealt with the person of a session elsewhere. RESOLUTION_KIND_UNSPECIFIED takes an earlier
// resolution back. It returns the session. A resolved session counts as settled, refuses retries, and leaves the lists of people
// that are blocked; its status stays as it is. The call changes nothing if the session is resolved in this way already. The
// session's history names the caller.
//
// The caller needs the right override. [SeenOutcome] guards against another outcome, not against another operator: the last
// resolution holds, and a repeated call can replace what another operator noted meanwhile.
//
// It returns [ErrOutcomeChanged], [ErrNotFound] if the service does not know the session, and the errors of every call (see
// [Error]). It does not ask Stripe.
func (c *Client) Resolve(ctx context.Context, sessionID string, kind verificationv1.ResolutionKind, options ...OperatorOption) (*verificationv1.Verification, error) {
	if err := checkText("the session id", sessionID); err != nil {
		return nil, err
	}
	ctx, cancel := withDefaultTimeout(ctx, statusTimeout)
	defer cancel()
	response, err := c.operators.ResolveVerification(ctx, &verificationv1.ResolveVerificationRequest{
		SessionId: sessionID, Kind: kind, OutcomeRevision: newOperatorCall(options).outcomeRevision,
	})
	if err != nil {
		return nil, operatorError(ctx, err)
	}
	return response.GetVerification(), nil
}

// operatorError is asError for an operator's call. A conflict for which the service asks for no wait is that of SeenOutcome. If
// writers were in each other's way, the service asks for a wait.
func operatorError(ctx context.Context, err error) error {
	err = asError(ctx, err)
	var failed *Error
	if errors.As(err, &failed) && failed.Reason == verificationv1.ErrorReason_ERROR_REASON_CONFLICT && failed.RetryAfter == 0 {
		failed.outcomeChanged = true
	}
	return err
}

package rpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/comparison"
	"example.com/verification-status/server/internal/consumers"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// domain is the ErrorInfo domain of every error of this service.
const domain = "verification.v1"

// The delays of RetryInfo: retryAfter if nothing better is known; operatorAfter if an operator must act first.
// readAfter bounds the delay of reads and watches, since the session can come by webhook at any moment. Only a
// retry needs Stripe; its delay is bounded by retryDayAfter.
const (
	retryAfter    = time.Second
	operatorAfter = time.Minute
	readAfter     = 30 * time.Second
	retryDayAfter = 24 * time.Hour
)

// busyAfter is the least delay of RetryInfo for a stream whose consumer is busy: the lease can end within a millisecond.
const busyAfter = 100 * time.Millisecond

// Errors of this package, by which calls and streams end.
var (
	errDraining      = errors.New("this server is stopping")
	errStreamExpired = errors.New("the stream has reached its maximum age")
	errStalled       = errors.New("the caller reads too slowly")
	errRevisionLost  = errors.New("min_revision was never reached, or the store has lost it")
	errNotYet        = errors.New("min_revision was not reached within the caller's deadline")
	errTokenExpired  = errors.New("the changes after the resume token are no longer kept")
	errOvertaken     = errors.New("other changes overtook this call, several times in a row")
	errWoken         = errors.New("the session arrived while Stripe was asked for it") // ends a read, not a stream
	errNoLink        = errors.New("Stripe gave no link for the session")
	errOtherAccount  = errors.New("the session is of another account than the caller names")
	errListsBusy     = errors.New("the call got no slot to read a list within its deadline")
	errUnknownHere   = errors.New("no such session is known here, and Stripe was not asked")

	errNoConsumer      = errors.New("there is no consumer of this name")
	errConsumerDeleted = errors.New("the consumer was deleted while its stream was open")
)

// deniedError is a retry that is refused.
type deniedError struct {
	decision     verification.Decision
	supersededBy string
	account      string // of the session, and so of its successor
}

// deniedBy returns the error for a decision about a session.
func deniedBy(session verification.Session, decision verification.Decision) *deniedError {
	return &deniedError{decision: decision, supersededBy: session.SupersededBy, account: session.Account}
}

func (e *deniedError) Error() string { return "no retry: " + denialText(e.decision.Denial) }

// operationLimitError is a change by an operator of a session that operators have changed too often.
type operationLimitError struct {
	again time.Time
}

func (*operationLimitError) Error() string { return "operators have changed the session too often" }

// outcomeChangedError is an operator's call about another outcome than the one that the session has now.
type outcomeChangedError struct {
	now int32 // the outcome_revision
}

func (*outcomeChangedError) Error() string { return "the session has another outcome by now" }

// metadataOutcome is the key in the metadata of ErrorInfo for the outcome_revision that a session has now.
const metadataOutcome = "outcome_revision"

// outcomeChanged returns the status error. It has no RetryInfo, unlike the other conflicts: a person must look at the new outcome
// before the call can be made again.
func outcomeChanged(e *outcomeChangedError) error {
	return newStatus(kind{codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT,
		"the session has another outcome by now than outcome_revision says: look at the session again, then decide", false},
		map[string]string{metadataOutcome: strconv.Itoa(int(e.now))})
}

// isOutcomeChange reports whether a status error is one of outcomeChanged.
func isOutcomeChange(err error) bool {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetMetadata()[metadataOutcome] != "" {
			return true
		}
	}
	return false
}

// kind is what callers see of an error.
type kind struct {
	code   codes.Code
	reason verificationv1.ErrorReason
	text   string // what happened, and what to do
	retry  bool   // with RetryInfo
}

// kinds maps errors to kinds. The first match wins, which matters for an error that wraps two of them.
var kinds = []struct {
	err error
	kind
}{
	{resumetoken.ErrInvalid, kind{codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID,
		"resume_token is not a token of this watch or consumer; send the last token of its stream", false}},
	{errTokenExpired, kind{codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED,
		"the changes after the resume token are no longer kept; start again without a token", false}},
	{store.ErrTrimmed, kind{codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED,
		"the changes after the resume token are no longer kept; start again without a token", false}},
	{store.ErrRewound, kind{codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED,
		"the store has lost what the resume token points to; start again without a token", false}},
	{errRevisionLost, kind{codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST,
		"min_revision was never reached, or the store has lost it; ask again without it", false}},
	{errDraining, kind{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_DRAINING,
		"this server is stopping; resume on another", true}},
	{errStreamExpired, kind{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STREAM_EXPIRED,
		"the stream has reached its maximum age; resume with the last token", true}},
	{errStalled, kind{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_STREAM_STALLED,
		"the caller read too slowly; resume with the last token", false}},
	{errOvertaken, kind{codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT,
		"the session changed while it was read; try again", true}},
	{store.ErrNotFound, kind{codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND,
		"no such verification session is known here or at Stripe", false}},
	{errOtherAccount, kind{codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND,
		"no such verification session is known here in this account", false}},
	{comparison.ErrNotComparable, kind{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_NOT_COMPARABLE,
		"there is nothing to compare: the session is not verified, or it is redacted", false}},
	{errUnknownHere, kind{codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND,
		"no such verification session is known here; GetStatus reads it from Stripe", false}},
	// Stripe is asked about sessions that are not known here too, but then the error is store.ErrNotFound.
	{verification.ErrStripeUnknown, kind{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_SESSION_UNKNOWN,
		"this server knows the session, but Stripe does not know it under this server's API key: the session was deleted at Stripe, or the key is of another account or mode than the webhook; its operator must check STRIPE_API_KEY", false}},
	{verification.ErrStripeNotConfigured, kind{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_NOT_CONFIGURED,
		"this server has no Stripe API key; its operator must set STRIPE_API_KEY", false}},
	{verification.ErrStripeExcluded, kind{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_NOT_CONFIGURED,
		"the session is of a connected account that this server is not set up for; its operator must add it to STRIPE_ACCOUNTS", false}},
	{verification.ErrStripeUnauthorized, kind{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE,
		"Stripe refuses this service's API key; its operator must check it", true}},
	{verification.ErrStripeShare, kind{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE,
		"this caller's share of this service's Stripe reads is spent for today; try again later", true}},
	{verification.ErrStripeBudget, kind{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE,
		"this service's budget of Stripe reads is spent for today; try again later", true}},
	{verification.ErrStripeBusy, kind{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE,
		"too many calls wait for Stripe here; try again", true}},
	{verification.ErrStripeUnavailable, kind{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STRIPE_UNAVAILABLE,
		"Stripe cannot be reached; try again", true}},
	{errNoConsumer, kind{codes.NotFound, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND,
		"there is no consumer of this name; if there was one, it was deleted or the store has lost it", false}},
	{errConsumerDeleted, kind{codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND,
		"the consumer was deleted, or the store has lost it", false}},
	{consumers.ErrExpired, kind{codes.OutOfRange, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_EXPIRED,
		"changes that this consumer has not acknowledged are no longer kept; delete the consumer, create it again, and then read the sessions that matter", false}},
	{consumers.ErrNotOwner, kind{codes.PermissionDenied, verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED,
		"another caller created this consumer; use another name", false}},
	{store.ErrTooManyConsumers, kind{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_CONSUMERS,
		fmt.Sprintf("there are %d consumers already; delete one first", store.MaxConsumers), false}},
	{store.ErrConsumerShare, kind{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_TOO_MANY_CONSUMERS,
		"this caller has created its share of the consumers; delete one first (CALLER_SHARE_PERCENT)", false}},
	{errListsBusy, kind{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_OVERLOADED,
		"too many calls that read lists of sessions are under way on this server; try again, or another", true}},
	{store.ErrConflict, kind{codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONFLICT,
		"too many writers at once; try again", true}},
	{store.ErrUnavailable, kind{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE,
		"the store cannot be reached; try again", true}},
}

// fail returns the status error for a failed read or watch. An error that it does not know is a fault of this service:
// it is logged, and answered as INTERNAL without its text, which can hold anything.
func (s *Service) fail(ctx context.Context, err error) error { return s.failure(ctx, err, readAfter) }

// failRetry is fail for RetryVerification.
func (s *Service) failRetry(ctx context.Context, err error) error {
	return s.failure(ctx, err, retryDayAfter)
}

// failure is fail with a bound on the delay of RetryInfo. The delay of a cooldown has no bound.
func (s *Service) failure(ctx context.Context, err error, longest time.Duration) error {
	var wrong *invalidError
	if errors.As(err, &wrong) {
		return newStatus(kind{codes.InvalidArgument, verificationv1.ErrorReason_ERROR_REASON_INVALID_REQUEST, wrong.Error(), false}, nil,
			badRequest(wrong.field, wrong.reason))
	}
	var denied *deniedError
	if errors.As(err, &denied) {
		return s.denied(denied)
	}
	var limited *comparisonLimitError
	if errors.As(err, &limited) {
		if s.config.ComparisonLimit == 0 {
			return newStatus(kind{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_COMPARISON_LIMIT,
				"comparisons are off at this server (COMPARISON_LIMIT is 0)", false}, nil)
		}
		return newStatus(kind{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_COMPARISON_LIMIT,
			"the comparisons of this session are used up; ask again when RetryInfo says (COMPARISON_LIMIT)", false}, nil,
			retryInfo(limited.again.Sub(s.config.Clock())))
	}
	var often *operationLimitError
	if errors.As(err, &often) {
		return newStatus(kind{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED,
			fmt.Sprintf("operators have changed this session %d times within an hour; try again when RetryInfo says", verification.MaxOperations), false}, nil,
			retryInfo(often.again.Sub(s.config.Clock())))
	}
	var repeated *linkLimitError
	if errors.As(err, &repeated) {
		return newStatus(kind{codes.ResourceExhausted, verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED,
			"many links of this session were made, and none has led to a new attempt; try again when RetryInfo says", false}, nil,
			retryInfo(min(repeated.wait, readAfter)))
	}
	var changed *outcomeChangedError
	if errors.As(err, &changed) {
		return outcomeChanged(changed)
	}
	var busy *consumers.BusyError
	if errors.As(err, &busy) {
		return newStatus(kind{codes.Aborted, verificationv1.ErrorReason_ERROR_REASON_CONSUMER_BUSY, "another stream of this consumer is open", false}, nil,
			retryInfo(max(busy.RetryAfter, busyAfter)))
	}
	if code, text := refusal(err); code != "" {
		return newStatus(kind{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_STRIPE_REFUSED, text, false},
			map[string]string{"stripe_code": code})
	}
	if sent, ok := status.FromError(err); ok {
		return sent.Err() // gRPC's own error: the caller of a send has gone
	}
	if errors.Is(err, errNotYet) {
		return status.Error(codes.DeadlineExceeded, "min_revision was not reached within the deadline; ask again with more than two seconds")
	}
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if late && ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err() // the caller's context ended, whatever call that canceled
	}
	for _, known := range kinds {
		if errors.Is(err, known.err) {
			if errors.Is(known.err, verification.ErrStripeBudget) {
				s.config.OverBudget(ctx, errors.Is(known.err, verification.ErrStripeShare))
			}
			if errors.Is(known.err, store.ErrNotFound) && s.config.Stripe == nil { // Stripe can have it
				known.text = "no such verification session is known here; this server has no Stripe API key, so Stripe was not asked"
			}
			if known.reason == verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_INVALID {
				return newStatus(known.kind, nil, badRequest("resume_token", "is not a token of this watch or consumer"))
			}
			return newStatus(known.kind, nil, s.retryInfoFor(known.err, longest)...)
		}
	}
	if late {
		// The caller still waits: this service's own time limit for the store has passed.
		return newStatus(kind{codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE,
			"the store did not answer in time; try again", true}, nil)
	}
	s.config.Logger.ErrorContext(ctx, "unmapped error, answering INTERNAL", "error", err)
	return newStatus(kind{codes.Internal, verificationv1.ErrorReason_ERROR_REASON_INTERNAL,
		"a fault of this service; its log says more", false}, nil)
}

// The values of stripe_code that have a text of their own.
const (
	codeNoLink         = "no_link"         // of errNoLink: this service's own code, since Stripe's answer is a success
	codeAccountInvalid = "account_invalid" // Stripe's code for a connected account that gives no access
)

// refusal returns the stripe_code and the text of a refusal by Stripe. It returns no code for another error.
func refusal(err error) (code, text string) {
	var refused *verification.StripeRefusedError
	switch {
	case errors.Is(err, errNoLink):
		return codeNoLink, "Stripe gives no link for this session, although it requires input: cancel it at Stripe, then replace_closed creates another one"
	case !errors.As(err, &refused):
		return "", ""
	case refused.Code == codeAccountInvalid:
		return refused.Code, "the connected account of the session gives this service no access; it must grant access again"
	default:
		return refused.Code, "Stripe refused the call: " + refused.Code
	}
}

// retryInfoFor returns the RetryInfo of an error that lasts longer than a second: a caller that obeys it must not retry
// all day.
func (s *Service) retryInfoFor(err error, longest time.Duration) []protoadapt.MessageV1 {
	switch {
	case errors.Is(err, verification.ErrStripeBudget):
		now := s.config.Clock().UTC()
		return []protoadapt.MessageV1{retryInfo(min(longest, now.Truncate(24*time.Hour).Add(24*time.Hour).Sub(now)))}
	case errors.Is(err, verification.ErrStripeUnauthorized):
		return []protoadapt.MessageV1{retryInfo(min(longest, operatorAfter))}
	default:
		return nil
	}
}

// denied returns the status error of a denied retry. It says why, and for a cooldown from when on it is allowed.
func (s *Service) denied(e *deniedError) error {
	denial := verificationv1.RetryDenial(e.decision.Denial)
	metadata := map[string]string{"denial": denial.String()}
	if e.supersededBy != "" {
		metadata["superseded_by"] = e.supersededBy
	}
	details := []protoadapt.MessageV1{protoadapt.MessageV1Of(&errdetails.PreconditionFailure{
		Violations: []*errdetails.PreconditionFailure_Violation{{
			Type: denial.String(), Subject: "session_id", Description: denialText(e.decision.Denial),
		}},
	})}
	if e.decision.Denial == verification.DenialCooldown {
		details = append(details, retryInfo(e.decision.NextRetry.Sub(s.config.Clock())))
	}
	return newStatus(kind{codes.FailedPrecondition, verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED, e.Error(), false},
		metadata, details...)
}

func newStatus(k kind, metadata map[string]string, details ...protoadapt.MessageV1) error {
	all := []protoadapt.MessageV1{protoadapt.MessageV1Of(&errdetails.ErrorInfo{
		Reason: k.reason.String(), Domain: domain, Metadata: metadata,
	})}
	all = append(all, details...)
	if k.retry && len(details) == 0 {
		all = append(all, retryInfo(retryAfter))
	}
	detailed, err := status.New(k.code, k.text).WithDetails(all...)
	if err != nil {
		return status.Error(k.code, k.text)
	}
	return detailed.Err()
}

func badRequest(field, description string) protoadapt.MessageV1 {
	return protoadapt.MessageV1Of(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: description}},
	})
}

func retryInfo(delay time.Duration) protoadapt.MessageV1 {
	return protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(max(delay, 0))})
}

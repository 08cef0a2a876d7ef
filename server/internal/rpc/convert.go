package rpc

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// current returns the session as it is now, for callers.
func (c *Config) current(ctx context.Context, session *verification.Session) *verificationv1.Verification {
	return c.asOf(ctx, *session, session.Current())
}

// asOf returns the session as of one revision, for the caller of the call with this context. Fields that depend on the clock and
// the policy are as of now.
func (c *Config) asOf(ctx context.Context, session verification.Session, change verification.Change) *verificationv1.Verification {
	state := &change.State
	return &verificationv1.Verification{
		SessionId:              session.ID,
		Status:                 statusOf(state.Status),
		Type:                   typeOf(state.Type),
		LastError:              errorOf(state.Error),
		ClientReferenceId:      state.Reference,
		Livemode:               session.Livemode,
		CreateTime:             seconds(state.Created),
		UpdateTime:             seconds(state.UpdateTime),
		Revision:               change.Revision,
		Retry:                  c.retryState(state),
		Redaction:              verificationv1.Redaction(state.Redaction),
		SupersededBy:           state.SupersededBy,
		Account:                session.Account,
		StripeStatus:           state.Status,
		StripeType:             state.Type,
		LastVerificationReport: state.Report,
		Settled:                state.Settled(),
		OutcomeRevision:        change.Outcome.Revision,
		OutcomeId:              change.Outcome.ID.String(),
		Replaces:               change.Replaces,
		Resolution:             c.resolution(ctx, state.Resolution),
	}
}

// resolution returns the mark of an operator, or nil if there is none. Only some callers see the operator's name.
func (c *Config) resolution(ctx context.Context, r verification.Resolution) *verificationv1.Resolution {
	if r.Kind == verification.ResolutionNone {
		return nil
	}
	shown := &verificationv1.Resolution{Kind: verificationv1.ResolutionKind(r.Kind), Time: seconds(r.Second)}
	if r.Principal != "" && c.MayNameOperators(ctx) {
		shown.Principal = r.Principal
	}
	return shown
}

// retryState returns what RetryVerification would answer now.
func (c *Config) retryState(state *verification.State) *verificationv1.RetryState {
	decision := c.Policy.Judge(*state, c.Clock())
	retry := &verificationv1.RetryState{
		FailedAttempts:   state.FailedAttempts,
		RetriesGranted:   state.RetriesGranted,
		RetriesRemaining: c.Policy.Remaining(*state),
		Allowed:          decision.Denial == verification.DenialNone,
		Denial:           verificationv1.RetryDenial(decision.Denial),
		OverrideOpen:     state.OverrideOpen(),
	}
	if !decision.NextRetry.IsZero() {
		retry.NextRetryTime = timestamppb.New(decision.NextRetry)
	}
	return retry
}

func seconds(unix int64) *timestamppb.Timestamp {
	if unix == 0 {
		return nil
	}
	return &timestamppb.Timestamp{Seconds: unix}
}

var statuses = map[string]verificationv1.Status{
	verification.StatusRequiresInput: verificationv1.Status_STATUS_REQUIRES_INPUT,
	verification.StatusProcessing:    verificationv1.Status_STATUS_PROCESSING,
	verification.StatusVerified:      verificationv1.Status_STATUS_VERIFIED,
	verification.StatusCanceled:      verificationv1.Status_STATUS_CANCELED,
}

func statusOf(stripe string) verificationv1.Status { return statuses[stripe] }

// types maps Stripe's names to the contract's types. Stripe's names are the contract's in lower case.
var types = func() map[string]verificationv1.VerificationType {
	byName := make(map[string]verificationv1.VerificationType)
	for name, value := range verificationv1.VerificationType_value {
		byName[strings.ToLower(strings.TrimPrefix(name, "VERIFICATION_TYPE_"))] = verificationv1.VerificationType(value)
	}
	return byName
}()

func typeOf(stripe string) verificationv1.VerificationType { return types[stripe] }

// errorOf maps Stripe's error. A code that the contract does not have becomes OTHER; stripe_code still shows it.
func errorOf(stripe verification.Error) *verificationv1.VerificationError {
	if stripe.IsZero() {
		return nil
	}
	return &verificationv1.VerificationError{
		Code:       codeOf(stripe.Code),
		StripeCode: stripe.Code,
		Reason:     stripe.Reason,
		Category:   categoryOf(stripe.Code),
	}
}

// codeOf maps Stripe's error code. The contract's names are Stripe's codes in upper case; a test holds them to Stripe's
// list.
func codeOf(stripe string) verificationv1.ErrorCode {
	if stripe == "" {
		return verificationv1.ErrorCode_ERROR_CODE_UNSPECIFIED
	}
	code, known := verificationv1.ErrorCode_value["ERROR_CODE_"+strings.ToUpper(stripe)]
	if !known || stripe == "unspecified" || stripe != strings.ToLower(stripe) {
		return verificationv1.ErrorCode_ERROR_CODE_OTHER
	}
	return verificationv1.ErrorCode(code)
}

// KnowsErrorCode reports whether one of Stripe's error codes has a name of its own in the contract.
func KnowsErrorCode(stripe string) bool {
	return codeOf(stripe) > verificationv1.ErrorCode_ERROR_CODE_OTHER
}

// categoryOf goes by the code's first word, so that a future code has its category too. Codes about the session as a
// whole have no such word, and are listed.
func categoryOf(stripe string) verificationv1.ErrorCategory {
	switch stripe {
	case "abandoned", "consent_declined", "country_not_supported", "device_not_supported", "under_supported_age":
		return verificationv1.ErrorCategory_ERROR_CATEGORY_SESSION
	}
	for _, known := range []struct {
		prefix   string
		category verificationv1.ErrorCategory
	}{
		{"document_", verificationv1.ErrorCategory_ERROR_CATEGORY_DOCUMENT},
		{"selfie_", verificationv1.ErrorCategory_ERROR_CATEGORY_SELFIE},
		{"id_number_", verificationv1.ErrorCategory_ERROR_CATEGORY_ID_NUMBER},
		{"address_", verificationv1.ErrorCategory_ERROR_CATEGORY_ADDRESS},
		{"email_", verificationv1.ErrorCategory_ERROR_CATEGORY_EMAIL},
		{"phone_", verificationv1.ErrorCategory_ERROR_CATEGORY_PHONE},
	} {
		if strings.HasPrefix(stripe, known.prefix) {
			return known.category
		}
	}
	return verificationv1.ErrorCategory_ERROR_CATEGORY_UNSPECIFIED
}

// denialText returns why a retry is refused, for people.
func denialText(denial verification.Denial) string {
	switch denial {
	case verification.DenialProcessing:
		return "the last submission is still being checked"
	case verification.DenialAlreadyVerified:
		return "the person is verified already"
	case verification.DenialCanceled:
		return "the session is closed; replace_closed would create a new one"
	case verification.DenialRedacted:
		return "the session's data was erased, or is being erased"
	case verification.DenialLimitReached:
		return "the person had as many attempts as they get; an operator can allow one more try (AllowRetry), or offer another way"
	case verification.DenialNotRetryable:
		return "trying again cannot fix this failure; an operator can allow one more try (AllowRetry), or offer another way"
	case verification.DenialSuperseded:
		return "another session replaced this one; see superseded_by"
	case verification.DenialCooldown:
		return "it is too soon after the last failure; an operator can allow one more try now (AllowRetry)"
	case verification.DenialResolved:
		return "an operator dealt with the person elsewhere; see resolution"
	default:
		return "it is allowed"
	}
}

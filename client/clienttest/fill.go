package clienttest

import (
	"cmp"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// fill sets the missing fields of a state, by the state before it, which can be nil.
func fill(v, last *verificationv1.Verification, now int64) {
	v.Redaction = max(v.GetRedaction(), last.GetRedaction())
	v.ClientReferenceId = cmp.Or(v.GetClientReferenceId(), last.GetClientReferenceId())
	v.Account = cmp.Or(v.GetAccount(), last.GetAccount())
	v.Replaces = cmp.Or(v.GetReplaces(), last.GetReplaces())
	v.SupersededBy = cmp.Or(v.GetSupersededBy(), last.GetSupersededBy())
	if v.Resolution == nil {
		v.Resolution = proto.CloneOf(last.GetResolution())
	}
	if v.GetResolution().GetKind() == 0 {
		v.Resolution = nil
	}
	if v.GetType() == 0 && v.GetStripeType() == "" {
		v.Type, v.StripeType = last.GetType(), last.GetStripeType()
	}
	v.Settled = v.GetStatus() == verificationv1.Status_STATUS_VERIFIED || v.GetStatus() == verificationv1.Status_STATUS_CANCELED ||
		v.GetRedaction() == verificationv1.Redaction_REDACTION_REDACTED || v.GetResolution() != nil
	if v.GetStatus() != 0 {
		v.StripeStatus = cmp.Or(v.GetStripeStatus(), stripesName(v.GetStatus().String(), "STATUS_"))
	}
	if v.GetType() != 0 {
		v.StripeType = cmp.Or(v.GetStripeType(), stripesName(v.GetType().String(), "VERIFICATION_TYPE_"))
	}
	if e := v.GetLastError(); e.GetCode() > verificationv1.ErrorCode_ERROR_CODE_OTHER {
		e.StripeCode = cmp.Or(e.GetStripeCode(), stripesName(e.GetCode().String(), "ERROR_CODE_"))
		e.Category = cmp.Or(e.GetCategory(), category(e.GetCode().String()))
	}
	if last.GetCreateTime() != nil {
		v.CreateTime = last.GetCreateTime() // it never changes
	}
	if v.CreateTime == nil {
		v.CreateTime = &timestamppb.Timestamp{Seconds: now}
	}
	if v.UpdateTime == nil {
		v.UpdateTime = &timestamppb.Timestamp{Seconds: now}
	}
}

// stripesName returns Stripe's name of a value of the contract, which is the contract's name in lower case.
func stripesName(name, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(name, prefix))
}

// category returns the category of an error code, by the first word of its name. Codes of the session as a whole have no
// such word.
func category(code string) verificationv1.ErrorCategory {
	for number, name := range verificationv1.ErrorCategory_name {
		if strings.HasPrefix(code, "ERROR_CODE_"+strings.TrimPrefix(name, "ERROR_CATEGORY_")+"_") {
			return verificationv1.ErrorCategory(number)
		}
	}
	return verificationv1.ErrorCategory_ERROR_CATEGORY_SESSION
}

// erase clears the fields that a cancel and a redaction clear.
func erase(v *verificationv1.Verification) {
	if v.GetStatus() == verificationv1.Status_STATUS_CANCELED {
		v.LastError = nil
	}
	if v.GetRedaction() != 0 {
		v.ClientReferenceId, v.LastError, v.LastVerificationReport = "", nil, ""
		if v.Resolution != nil {
			v.Resolution.Principal = ""
		}
	}
}

// historyEntry returns the input that made a revision: a webhook with the error in it, or an input of the service itself.
func historyEntry(v *verificationv1.Verification, carried *verificationv1.VerificationError, source verificationv1.Source) *verificationv1.HistoryEntry {
	e := &verificationv1.HistoryEntry{
		Revision: v.GetRevision(), Source: source, Effect: verificationv1.Effect_EFFECT_APPLIED,
		RecordTime: v.GetUpdateTime(), Status: v.GetStatus(), Error: carried,
	}
	if source == verificationv1.Source_SOURCE_WEBHOOK {
		e.EventId = fmt.Sprintf("evt_%s_%d", v.GetSessionId(), v.GetRevision())
		e.EventType, e.EventTime = "identity.verification_session."+v.GetStripeStatus(), v.GetUpdateTime()
		if v.GetRevision() == 1 && v.GetStatus() == verificationv1.Status_STATUS_REQUIRES_INPUT && carried == nil {
			e.EventType = "identity.verification_session.created"
		}
	}
	return e
}

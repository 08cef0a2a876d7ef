package sse

import (
	"google.golang.org/protobuf/encoding/protojson"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// public returns the fields of a verification that a browser may see, as one line of JSON. It lists them one by one, so that a
// new field of the contract stays private until it is added here.
//
// It leaves out the company's own fields (client_reference_id, account, livemode, superseded_by, replaces), what is for consumers of
// the feed (outcome_revision, outcome_id), the id of the report at Stripe (last_verification_report), and Stripe's raw codes. Of a
// resolution it includes the kind alone: the name of the operator and the time stay private. Stripe writes the reason of a failure
// for the person, so it is included.
func public(v *verificationv1.Verification) (string, error) {
	shown := &verificationv1.Verification{
		SessionId:  v.GetSessionId(),
		Status:     v.GetStatus(),
		Type:       v.GetType(),
		UpdateTime: v.GetUpdateTime(),
		Revision:   v.GetRevision(),
		Settled:    v.GetSettled(),
	}
	if failure := v.GetLastError(); failure != nil {
		shown.LastError = &verificationv1.VerificationError{
			Code: failure.GetCode(), Reason: failure.GetReason(), Category: failure.GetCategory(),
		}
	}
	if retry := v.GetRetry(); retry != nil {
		shown.Retry = &verificationv1.RetryState{
			Allowed: retry.GetAllowed(), Denial: retry.GetDenial(), NextRetryTime: retry.GetNextRetryTime(),
			RetriesRemaining: retry.GetRetriesRemaining(), OverrideOpen: retry.GetOverrideOpen(),
		}
	}
	if kind := v.GetResolution().GetKind(); kind != 0 {
		shown.Resolution = &verificationv1.Resolution{Kind: kind}
	}
	text, err := protojson.Marshal(shown)
	return string(text), err
}

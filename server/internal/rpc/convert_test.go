package rpc

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// stripesCodes are Stripe's list (https://docs.stripe.com/api/identity/verification_sessions/object,
// last_error.code) and address_mismatch, which its guide adds.
var stripesCodes = []struct {
	stripe   string
	code     verificationv1.ErrorCode
	category verificationv1.ErrorCategory
}{
	{"abandoned", 2, 1},
	{"consent_declined", 3, 1},
	{"country_not_supported", 4, 1},
	{"device_not_supported", 5, 1},
	{"under_supported_age", 6, 1},
	{"document_expired", 7, 2},
	{"document_type_not_supported", 8, 2},
	{"document_unverified_other", 9, 2},
	{"selfie_document_missing_photo", 10, 3},
	{"selfie_face_mismatch", 11, 3},
	{"selfie_manipulated", 12, 3},
	{"selfie_unverified_other", 13, 3},
	{"id_number_insufficient_document_data", 14, 4},
	{"id_number_mismatch", 15, 4},
	{"id_number_unverified_other", 16, 4},
	{"address_mismatch", 17, 5},
	{"email_unverified_other", 18, 6},
	{"email_verification_declined", 19, 6},
	{"phone_unverified_other", 20, 7},
	{"phone_verification_declined", 21, 7},
}

func TestEachErrorCodeOfStripeHasItsEnumAndCategory(t *testing.T) {
	if want := len(verificationv1.ErrorCode_name) - 2; len(stripesCodes) != want {
		t.Errorf("%d codes are tested, the contract has %d", len(stripesCodes), want)
	}
	for _, test := range stripesCodes {
		got := errorOf(verification.Error{Code: test.stripe, Reason: "Because."})
		want := &verificationv1.VerificationError{Code: test.code, StripeCode: test.stripe, Reason: "Because.", Category: test.category}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.stripe, diff)
		}
		if !KnowsErrorCode(test.stripe) {
			t.Errorf("%s is not known", test.stripe)
		}
		if got.GetCode().String() != "ERROR_CODE_"+strings.ToUpper(test.stripe) {
			t.Errorf("%s is named %s", test.stripe, got.GetCode())
		}
	}
}

func TestAnUnknownErrorCodePassesThroughBesideOther(t *testing.T) {
	tests := []struct {
		stripe   string
		code     verificationv1.ErrorCode
		category verificationv1.ErrorCategory
	}{
		{"a_code_of_tomorrow", verificationv1.ErrorCode_ERROR_CODE_OTHER, verificationv1.ErrorCategory_ERROR_CATEGORY_UNSPECIFIED},
		{"document_of_tomorrow", verificationv1.ErrorCode_ERROR_CODE_OTHER, verificationv1.ErrorCategory_ERROR_CATEGORY_DOCUMENT},
		{"selfie_of_tomorrow", verificationv1.ErrorCode_ERROR_CODE_OTHER, verificationv1.ErrorCategory_ERROR_CATEGORY_SELFIE},
		{"unspecified", verificationv1.ErrorCode_ERROR_CODE_OTHER, verificationv1.ErrorCategory_ERROR_CATEGORY_UNSPECIFIED},
		{"other", verificationv1.ErrorCode_ERROR_CODE_OTHER, verificationv1.ErrorCategory_ERROR_CATEGORY_UNSPECIFIED},
		{"Document_Expired", verificationv1.ErrorCode_ERROR_CODE_OTHER, verificationv1.ErrorCategory_ERROR_CATEGORY_UNSPECIFIED},
		{"", verificationv1.ErrorCode_ERROR_CODE_UNSPECIFIED, verificationv1.ErrorCategory_ERROR_CATEGORY_UNSPECIFIED},
	}
	for _, test := range tests {
		got := errorOf(verification.Error{Code: test.stripe, Reason: "Because."})
		if got.GetCode() != test.code || got.GetStripeCode() != test.stripe || got.GetCategory() != test.category {
			t.Errorf("%q: %v", test.stripe, got)
		}
		if KnowsErrorCode(test.stripe) {
			t.Errorf("%q is known", test.stripe)
		}
	}
	if got := errorOf(verification.Error{}); got != nil {
		t.Errorf("no error became %v", got)
	}
}

func TestStatusesAndTypesAreStripesOrUnspecified(t *testing.T) {
	for stripe, want := range map[string]verificationv1.Status{
		"requires_input": 1, "processing": 2, "verified": 3, "canceled": 4, "": 0, "requires_action": 0, "VERIFIED": 0, "unspecified": 0,
	} {
		if got := statusOf(stripe); got != want {
			t.Errorf("status %q: %v, want %v", stripe, got, want)
		}
	}
	for stripe, want := range map[string]verificationv1.VerificationType{
		"document": 1, "id_number": 2, "verification_flow": 3, "": 0, "passport": 0, "unspecified": 0,
	} {
		if got := typeOf(stripe); got != want {
			t.Errorf("type %q: %v, want %v", stripe, got, want)
		}
	}
}

// The core's numbers are cast to the contract's: they must be the same ones.
func TestTheCoresNumbersAreTheContracts(t *testing.T) {
	sources := map[verification.Source]string{
		verification.SourceWebhook: "SOURCE_WEBHOOK", verification.SourceStripeAPI: "SOURCE_STRIPE_API", verification.SourceRetry: "SOURCE_RETRY", verification.SourceReplacement: "SOURCE_REPLACEMENT",
		verification.SourceOperator: "SOURCE_OPERATOR", verification.SourceImport: "SOURCE_IMPORT", verification.SourceComparison: "SOURCE_COMPARISON",
	}
	for core, name := range sources {
		if got := verificationv1.Source_value[name]; got != int32(core) {
			t.Errorf("%s is %d, the core's %d", name, got, core)
		}
	}
	effects := map[verification.Effect]string{
		verification.EffectApplied: "EFFECT_APPLIED", verification.EffectStale: "EFFECT_STALE",
		verification.EffectCounted: "EFFECT_COUNTED", verification.EffectPending: "EFFECT_PENDING",
	}
	for core, name := range effects {
		if got := verificationv1.Effect_value[name]; got != int32(core) {
			t.Errorf("%s is %d, the core's %d", name, got, core)
		}
	}
	denials := map[verification.Denial]string{
		verification.DenialNone: "RETRY_DENIAL_UNSPECIFIED", verification.DenialProcessing: "RETRY_DENIAL_PROCESSING",
		verification.DenialAlreadyVerified: "RETRY_DENIAL_ALREADY_VERIFIED", verification.DenialCanceled: "RETRY_DENIAL_CANCELED",
		verification.DenialRedacted: "RETRY_DENIAL_REDACTED", verification.DenialLimitReached: "RETRY_DENIAL_LIMIT_REACHED",
		verification.DenialNotRetryable: "RETRY_DENIAL_NOT_RETRYABLE", verification.DenialSuperseded: "RETRY_DENIAL_SUPERSEDED",
		verification.DenialCooldown: "RETRY_DENIAL_COOLDOWN", verification.DenialResolved: "RETRY_DENIAL_RESOLVED",
	}
	for core, name := range denials {
		if got, ok := verificationv1.RetryDenial_value[name]; !ok || got != int32(core) {
			t.Errorf("%s is %d, the core's %d", name, got, core)
		}
	}
	redactions := map[verification.Redaction]string{
		verification.RedactionNone: "REDACTION_UNSPECIFIED", verification.RedactionProcessing: "REDACTION_PROCESSING",
		verification.RedactionRedacted: "REDACTION_REDACTED",
	}
	for core, name := range redactions {
		if got, ok := verificationv1.Redaction_value[name]; !ok || got != int32(core) {
			t.Errorf("%s is %d, the core's %d", name, got, core)
		}
	}
	resolutions := map[verification.ResolutionKind]string{
		verification.ResolutionNone: "RESOLUTION_KIND_UNSPECIFIED", verification.ResolutionVerifiedElsewhere: "RESOLUTION_KIND_VERIFIED_ELSEWHERE",
		verification.ResolutionDeclined: "RESOLUTION_KIND_DECLINED", verification.ResolutionClosed: "RESOLUTION_KIND_CLOSED",
	}
	for core, name := range resolutions {
		if got, ok := verificationv1.ResolutionKind_value[name]; !ok || got != int32(core) {
			t.Errorf("%s is %d, the core's %d", name, got, core)
		}
	}
	operations := map[verification.Operation]string{
		verification.OperationNone: "OPERATION_UNSPECIFIED", verification.OperationAllowRetry: "OPERATION_ALLOW_RETRY",
		verification.OperationResolve: "OPERATION_RESOLVE", verification.OperationTakeBack: "OPERATION_TAKE_BACK",
	}
	for core, name := range operations {
		if got, ok := verificationv1.Operation_value[name]; !ok || got != int32(core) {
			t.Errorf("%s is %d, the core's %d", name, got, core)
		}
	}
	for name, count := range map[string][2]int{
		"ResolutionKind": {len(resolutions), len(verificationv1.ResolutionKind_name)}, "Operation": {len(operations), len(verificationv1.Operation_name)},
		"Source": {len(sources) + 1, len(verificationv1.Source_name)}, "Effect": {len(effects) + 1, len(verificationv1.Effect_name)},
		"RetryDenial": {len(denials), len(verificationv1.RetryDenial_name)}, "Redaction": {len(redactions), len(verificationv1.Redaction_name)},
	} {
		if count[0] != count[1] {
			t.Errorf("%s: %d numbers are tested, the contract has %d", name, count[0], count[1])
		}
	}
}

func TestAVerificationShowsTheWholeRecord(t *testing.T) {
	now := time.Unix(1_700_000_100, 0)
	s := Config{
		Policy: verification.RetryPolicy{MaxRetries: 2, Cooldown: time.Hour}, Clock: func() time.Time { return now },
		MayNameOperators: func(context.Context) bool { return true },
	}
	session := verification.Session{
		ID: "vs_1", Account: "acct_1", Livemode: true, Revision: 7, Predecessor: "vs_0",
		Kept: verification.KeptOutcome{OutcomeKey: verification.OutcomeKey{Revision: 5, ID: verification.OutcomeID{0xfb, 0xff, 15: 1}}, At: 7},
		State: verification.State{
			Status: "requires_input", Type: "document", Error: verification.Error{Code: "document_expired", Reason: "Old."},
			Report: "vr_1", Created: 1_700_000_000, UpdateTime: 1_700_000_050, Reference: "person",
			FailedAttempts: 2, RetriesGranted: 1, ShownFailure: 9, LastFailure: verification.LastFailure{ID: 9},
			Resolution: verification.Resolution{Kind: verification.ResolutionDeclined, Principal: "token:desk", Second: 1_700_000_090},
			Allowance:  verification.Allowance{Given: true, Failure: 9},
		},
	}
	want := &verificationv1.Verification{
		SessionId: "vs_1", Status: verificationv1.Status_STATUS_REQUIRES_INPUT, Type: verificationv1.VerificationType_VERIFICATION_TYPE_DOCUMENT,
		LastError: &verificationv1.VerificationError{
			Code: verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED, StripeCode: "document_expired", Reason: "Old.",
			Category: verificationv1.ErrorCategory_ERROR_CATEGORY_DOCUMENT,
		},
		ClientReferenceId: "person", Livemode: true,
		CreateTime: &timestamppb.Timestamp{Seconds: 1_700_000_000}, UpdateTime: &timestamppb.Timestamp{Seconds: 1_700_000_050},
		Revision: 7,
		Retry: &verificationv1.RetryState{
			FailedAttempts: 2, RetriesGranted: 1, RetriesRemaining: 1,
			Denial:       verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED,
			OverrideOpen: true,
		},
		Settled: true,
		Resolution: &verificationv1.Resolution{
			Kind: verificationv1.ResolutionKind_RESOLUTION_KIND_DECLINED, Principal: "token:desk", Time: &timestamppb.Timestamp{Seconds: 1_700_000_090},
		},
		Account: "acct_1", StripeStatus: "requires_input", StripeType: "document", LastVerificationReport: "vr_1",
		OutcomeRevision: 5, OutcomeId: "-_8AAAAAAAAAAAAAAAAAAQ", Replaces: "vs_0",
	}
	if diff := cmp.Diff(want, s.current(t.Context(), &session), protocmp.Transform()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// Every field of the contract is in the example or stands for what it must leave out.
	unset := map[string]bool{"redaction": true, "superseded_by": true}
	fields := want.ProtoReflect().Descriptor().Fields()
	for n := range fields.Len() {
		if field := fields.Get(n); !want.ProtoReflect().Has(field) && !unset[string(field.Name())] {
			t.Errorf("%s is not in the example", field.Name())
		}
	}
	session.Status, session.Redaction, session.SupersededBy, session.Created = "canceled", verification.RedactionRedacted, "vs_2", 0
	got := s.current(t.Context(), &session)
	if !got.GetSettled() || got.GetSupersededBy() != "vs_2" || got.GetRedaction() != verificationv1.Redaction_REDACTION_REDACTED || got.GetCreateTime() != nil {
		t.Errorf("%v", got)
	}
}

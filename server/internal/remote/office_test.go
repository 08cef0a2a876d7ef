package remote

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// fakeOffice is a server with one session. change is what a call of OperatorService does to it; nil: nothing.
type fakeOffice struct {
	verificationv1.UnimplementedVerificationServiceServer
	verificationv1.UnimplementedOperatorServiceServer
	answer *verificationv1.GetStatusResponse
	change func(*verificationv1.GetStatusResponse)
	err    error // of OperatorService
	before bool  // the version before: it refuses include_person

	asked    []*verificationv1.GetStatusRequest
	allowed  []*verificationv1.AllowRetryRequest
	resolved []*verificationv1.ResolveVerificationRequest
}

func (f *fakeOffice) GetStatus(_ context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	f.asked = append(f.asked, request)
	if f.before && request.GetIncludePerson() {
		return nil, status.Error(codes.Unimplemented, "include_person: planted")
	}
	return f.answer, nil
}

func (f *fakeOffice) AllowRetry(_ context.Context, request *verificationv1.AllowRetryRequest) (*verificationv1.AllowRetryResponse, error) {
	f.allowed = append(f.allowed, request)
	v, err := f.operate()
	return &verificationv1.AllowRetryResponse{Verification: v}, err
}

func (f *fakeOffice) ResolveVerification(_ context.Context, request *verificationv1.ResolveVerificationRequest) (*verificationv1.ResolveVerificationResponse, error) {
	f.resolved = append(f.resolved, request)
	v, err := f.operate()
	return &verificationv1.ResolveVerificationResponse{Verification: v}, err
}

func (f *fakeOffice) operate() (*verificationv1.Verification, error) {
	if f.err != nil {
		return nil, f.err
	}
	if f.change != nil {
		f.answer = proto.CloneOf(f.answer)
		f.change(f.answer)
	}
	return f.answer.GetVerification(), nil
}

// tooYoung is the answer for a person who was refused for their age, five minutes before now.
func tooYoung() *verificationv1.GetStatusResponse {
	at := func(second int) *timestamppb.Timestamp {
		return timestamppb.New(now.Add(time.Duration(second-300) * time.Second))
	}
	failure := &verificationv1.VerificationError{StripeCode: "under_supported_age", Reason: "The person is below the supported age."}
	return &verificationv1.GetStatusResponse{
		Verification: &verificationv1.Verification{
			SessionId: "vs_1", ClientReferenceId: "user-43", Status: verificationv1.Status_STATUS_REQUIRES_INPUT, StripeStatus: "requires_input",
			LastError: failure, UpdateTime: at(0), Revision: 3, OutcomeRevision: 3,
			Retry: &verificationv1.RetryState{FailedAttempts: 1, RetriesRemaining: 2, Denial: verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE},
		},
		History: []*verificationv1.HistoryEntry{
			{Revision: 1, Source: verificationv1.Source_SOURCE_WEBHOOK, Effect: verificationv1.Effect_EFFECT_APPLIED, Status: verificationv1.Status_STATUS_REQUIRES_INPUT, RecordTime: at(-2)},
			{Source: verificationv1.Source_SOURCE_STRIPE_API, Effect: verificationv1.Effect_EFFECT_STALE, Status: verificationv1.Status_STATUS_PROCESSING, RecordTime: at(-1)},
			{Revision: 2, Source: verificationv1.Source_SOURCE_WEBHOOK, Effect: verificationv1.Effect_EFFECT_APPLIED, Status: verificationv1.Status_STATUS_PROCESSING, RecordTime: at(-1)},
			{Revision: 3, Source: verificationv1.Source_SOURCE_WEBHOOK, Effect: verificationv1.Effect_EFFECT_APPLIED, Status: verificationv1.Status_STATUS_REQUIRES_INPUT, Error: failure, RecordTime: at(0)},
		},
		Person: &verificationv1.Person{Sessions: 1, FailedAttempts: 1},
	}
}

// byOperator appends an entry of an operator, and makes a revision.
func byOperator(answer *verificationv1.GetStatusResponse, operation verificationv1.Operation, principal string) {
	answer.Verification.Revision++
	answer.History = append(answer.History, &verificationv1.HistoryEntry{
		Revision: answer.GetVerification().GetRevision(), Source: verificationv1.Source_SOURCE_OPERATOR,
		Operation: operation, Principal: principal, RecordTime: timestamppb.New(now),
	})
}

func allow(answer *verificationv1.GetStatusResponse) {
	byOperator(answer, verificationv1.Operation_OPERATION_ALLOW_RETRY, "token:anna")
	answer.Verification.Retry = &verificationv1.RetryState{FailedAttempts: 1, RetriesRemaining: 2, Allowed: true, OverrideOpen: true}
}

func resolve(answer *verificationv1.GetStatusResponse) {
	byOperator(answer, verificationv1.Operation_OPERATION_RESOLVE, "token:anna")
	answer.Verification.Settled = true
	answer.Verification.Retry.Denial = verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED
	answer.Verification.Resolution = &verificationv1.Resolution{Kind: verificationv1.ResolutionKind_RESOLUTION_KIND_VERIFIED_ELSEWHERE, Principal: "token:anna", Time: timestamppb.New(now)}
}

func takeBack(answer *verificationv1.GetStatusResponse) {
	byOperator(answer, verificationv1.Operation_OPERATION_TAKE_BACK, "")
	answer.Verification.Resolution = nil
}

// open runs the fake and returns the settings of its callers.
func (f *fakeOffice) open(t *testing.T) *Server {
	t.Helper()
	return &Server{Plaintext: true, Timeout: 20 * time.Second, Addr: serveAll(t, nil, func(server *grpc.Server) {
		verificationv1.RegisterVerificationServiceServer(server, f)
		verificationv1.RegisterOperatorServiceServer(server, f)
	})}
}

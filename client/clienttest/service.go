package clienttest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"google.golang.org/grpc"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// service answers the calls of one replica.
type service struct {
	verificationv1.UnimplementedVerificationServiceServer
	state *state
}

func checkSessionID(id string) error {
	if !sessionID.MatchString(id) {
		return invalid("session_id", "is not a verification session's id")
	}
	return nil
}

var accountID = regexp.MustCompile(`^acct_[A-Za-z0-9_]{1,250}$`)

func checkAccount(account string) error {
	if account != "" && !accountID.MatchString(account) {
		return invalid("account", "is not an account's id")
	}
	return nil
}

func checkReference(reference string) error {
	if reference == "" || len(reference) > 255 {
		return invalid("client_reference_id", "must have 1 to 255 bytes")
	}
	return nil
}

func (s *service) GetStatus(_ context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	err := s.state.nextFailure()
	if err != nil {
		return nil, err
	}
	var life *session
	switch subject := request.GetSubject().(type) {
	case *verificationv1.GetStatusRequest_SessionId:
		life, err = s.state.sessions[subject.SessionId], cmp.Or(checkSessionID(subject.SessionId), checkAccount(request.GetAccount()))
	case *verificationv1.GetStatusRequest_ClientReferenceId:
		life, err = s.state.newest(subject.ClientReferenceId), checkReference(subject.ClientReferenceId)
		if err == nil && request.GetAccount() != "" {
			err = invalid("account", "does not go with client_reference_id")
		}
	default:
		err = invalid("subject", "is missing: set session_id or client_reference_id")
	}
	switch {
	case err != nil:
		return nil, err
	case request.GetMinRevision() < 0:
		return nil, invalid("min_revision", "is negative")
	case request.GetIncludePerson() && request.GetClientReferenceId() == "":
		return nil, invalid("include_person", "goes with client_reference_id only")
	case life.otherAccount(request.GetAccount()):
		return nil, Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	// The service waits up to two seconds for min_revision first.
	case life.latest().GetRevision() < request.GetMinRevision():
		return nil, Error(verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST)
	case life == nil:
		return nil, Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	}
	response := &verificationv1.GetStatusResponse{Verification: life.latest()}
	if request.GetIncludeHistory() && life.redacted == 0 {
		response.History = slices.Clone(life.history)
	}
	if request.GetIncludePerson() {
		response.Person = s.state.person(life.latest())
	}
	return response, nil
}

func (s *service) RetryVerification(ctx context.Context, request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
	s.state.mu.Lock()
	answer, err := s.state.onRetry, s.state.nextFailure()
	s.state.mu.Unlock()
	if err == nil {
		err = cmp.Or(
			checkSessionID(request.GetSessionId()), checkReturnURL(request.GetReturnUrl()),
			checkKeyVersion(request.GetEphemeralKeyVersion()), checkAccount(request.GetAccount()),
		)
	}
	switch {
	case err != nil:
		return nil, err
	case answer != nil:
		return answer(request)
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	response, err := s.state.retry(request, s.state.principal(ctx))
	if err == nil && request.GetEphemeralKeyVersion() != "" {
		response.EphemeralKeySecret = fmt.Sprintf("ek_test_%s_%d", response.GetVerification().GetSessionId(), s.state.links)
	}
	return response, err
}

func (s *service) ListVerifications(_ context.Context, request *verificationv1.ListVerificationsRequest) (*verificationv1.ListVerificationsResponse, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if err := s.state.nextFailure(); err != nil {
		return nil, err
	}
	return s.state.list(request, time.Now())
}

func (s *service) WatchStatus(request *verificationv1.WatchStatusRequest, stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
	st, err := s.state.open(request)
	if err != nil {
		return err
	}
	defer s.state.close(st)
	for {
		responses, changed, err := s.state.look(st)
		for _, response := range responses {
			if err := stream.Send(response); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, errDone):
			return nil
		case err != nil:
			return err
		}
		beat := time.NewTimer(time.Until(st.sent.Add(st.heartbeat)))
		select {
		case <-changed:
		case <-beat.C:
			st.due = true
		case <-stream.Context().Done():
			beat.Stop()
			return stream.Context().Err()
		}
		beat.Stop()
	}
}

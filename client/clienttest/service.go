package clienttest

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// service answers the calls of one replica.
type service struct {
	verificationv1.UnimplementedVerificationServiceServer
	state *state
}

func (s *service) GetStatus(_ context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if err := s.state.nextFailure(); err != nil {
		return nil, err
	}
	if request.GetMinRevision() < 0 {
		return nil, invalid("min_revision", "is negative")
	}
	var life *session
	switch subject := request.GetSubject().(type) {
	case *verificationv1.GetStatusRequest_SessionId:
		if !sessionID.MatchString(subject.SessionId) {
			return nil, invalid("session_id", "is not a verification session's id")
		}
		life = s.state.sessions[subject.SessionId]
	case *verificationv1.GetStatusRequest_ClientReferenceId:
		if subject.ClientReferenceId == "" || len(subject.ClientReferenceId) > 255 {
			return nil, invalid("client_reference_id", "must have 1 to 255 bytes")
		}
		life = s.state.newest(subject.ClientReferenceId)
	default:
		return nil, invalid("subject", "is missing: set session_id or client_reference_id")
	}
	// The real service waits up to two seconds for min_revision first.
	if life.latest().GetRevision() < request.GetMinRevision() {
		return nil, Error(verificationv1.ErrorReason_ERROR_REASON_REVISION_LOST)
	}
	if life == nil {
		return nil, Error(verificationv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	}
	response := &verificationv1.GetStatusResponse{Verification: life.latest()}
	if request.GetIncludeHistory() && life.redacted == 0 {
		response.History = history(life)
	}
	return response, nil
}

// history has an entry for each revision, as if a webhook had brought each.
func history(life *session) []*verificationv1.HistoryEntry {
	entries := make([]*verificationv1.HistoryEntry, len(life.revisions))
	for i, v := range life.revisions {
		entries[i] = &verificationv1.HistoryEntry{
			Revision: v.GetRevision(), Source: verificationv1.Source_SOURCE_WEBHOOK, Effect: verificationv1.Effect_EFFECT_APPLIED,
			EventTime: v.GetUpdateTime(), RecordTime: v.GetUpdateTime(), Status: v.GetStatus(), Error: v.GetLastError(),
		}
	}
	return entries
}

func (s *service) RetryVerification(_ context.Context, request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
	s.state.mu.Lock()
	answer, err := s.state.onRetry, s.state.nextFailure()
	s.state.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case !sessionID.MatchString(request.GetSessionId()):
		return nil, invalid("session_id", "is not a verification session's id")
	case answer != nil:
		return answer(request)
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.retry(request.GetSessionId())
}

func (s *service) WatchStatus(request *verificationv1.WatchStatusRequest, stream grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]) error {
	st, err := s.state.open(request)
	if err != nil {
		return err
	}
	defer s.state.close()
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

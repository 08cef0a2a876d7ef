package clienttest

import (
	"context"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// feedService answers the calls about consumers.
type feedService struct {
	verificationv1.UnimplementedFeedServiceServer
	state *state
}

func (s *feedService) AcknowledgeChanges(_ context.Context, request *verificationv1.AcknowledgeChangesRequest) (*verificationv1.AcknowledgeChangesResponse, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if err := s.state.nextFailure(); err != nil {
		return nil, err
	}
	if err := s.state.acknowledge(request); err != nil {
		return nil, err
	}
	return &verificationv1.AcknowledgeChangesResponse{}, nil
}

func (s *feedService) ListConsumers(context.Context, *verificationv1.ListConsumersRequest) (*verificationv1.ListConsumersResponse, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if err := s.state.nextFailure(); err != nil {
		return nil, err
	}
	return &verificationv1.ListConsumersResponse{Consumers: s.state.listConsumers()}, nil
}

func (s *feedService) DeleteConsumer(_ context.Context, request *verificationv1.DeleteConsumerRequest) (*verificationv1.DeleteConsumerResponse, error) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if err := s.state.nextFailure(); err != nil {
		return nil, err
	}
	if err := checkConsumer(request.GetConsumer()); err != nil {
		return nil, err
	}
	s.state.deleteConsumer(request.GetConsumer())
	return &verificationv1.DeleteConsumerResponse{}, nil
}

package rpc

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/consumers"
)

// ListConsumers implements the RPC. Calls at the same time share one read, which asks the store about each consumer.
func (s *Service) ListConsumers(ctx context.Context, _ *verificationv1.ListConsumersRequest) (*verificationv1.ListConsumersResponse, error) {
	margin, cancel := withMargin(ctx)
	defer cancel()
	all, err := s.consumers.Next(margin, struct{}{}, s.config.Consumers.List)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	response := &verificationv1.ListConsumersResponse{}
	for _, state := range all {
		response.Consumers = append(response.Consumers, consumerOf(state))
	}
	return response, nil
}

func consumerOf(state consumers.State) *verificationv1.Consumer {
	consumer := &verificationv1.Consumer{
		Name: state.Name, Principal: state.Holder, Active: state.Active,
		PendingChanges: state.Pending, Lag: durationpb.New(state.Lag), Expired: state.Expired,
	}
	if !state.Acknowledged.IsZero() {
		consumer.AcknowledgeTime = timestamppb.New(state.Acknowledged)
	}
	return consumer
}

// DeleteConsumer implements the RPC.
func (s *Service) DeleteConsumer(ctx context.Context, request *verificationv1.DeleteConsumerRequest) (*verificationv1.DeleteConsumerResponse, error) {
	if err := s.deleteConsumer(ctx, request.GetConsumer()); err != nil {
		return nil, s.fail(ctx, err)
	}
	return &verificationv1.DeleteConsumerResponse{}, nil
}

func (s *Service) deleteConsumer(ctx context.Context, name string) error {
	if err := checkConsumer("consumer", name); err != nil {
		return err
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	return s.config.Consumers.Delete(ctx, name, s.config.Principal(ctx), s.config.MayOverride(ctx))
}

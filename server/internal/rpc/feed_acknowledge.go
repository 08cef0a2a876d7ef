package rpc

import (
	"cmp"
	"context"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store"
)

// AcknowledgeChanges implements the RPC.
func (s *Service) AcknowledgeChanges(ctx context.Context, request *verificationv1.AcknowledgeChangesRequest) (*verificationv1.AcknowledgeChangesResponse, error) {
	if err := s.acknowledge(ctx, request); err != nil {
		return nil, s.fail(ctx, err)
	}
	return &verificationv1.AcknowledgeChangesResponse{}, nil
}

func (s *Service) acknowledge(ctx context.Context, request *verificationv1.AcknowledgeChangesRequest) error {
	name, token := request.GetConsumer(), request.GetResumeToken()
	if err := cmp.Or(checkConsumer("consumer", name), checkToken("resume_token", token)); err != nil {
		return err
	}
	if !resumetoken.IsConsumer(token) {
		return resumetoken.ErrInvalid // for a consumer that does not exist too, as a watch answers it
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	err := s.config.Consumers.Acknowledge(ctx, name, s.config.Principal(ctx), func(incarnation uint64) ([]store.Position, error) {
		decoded, err := resumetoken.DecodeConsumer(token, name, incarnation, s.config.Live.Partitions())
		return storePositions(decoded), err
	})
	return consumerError(err)
}

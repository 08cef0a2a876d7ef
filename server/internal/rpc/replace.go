package rpc

import (
	"context"
	"errors"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// replace makes the one replacement of a canceled session and gives a link to it. It may stop after
// each step and be called again, by anyone at the same time: the grant is found again, Stripe creates
// one session for one idempotency key, the counts are inherited once, and the first successor stays.
func (s *Service) replace(ctx context.Context, closed verification.Session, request *verificationv1.RetryVerificationRequest) (retried, error) {
	var decision verification.Decision
	closed, _, err := s.readAndUpdate(ctx, closed.ID, closed.Account, StepReplace, func(current verification.Session) verification.Session {
		var next verification.Session
		next, decision, _ = verification.GrantReplacement(current, s.Policy, s.Clock(), request.GetReturnUrl())
		return next
	})
	if err != nil {
		return retried{}, err
	}
	if decision.Denial != verification.DenialNone {
		return retried{}, &deniedError{decision: decision, supersededBy: closed.SupersededBy}
	}
	if closed.SupersededBy != "" {
		return s.retryVerification(ctx, request) // another call was faster: go on with its successor
	}

	s.Step(StepCreate)
	// The first caller's return URL: another request for the same key would be refused.
	successor, err := s.Stripe.CreateLike(ctx, closed.Account, closed.ID, closed.Replacement.ReturnURL)
	if err != nil {
		return retried{}, err
	}
	// Stripe answers a repeated key with the first answer, whose link may be used: grant reads again.
	result, granting := s.grant(ctx, successor, closed.Account, StepInherit, func(current verification.Session) verification.Session {
		next, _ := verification.Inherit(current, closed, s.Clock())
		return next
	})

	var denied *deniedError
	if granting != nil && !errors.As(granting, &denied) {
		return retried{}, granting // the counts may not be inherited: the old one must not lead there yet
	}

	s.Step(StepSupersede)
	_, err = s.Store.Update(ctx, closed.ID, func(current verification.Session) (verification.Session, bool, error) {
		next, changed := verification.Supersede(current, successor, s.Clock())
		return next, changed, nil
	})
	if err != nil {
		return retried{}, err
	}
	return result, granting
}

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
		next, decision, _ = verification.GrantReplacement(current, s.Policy, s.Clock(), s.Principal(ctx), request.GetReturnUrl())
		return next
	})
	if err != nil {
		return retried{}, err
	}
	if decision.Denial != verification.DenialNone {
		return retried{}, &deniedError{decision: decision, supersededBy: closed.SupersededBy}
	}
	if closed.SupersededBy != "" { // another call was faster: go on with its successor
		return retried{}, supersededError(closed.SupersededBy)
	}

	s.Step(StepCreate)
	// The first caller's return URL: another request for the same key would be refused.
	successor, err := s.Stripe.CreateLike(ctx, closed.Account, closed.ID, closed.Replacement.ReturnURL)
	if err != nil {
		return retried{}, errors.Join(err, s.revoke(ctx, closed, err))
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
		if !current.Exists() {
			return current, false, errOvertaken // the store has lost it since: the next call begins anew
		}
		next, changed := verification.Supersede(current, successor, s.Clock())
		return next, changed, nil
	})
	if err != nil {
		return retried{}, err
	}
	if denied != nil && denied.decision.Denial == verification.DenialCanceled {
		return retried{}, supersededError(successor) // closed again already: its turn to be replaced
	}
	return result, granting
}

// revoke takes the grant back where Stripe refused to make the session, such as for a return URL that
// it does not like: nothing was used, and the next caller's request may be another one. An idempotency
// error says the opposite: there was such a request before, and there may be a session.
func (s *Service) revoke(ctx context.Context, closed verification.Session, cause error) error {
	var refused *verification.StripeRefusedError
	if !errors.As(cause, &refused) || refused.Code == "idempotency_error" {
		return nil
	}
	_, err := s.Store.Update(ctx, closed.ID, func(current verification.Session) (verification.Session, bool, error) {
		next, changed := verification.RevokeReplacement(current, closed.Replacement.ReturnURL, s.Clock())
		return next, changed, nil
	})
	return err
}

func supersededError(successor string) error {
	return &deniedError{decision: verification.Decision{Denial: verification.DenialSuperseded}, supersededBy: successor}
}

package rpc

import (
	"context"
	"errors"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// replace makes the one replacement of a canceled session and gives a link to it. It may stop after
// each step and be called again, by anyone at the same time and by the id of either session: the grant is
// found again, Stripe creates one session for one idempotency key, the counts are inherited once, and the
// first successor stays.
func (s *Service) replace(ctx context.Context, closed verification.Session, request *verificationv1.RetryVerificationRequest) (retried, error) {
	var decision verification.Decision
	// The record as it is now: a successor that it names is the one, however long ago it was made. Stripe
	// forgets idempotency keys after a day and would make another.
	closed, _, err := s.readAndDecide(ctx, closed, StepReplace, func(current verification.Session) (next verification.Session, write bool) {
		if current.SupersededBy != "" {
			return current, false
		}
		next, decision, write = verification.GrantReplacement(current, s.config.Policy, s.config.Clock(), s.config.Principal(ctx), request.GetReturnUrl())
		return next, write
	})
	switch {
	case err != nil:
		return retried{}, err
	case closed.SupersededBy != "": // another call was faster: continue with its successor
		return retried{}, supersededError(closed.SupersededBy)
	case decision.Denial != verification.DenialNone:
		return retried{}, &deniedError{decision: decision}
	}

	s.config.Step(StepCreate)
	// The first caller's return URL: another request for the same key would be refused.
	successor, err := s.config.Stripe.CreateLike(ctx, closed.Account, closed.ID, closed.Replacement.ReturnURL)
	if err != nil {
		return retried{}, errors.Join(err, s.revoke(ctx, closed, err))
	}
	return s.adopt(ctx, closed, successor)
}

// adopt makes a session that Stripe has made the successor of the closed one, and grants it a retry. The
// order of the commits is what holds: the successor names its predecessor as soon as it is known here, so
// that a caller that continues with it finds what is due; the predecessor names it, from when on the
// predecessor's counts are final; it inherits them; and only then is anything granted.
func (s *Service) adopt(ctx context.Context, closed verification.Session, successor string) (retried, error) {
	// Stripe answers a repeated key with the first answer, whose link may be used: so this reads again.
	heir, link, err := s.readAndUpdate(ctx, successor, closed.Account, StepClaim, func(current verification.Session) (verification.Session, bool) {
		return verification.Claim(current, closed.ID)
	})
	if err != nil {
		return retried{}, err
	}
	s.config.Step(StepSupersede)
	closed, err = s.config.Live.Update(ctx, closed.ID, func(current verification.Session) (verification.Session, bool, error) {
		if !current.Exists() {
			return current, false, errOvertaken // the store has lost it since: the next call starts over
		}
		next, changed := verification.Replace(current, successor, s.config.Clock())
		return next, changed, nil
	})
	if err != nil {
		return retried{}, err
	}
	if closed.SupersededBy != successor {
		return retried{}, s.disown(ctx, closed, successor)
	}
	var decision verification.Decision
	heir, err = s.inheritAndDecide(ctx, heir, s.grantRetry(ctx, &decision))
	if errors.Is(err, errOvertaken) {
		return retried{}, supersededError(successor) // the next turn reads it again
	}
	if err != nil {
		return retried{}, err
	}
	return granted(heir, link, decision)
}

// disown leaves a session that Stripe made although the closed one has another successor. It keeps the
// counts, so that it grants no more than the chain has left.
func (s *Service) disown(ctx context.Context, closed verification.Session, orphan string) error {
	_, err := s.config.Live.Update(ctx, orphan, func(current verification.Session) (verification.Session, bool, error) {
		next, changed := verification.Inherit(current, closed, s.config.Clock())
		return next, changed && current.Exists(), nil
	})
	if err != nil {
		return err
	}
	return supersededError(closed.SupersededBy)
}

// revoke takes the grant back where Stripe refused to make the session, such as for a return URL that
// it does not like: nothing was used, and the next caller's request may be another one. An idempotency
// error says the opposite: there was such a request before, and there may be a session.
func (s *Service) revoke(ctx context.Context, closed verification.Session, cause error) error {
	var refused *verification.StripeRefusedError
	if !errors.As(cause, &refused) || refused.Code == verification.CodeIdempotency {
		return nil
	}
	_, err := s.config.Live.Update(ctx, closed.ID, func(current verification.Session) (verification.Session, bool, error) {
		next, changed := verification.RevokeReplacement(current, closed.Replacement.ReturnURL, s.config.Clock())
		return next, changed, nil
	})
	return err
}

func supersededError(successor string) error {
	return &deniedError{decision: verification.Decision{Denial: verification.DenialSuperseded}, supersededBy: successor}
}

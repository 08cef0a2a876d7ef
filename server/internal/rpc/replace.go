package rpc

import (
	"context"
	"errors"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// replace creates the one replacement of a canceled session and returns a link to it. The process can stop after each
// step, and the call can be repeated, also by several callers at once and by the id of either session: the grant is
// found again, Stripe creates one session for one idempotency key, the counts are inherited once, and the first
// successor stays.
func (s *Service) replace(ctx context.Context, closed verification.Session, request *verificationv1.RetryVerificationRequest) (retried, error) {
	var decision verification.Decision
	// The record as it is now: a successor that it names stays the successor, whatever its age. Stripe drops
	// idempotency keys after a day, and would create another session.
	closed, _, err := s.readAndDecide(ctx, closed, StepReplace, func(current verification.Session, _ verification.Link) (next verification.Session, write bool) {
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
		return retried{}, supersededError(closed, closed.SupersededBy)
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

// adopt records a session that Stripe has created as the successor of the closed one, and grants it a retry. The order
// of the commits matters. First the successor names its predecessor, so that a caller that continues with the
// successor finds the unfinished replacement. Then the predecessor names the successor; from then on the
// predecessor's counts are final. Then the successor inherits the counts, and only then a retry is granted.
func (s *Service) adopt(ctx context.Context, closed verification.Session, successor string) (retried, error) {
	// Stripe answers a repeated key with the first answer, whose link can be used up. So the session is read again.
	heir, link, err := s.readAndUpdate(ctx, successor, closed.Account, StepClaim, func(current verification.Session, _ verification.Link) (verification.Session, bool) {
		return verification.Claim(current, closed.ID)
	})
	if err != nil {
		return retried{}, err
	}
	s.config.Step(StepSupersede)
	closed, err = s.config.Live.Update(ctx, closed.ID, func(current verification.Session) (verification.Session, bool, error) {
		if !current.Exists() {
			return current, false, errOvertaken // the store has lost the session since: the next call starts over
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
	heir, err = s.inheritAndDecide(ctx, heir, link, s.grantRetry(ctx, &decision))
	if errors.Is(err, errOvertaken) {
		return retried{}, supersededError(closed, successor) // the caller's loop reads it again
	}
	if err != nil {
		return retried{}, err
	}
	return granted(heir, link, decision)
}

// disown gives up a session that Stripe created although the closed one has another successor. The session keeps the
// chain's counts, so that it grants no more than the chain has left.
func (s *Service) disown(ctx context.Context, closed verification.Session, orphan string) error {
	_, err := s.config.Live.Update(ctx, orphan, func(current verification.Session) (verification.Session, bool, error) {
		next, changed := verification.Inherit(current, closed, s.config.Clock())
		return next, changed && current.Exists(), nil
	})
	if err != nil {
		return err
	}
	return supersededError(closed, closed.SupersededBy)
}

// revoke takes the grant back if Stripe refused to create the session, such as for a return URL that it does not
// accept: nothing was used, and the next caller's request can be another one. An idempotency error says the
// opposite: there was such a request before, and its session can exist.
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

func supersededError(closed verification.Session, successor string) error {
	return &deniedError{decision: verification.Decision{Denial: verification.DenialSuperseded}, supersededBy: successor, account: closed.Account}
}

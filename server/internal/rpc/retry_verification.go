package rpc

import (
	"context"
	"errors"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// maxReads is how many GETs a retry makes when each is overtaken by other news.
	maxReads = 3
	// maxSuccessors bounds a chain of replaced sessions; each link of it used a retry.
	maxSuccessors = 128
)

// The steps of a retry, as told to Config.Step before each. Stopping between any two of them loses
// no grant and makes no second one.
const (
	StepRead      = "read the record"
	StepRetrieve  = "get the session at Stripe"
	StepGrant     = "commit the read and the grant"
	StepAnswer    = "answer with the link"
	StepReplace   = "commit the replacement's grant"
	StepCreate    = "create the replacement at Stripe"
	StepInherit   = "commit the replacement with its counts"
	StepSupersede = "note the successor"
)

// RetryVerification implements the RPC.
func (s *Service) RetryVerification(ctx context.Context, request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
	result, err := s.retryVerification(ctx, request)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	s.Step(StepAnswer)
	s.Logger.InfoContext(ctx, "the person may try again", "session_id", result.session.ID,
		"retries_granted", result.session.RetriesGranted, "asked_for", request.GetSessionId(),
		"principal", s.Principal(ctx))
	return &verificationv1.RetryVerificationResponse{
		Verification: s.current(&result.session),
		ClientSecret: result.link.ClientSecret.Reveal(),
		Url:          result.link.URL.Reveal(),
	}, nil
}

// retried is a retry that was granted, or one that uses nothing.
type retried struct {
	session verification.Session
	link    verification.Link
}

func (s *Service) retryVerification(ctx context.Context, request *verificationv1.RetryVerificationRequest) (retried, error) {
	if err := checkSessionID(request.GetSessionId()); err != nil {
		return retried{}, err
	}
	if err := checkReturnURL(request.GetReturnUrl()); err != nil {
		return retried{}, err
	}
	if s.Stripe == nil {
		return retried{}, verification.ErrStripeNotConfigured
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	if !request.GetReplaceClosed() {
		return s.retryOrReplace(ctx, request.GetSessionId(), request)
	}
	id := request.GetSessionId()
	for range maxSuccessors {
		result, err := s.retryOrReplace(ctx, id, request)
		var denied *deniedError
		switch {
		case !errors.As(err, &denied):
			return result, err
		case denied.decision.Denial == verification.DenialSuperseded:
			id = denied.supersededBy // whoever comes second goes on with the same successor
		case denied.decision.Denial != verification.DenialCanceled:
			return result, err
		}
		// Canceled: Stripe said so just now, and the record knows it. So it can be replaced.
	}
	return retried{}, errOvertaken
}

// retryOrReplace is one turn, with one session of a chain.
func (s *Service) retryOrReplace(ctx context.Context, id string, request *verificationv1.RetryVerificationRequest) (retried, error) {
	s.Step(StepRead)
	session, err := s.session(ctx, id, asStored)
	if err != nil {
		return retried{}, err
	}
	if request.GetReplaceClosed() && session.Status == verification.StatusCanceled && session.SupersededBy == "" {
		return s.replace(ctx, session, request)
	}
	return s.retry(ctx, session)
}

// retry gives a link for a session that is open. What the record says for certain is answered at
// once; for the rest Stripe is asked first, and the read and the grant are one commit.
func (s *Service) retry(ctx context.Context, session verification.Session) (retried, error) {
	decision := s.Policy.Judge(session.State, s.Clock())
	switch decision.Denial {
	case verification.DenialSuperseded, verification.DenialRedacted, verification.DenialCanceled,
		verification.DenialLimitReached, verification.DenialCooldown:
		return retried{}, &deniedError{decision: decision, supersededBy: session.SupersededBy}
	}
	return s.grant(ctx, session.ID, session.Account, StepGrant, func(current verification.Session) verification.Session { return current })
}

// grant reads the session at Stripe, prepares the record and grants the retry, all in one commit,
// and answers with the link of that very read.
func (s *Service) grant(ctx context.Context, id, account, step string, prepare func(verification.Session) verification.Session) (retried, error) {
	var decision verification.Decision
	session, link, err := s.readAndUpdate(ctx, id, account, step, func(current verification.Session) verification.Session {
		var next verification.Session
		next, decision, _ = verification.GrantRetry(prepare(current), s.Policy, s.Clock(), s.Principal(ctx))
		return next
	})
	switch {
	case err != nil:
		return retried{}, err
	case decision.Denial != verification.DenialNone:
		return retried{}, &deniedError{decision: decision, supersededBy: session.SupersededBy}
	case link.URL == "" && link.ClientSecret == "":
		return retried{}, errNoLink
	}
	return retried{session, link}, nil
}

// readAndUpdate makes a GET at Stripe and commits what it says together with what change makes of
// it. A read that other news overtook is made again, a few times.
func (s *Service) readAndUpdate(ctx context.Context, id, account, step string, change func(verification.Session) verification.Session) (verification.Session, verification.Link, error) {
	for range maxReads {
		before, err := s.Store.Get(ctx, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return verification.Session{}, verification.Link{}, err
		}
		s.Step(StepRetrieve)
		retrieved, err := s.Stripe.Retrieve(ctx, account, id)
		if err != nil {
			return verification.Session{}, verification.Link{}, err
		}
		read := verification.Read{
			Object: retrieved.Object, AsOf: retrieved.AsOf, Applied: before.Applied, RecordTime: s.Clock().UnixMilli(),
		}
		s.Step(step)
		overtaken := false
		session, err := s.Store.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
			next, outcome := verification.ApplyRead(current, read)
			overtaken = outcome.Dropped
			if overtaken {
				return current, false, nil
			}
			changed := change(next)
			return changed, outcome.Write || changed.Revision != next.Revision, nil
		})
		if err != nil || !overtaken {
			return session, retrieved.Link, err
		}
	}
	return verification.Session{}, verification.Link{}, errOvertaken
}

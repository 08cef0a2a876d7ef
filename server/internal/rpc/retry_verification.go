package rpc

import (
	"cmp"
	"context"
	"errors"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// maxReads is how many GETs a retry makes if each is overtaken by another change.
	maxReads = 3
	// maxSuccessors bounds a chain of replaced sessions; each link of it used a retry.
	maxSuccessors = 128
)

// The steps of a retry, as Config.Step gets them. A stop between any two steps loses no grant and causes no second
// one.
const (
	StepRead      = "read the record"
	StepRetrieve  = "get the session at Stripe"
	StepGrant     = "commit the read and the grant"
	StepAnswer    = "answer with the link"
	StepReplace   = "commit the replacement's grant"
	StepCreate    = "create the replacement at Stripe"
	StepClaim     = "commit the replacement, which names its predecessor"
	StepSupersede = "note the successor"
	StepInherit   = "commit the inherited counts"
	StepKey       = "make the ephemeral key at Stripe"
)

// RetryVerification implements the RPC.
func (s *Service) RetryVerification(ctx context.Context, request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
	result, err := s.retryVerification(ctx, request)
	if err != nil {
		return nil, s.failRetry(ctx, err)
	}
	s.config.Step(StepAnswer)
	s.config.Logger.InfoContext(ctx, "a retry was granted", "session_id", result.session.ID,
		"retries_granted", result.session.RetriesGranted, "asked_for", request.GetSessionId(),
		"principal", s.config.Principal(ctx))
	return &verificationv1.RetryVerificationResponse{
		Verification:       s.forCaller(ctx, s.config.current(ctx, &result.session)),
		ClientSecret:       result.link.ClientSecret.Reveal(),
		Url:                result.link.URL.Reveal(),
		EphemeralKeySecret: result.ephemeralKey.Reveal(),
	}, nil
}

// forCaller returns the part of a session that the answer to a retry or to an operator shows: all of it to a caller that may
// read it, and to other callers the fields that they need to continue.
func (s *Service) forCaller(ctx context.Context, v *verificationv1.Verification) *verificationv1.Verification {
	if s.config.MayRead(ctx) {
		return v
	}
	return &verificationv1.Verification{SessionId: v.GetSessionId(), Status: v.GetStatus(), Retry: v.GetRetry(), Resolution: v.GetResolution()}
}

// retried is a granted retry with its link.
type retried struct {
	session      verification.Session
	link         verification.Link
	ephemeralKey verification.Secret // empty unless requested
}

func (s *Service) retryVerification(ctx context.Context, request *verificationv1.RetryVerificationRequest) (retried, error) {
	if err := cmp.Or(
		checkSessionID(request.GetSessionId()), checkReturnURL(request.GetReturnUrl()),
		checkKeyVersion(request.GetEphemeralKeyVersion()), checkAccount(request.GetAccount()),
	); err != nil {
		return retried{}, err
	}
	if s.config.Stripe == nil {
		return retried{}, verification.ErrStripeNotConfigured
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	result, err := s.retryChain(ctx, request)
	if version := request.GetEphemeralKeyVersion(); err == nil && version != "" {
		// The grant is committed: if Stripe makes no key now, a repeated call uses nothing.
		s.config.Step(StepKey)
		result.ephemeralKey, err = s.config.Stripe.EphemeralKey(ctx, result.session.Account, result.session.ID, version)
	}
	return result, err
}

// retryChain handles the requested session and, with replace_closed, the sessions that replace it.
func (s *Service) retryChain(ctx context.Context, request *verificationv1.RetryVerificationRequest) (retried, error) {
	account, id := request.GetAccount(), request.GetSessionId()
	for range maxSuccessors {
		result, err := s.retryOrReplace(ctx, account, id, request)
		var denied *deniedError
		switch {
		case !request.GetReplaceClosed(), !errors.As(err, &denied):
			return result, err
		case denied.decision.Denial == verification.DenialSuperseded:
			account, id = denied.account, denied.supersededBy // a later caller continues with the same successor
		case denied.decision.Denial != verification.DenialCanceled:
			return result, err
		}
		// Canceled: Stripe has just said so, and the record holds it. So the session can be replaced.
	}
	return retried{}, errOvertaken
}

// retryOrReplace handles one session of a chain.
func (s *Service) retryOrReplace(ctx context.Context, account, id string, request *verificationv1.RetryVerificationRequest) (retried, error) {
	s.config.Step(StepRead)
	session, err := s.lookup.session(ctx, account, id, asStored)
	if err != nil {
		return retried{}, err
	}
	if session, err = s.config.Ingest.Inherit(ctx, session); err != nil {
		return retried{}, err
	}
	if request.GetReplaceClosed() && session.Status == verification.StatusCanceled && session.SupersededBy == "" {
		return s.replace(ctx, session, request)
	}
	return s.retry(ctx, session)
}

// retry returns a link for an open session. A denial that is certain is answered at once. Otherwise Stripe is read first,
// and the read and the grant are one commit.
func (s *Service) retry(ctx context.Context, session verification.Session) (retried, error) {
	decision := s.config.Policy.Judge(session.State, s.config.Clock())
	if s.certain(session, decision.Denial) {
		return retried{}, deniedBy(session, decision)
	}
	session, link, err := s.readAndDecide(ctx, session, StepGrant, s.grantRetry(ctx, &decision))
	if err != nil {
		return retried{}, err
	}
	return granted(session, link, decision)
}

// change returns the next record of a step. link is the link of the read before. write reports whether the record must
// be stored.
type change func(current verification.Session, link verification.Link) (next verification.Session, write bool)

// grantRetry returns a change that grants a retry, or sets decision to the denial. Without a link there is nothing to
// give, and no retry is used.
func (s *Service) grantRetry(ctx context.Context, decision *verification.Decision) change {
	return func(current verification.Session, link verification.Link) (next verification.Session, write bool) {
		if link == (verification.Link{}) {
			*decision = s.config.Policy.Judge(current.State, s.config.Clock())
			return current, false
		}
		next, *decision, write = verification.GrantRetry(current, s.config.Policy, s.config.Clock(), s.config.Principal(ctx))
		return next, write
	}
}

// granted returns the result of a call that has decided on a retry. link is of the read that it was decided by.
func granted(session verification.Session, link verification.Link, decision verification.Decision) (retried, error) {
	switch {
	case decision.Denial != verification.DenialNone:
		return retried{}, deniedBy(session, decision)
	case link == (verification.Link{}):
		return retried{}, errNoLink
	}
	return retried{session: session, link: link}, nil
}

// readAndDecide makes a GET at Stripe and commits its answer together with a grant. If the answer shows that the session
// claims to replace another one, and the record did not have the claim, the session inherits the counts first.
func (s *Service) readAndDecide(ctx context.Context, session verification.Session, step string, grant change) (verification.Session, verification.Link, error) {
	if err := s.links.check(allowanceKey{sessionKey{session.Account, session.ID}, shares.HolderOf(ctx)}, &session, s.config.Clock()); err != nil {
		return verification.Session{}, verification.Link{}, err // at once: it must not wait for a slot in vain
	}
	checked, due := session.UnfinishedPredecessor(), false // that claim was checked before
	read, link, err := s.readAndUpdate(ctx, session.ID, session.Account, step, func(current verification.Session, link verification.Link) (verification.Session, bool) {
		if due = current.UnfinishedPredecessor() != "" && current.UnfinishedPredecessor() != checked; due {
			return current, false
		}
		return grant(current, link)
	})
	if err != nil || !due {
		return read, link, err
	}
	read, err = s.inheritAndDecide(ctx, read, link, grant)
	return read, link, err
}

// inheritAndDecide completes the replacement by a session that was just read, and then commits a grant. It returns
// errOvertaken if an input was applied since the read.
func (s *Service) inheritAndDecide(ctx context.Context, read verification.Session, link verification.Link, grant change) (verification.Session, error) {
	applied := read.Applied // Inherit returns the record with inputs that came since
	s.config.Step(StepInherit)
	read, err := s.config.Ingest.Inherit(ctx, read)
	if err != nil {
		return read, err
	}
	s.config.Step(StepGrant)
	return s.config.Live.Update(ctx, read.ID, func(current verification.Session) (verification.Session, bool, error) {
		if current.Applied != applied {
			return current, false, errOvertaken
		}
		next, write := grant(current, link)
		return next, write, nil
	})
}

// readAndUpdate makes a GET at Stripe and commits its answer together with the change that then makes of it. A read
// that another input overtook is repeated, up to maxReads times.
func (s *Service) readAndUpdate(ctx context.Context, id, account, step string, then change) (verification.Session, verification.Link, error) {
	for range maxReads {
		if err := s.links.wait(ctx, account, id); err != nil {
			return verification.Session{}, verification.Link{}, err
		}
		before, err := s.config.Live.Get(ctx, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return verification.Session{}, verification.Link{}, err
		}
		retrieved, err := s.retrieve(ctx, account, id, &before)
		if err != nil {
			return verification.Session{}, verification.Link{}, err
		}
		read := verification.Read{
			Object: retrieved.Object, AsOf: retrieved.AsOf, Applied: before.Applied, RecordTime: s.config.Clock().UnixMilli(),
		}
		s.config.Step(step)
		overtaken := false
		session, err := s.config.Live.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
			next, outcome := verification.ApplyRead(current, read)
			if overtaken = outcome.Dropped; overtaken {
				return current, false, nil
			}
			changed, write := then(next, retrieved.Link)
			return changed, outcome.Write || write, nil
		})
		if err == nil && !overtaken {
			s.links.confirmed.Add(sessionKey{session.Account, id}, confirmation{session.Applied, s.config.Clock()})
		}
		if err != nil || !overtaken {
			return session, retrieved.Link, err
		}
	}
	return verification.Session{}, verification.Link{}, errOvertaken
}

// retrieve makes a GET at Stripe. If the session requires input and the answer has no link, it makes one more, unless the
// caller's deadline comes first. known is the record; it can be empty.
func (s *Service) retrieve(ctx context.Context, account, id string, known *verification.Session) (verification.Retrieved, error) {
	key := allowanceKey{sessionKey{account, id}, shares.HolderOf(ctx)}
	if err := s.links.spend(key, known, s.config.Clock()); err != nil {
		return verification.Retrieved{}, err
	}
	s.config.Step(StepRetrieve)
	retrieved, err := s.config.Stripe.Retrieve(ctx, account, id)
	lacksLink := retrieved.Object.Status == verification.StatusRequiresInput && retrieved.Object.Redaction == verification.RedactionNone &&
		retrieved.Link == verification.Link{}
	if err != nil || !lacksLink || s.links.wait(ctx, account, id) != nil || s.links.spend(key, known, s.config.Clock()) != nil {
		return retrieved, err
	}
	return s.config.Stripe.Retrieve(ctx, account, id)
}

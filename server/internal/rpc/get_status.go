package rpc

import (
	"cmp"
	"context"
	"errors"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// freshnessWait is how long GetStatus waits for min_revision.
const freshnessWait = 2 * time.Second

// GetStatus implements the RPC.
func (s *Service) GetStatus(ctx context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	// Most calls take this path. It keeps no record on its stack: to grow a goroutine's stack takes longer than
	// the rest of the call.
	if session := s.cached(request); session != nil {
		return &verificationv1.GetStatusResponse{Verification: s.config.current(ctx, session)}, nil
	}
	return s.readStatus(ctx, request)
}

// cached returns the session of a valid request by id, if the cache has it at min_revision and in the account; else nil.
func (s *Service) cached(request *verificationv1.GetStatusRequest) *verification.Session {
	id := request.GetSessionId()
	if request.GetMinRevision() < 0 || request.GetIncludeHistory() || request.GetIncludePerson() || !isSessionID(id) {
		return nil
	}
	session := s.config.Live.Peek(id, request.GetMinRevision())
	if session == nil || !s.config.fits(session, request.GetAccount()) {
		return nil
	}
	return session
}

func (s *Service) readStatus(ctx context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	session, err := s.getStatus(ctx, request)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	response := &verificationv1.GetStatusResponse{Verification: s.config.current(ctx, &session)}
	if request.GetIncludeHistory() {
		response.History = s.config.history(ctx, &session)
	}
	return response, nil
}

func (s *Service) getStatus(ctx context.Context, request *verificationv1.GetStatusRequest) (verification.Session, error) {
	read, err := s.statusReader(request)
	if err != nil {
		return verification.Session{}, err
	}
	if request.GetMinRevision() < 0 {
		return verification.Session{}, invalid("min_revision", "is negative")
	}
	if request.GetIncludePerson() {
		return verification.Session{}, unimplemented("include_person")
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	session, err := read(ctx, request.GetMinRevision())
	if errors.Is(err, store.ErrNotFound) && request.GetMinRevision() > 0 {
		return session, errRevisionLost // the caller has seen it, and neither the store nor Stripe has it
	}
	if err != nil || session.Revision >= request.GetMinRevision() {
		return session, err
	}
	return s.awaitRevision(ctx, session, request.GetMinRevision(), read)
}

// statusReader reads the session that a call asks for, at a revision of at least minRevision if it has come that far.
type statusReader func(ctx context.Context, minRevision int32) (verification.Session, error)

func (s *Service) statusReader(request *verificationv1.GetStatusRequest) (statusReader, error) {
	atLeast := func(least int32) int32 {
		if request.GetIncludeHistory() {
			return asStored // the cache can lack entries that made no revision
		}
		return least
	}
	switch subject := request.GetSubject().(type) {
	case *verificationv1.GetStatusRequest_SessionId:
		id, account := subject.SessionId, request.GetAccount()
		return func(ctx context.Context, least int32) (verification.Session, error) {
			return s.lookup.session(ctx, account, id, atLeast(least))
		}, cmp.Or(checkSessionID(id), checkAccount(account))
	case *verificationv1.GetStatusRequest_ClientReferenceId:
		reference := subject.ClientReferenceId
		return func(ctx context.Context, least int32) (verification.Session, error) {
			return s.lookup.newest(ctx, reference, atLeast(least))
		}, cmp.Or(checkReference(reference), checkNoAccount(request.GetAccount()))
	default:
		return nil, invalid("subject", "is missing: set session_id or client_reference_id")
	}
}

// awaitRevision waits for a revision that the caller has seen elsewhere. The store is read where it is written, never
// from a replica, so a revision that does not come was lost, unless Stripe knows more. During the wait the call holds
// no slot: else a caller that asks for revisions that never come would hold all slots, 2 s each, at no cost.
func (s *Service) awaitRevision(ctx context.Context, session verification.Session, revision int32, read statusReader) (verification.Session, error) {
	woken := s.config.Live.Hub().Subscribe(hub.Session(session.ID))
	defer woken.Close()
	waiting, cancel := context.WithTimeout(ctx, freshnessWait)
	defer cancel()
	for {
		newer, err := read(ctx, revision)
		if errors.Is(err, store.ErrNotFound) {
			return verification.Session{}, errRevisionLost
		}
		if err != nil {
			return verification.Session{}, err
		}
		if newer.Revision >= revision {
			return newer, nil
		}
		session = newer
		// Only after a last read: the wake-up can have been lost although the revision was not.
		if waiting.Err() != nil {
			break
		}
		err = s.config.Await(ctx, func() {
			select {
			case <-woken.C():
			case <-waiting.Done():
			}
		})
		if ctx.Err() != nil {
			return verification.Session{}, errNotYet
		}
		if err != nil {
			return verification.Session{}, err
		}
	}
	newer, err := s.rereads.read(ctx, s.config.Ingest, session, s.config.Clock())
	switch {
	case err == nil && newer.Revision >= revision:
		return newer, nil
	case hasEnded(ctx):
		return verification.Session{}, errNotYet
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrConflict):
		return verification.Session{}, err // the store was not read, so nothing is known to be lost
	}
	return verification.Session{}, errRevisionLost
}

// hasEnded reports whether a context has ended, or its deadline has passed: a read that the context bounds can return
// a moment before the context ends.
func hasEnded(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

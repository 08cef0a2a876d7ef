package rpc

import (
	"context"
	"slices"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// maxPersonSessions is how many of the newest sessions of a person are summed up.
	maxPersonSessions = 100
	// fewSessions is how many of them a call reads without a slot for lists.
	fewSessions = 5
	// maxPersonPages bounds the pages of a reference that one call reads. One page is enough, unless sessions of other accounts or
	// of the other mode have the same reference. A reference leads to at most 1,000 sessions, which are ten pages.
	maxPersonPages = 10
)

// person sums up the sessions that have a reference, of the account and mode of answer, the session that answers. It returns answer
// as the store has it by then, so that the whole response is of one time. It reads one page of the reference: two round trips to
// Redis, and one record for each session.
func (s *Service) person(ctx context.Context, reference string, answer verification.Session) (verification.Session, *verificationv1.Person, error) {
	sessions, err := s.sessionsOf(ctx, reference, answer)
	if err != nil {
		return answer, nil, err
	}
	at := slices.IndexFunc(sessions, func(session verification.Session) bool { return session.ID == answer.ID })
	switch {
	case at < 0: // an archived session has no reference: Stripe said that the reference leads to it
		sessions = append(sessions, answer)
		slices.SortFunc(sessions, newestFirst)
		sessions = sessions[:min(len(sessions), maxPersonSessions)]
	case sessions[at].Revision > answer.Revision:
		answer = sessions[at]
	default:
		sessions[at] = answer
	}
	person := &verificationv1.Person{Sessions: int32(len(sessions)), FailedAttempts: failuresOf(sessions)}
	verified := slices.IndexFunc(sessions, func(session verification.Session) bool { return session.Status == verification.StatusVerified })
	if verified >= 0 {
		person.Verified = s.config.current(ctx, &sessions[verified])
	}
	return answer, person, nil
}

// sessionsOf returns the newest sessions that have a reference, of the account and mode of answer, newest first. It needs a slot for
// lists. If none is free, it first looks whether the person has few sessions, as most persons do: these need no slot.
func (s *Service) sessionsOf(ctx context.Context, reference string, answer verification.Session) ([]verification.Session, error) {
	slot, err := s.lists.Take(shares.HolderOf(ctx))
	if err != nil {
		few, err := s.config.Live.List(ctx, store.ListQuery{Reference: reference, Limit: fewSessions})
		if err != nil || few.Next == (store.ListCursor{}) {
			return appendLike(nil, few.Sessions, answer), err
		}
		if slot, err = s.awaitListSlot(ctx); err != nil {
			return nil, err
		}
	}
	defer slot.Release()
	var sessions []verification.Session
	query := store.ListQuery{Reference: reference, Limit: maxPersonSessions}
	for range maxPersonPages {
		page, err := s.config.Live.List(ctx, query)
		if err != nil {
			return nil, err
		}
		sessions = appendLike(sessions, page.Sessions, answer)
		if query.After = page.Next; page.Next == (store.ListCursor{}) || len(sessions) >= maxPersonSessions {
			break
		}
	}
	return sessions[:min(len(sessions), maxPersonSessions)], nil
}

// appendLike appends those sessions of a page that are of the account and mode of answer.
func appendLike(sessions, page []verification.Session, answer verification.Session) []verification.Session {
	for _, session := range page {
		if session.Account == answer.Account && session.Livemode == answer.Livemode {
			sessions = append(sessions, session)
		}
	}
	return sessions
}

// failuresOf counts the failed submissions of sessions. It does not count what a session inherited from the one that it replaced.
func failuresOf(sessions []verification.Session) (count int32) {
	all := make(map[string]int32, len(sessions))
	for _, session := range sessions {
		all[session.ID] = session.FailedAttempts
	}
	for _, session := range sessions {
		inherited := session.Inherited.FailedAttempts
		if session.Inherited == (verification.Inheritance{}) { // an older version noted no amounts
			inherited = min(all[session.Predecessor], session.FailedAttempts)
		}
		count += session.FailedAttempts - inherited
	}
	return count
}

// newestFirst is the order of sessions that have one reference.
func newestFirst(a, b verification.Session) int {
	switch {
	case newer(a, b):
		return -1
	case newer(b, a):
		return 1
	default:
		return 0
	}
}

package reconcile

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// countAgain is when a session that Stripe did not know is read again, until the session is absent. It is shorter than the
// default interval between two catch-ups.
const countAgain = verification.AbsentApart * time.Second

// maxProbes is how many other sessions of an account a run reads, to learn whether Stripe knows one.
const maxProbes = 5

// listsForProbe are the lists in which a run looks for another session of an account.
var listsForProbe = []verification.List{verification.ListVerified, verification.ListRequiresInput, verification.ListCanceled}

// noteAbsent counts the due sessions that Stripe did not know in this run. Only a run that read another session of the same
// account with success counts: otherwise the key can be of another account, or all sessions of the account are gone.
func (u *run) noteAbsent(ctx context.Context) error {
	for _, session := range u.unknown {
		if confirmed, err := u.confirmed(ctx, session.Account); err != nil {
			return err
		} else if !confirmed {
			continue
		}
		var after verification.Session
		err := u.withRetries(ctx, func(ctx context.Context) (err error) {
			after, err = u.config.Store.Update(ctx, session.ID, func(current verification.Session) (verification.Session, bool, error) {
				next, changed := verification.NoteAbsent(current, session, u.config.Clock().Unix())
				return next, changed, nil
			})
			return err
		})
		switch {
		case errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrCorrupt):
			continue // a later run counts
		case err != nil:
			return fmt.Errorf("storing that session %s is absent: %w", session.ID, err)
		case after.IsAbsent():
			u.summary.Absent++
			u.visits.Remove(session.ID)
			u.config.Logger.Warn("catch-up: Stripe has not known a session for several runs; it is in no list and is not read again until an event of it comes or the API key changes",
				"session_id", session.ID, "account", session.Account, "status", session.Status)
		default:
			u.visits.Add(session.ID, visit{account: session.Account, revision: session.Revision, holdOff: firstHoldOff, until: u.config.Clock().Add(countAgain)})
		}
	}
	return nil
}

// confirmed reports whether this run has read a session of the account with success. If none was due, it reads up to
// maxProbes of those that it finds, until Stripe knows one.
func (u *run) confirmed(ctx context.Context, account string) (bool, error) {
	if answer, asked := u.answered[account]; asked {
		return answer, nil
	}
	others, err := u.otherSessions(ctx, account)
	if err != nil {
		return false, err
	}
	answered := false
probes:
	for _, other := range others {
		_, err = u.reread(ctx, other)
		switch {
		case err == nil:
			answered = true
			break probes
		case errors.Is(err, verification.ErrStripeUnknown), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrCorrupt):
			u.config.Logger.Info("catch-up: another session of the account could not be read", "account", account, "session_id", other.ID, "error", err)
		case refused(err), errors.Is(err, verification.ErrStripeBudget), ctx.Err() == nil && errors.Is(err, verification.ErrStripeUnavailable):
			u.config.Logger.Info("catch-up: no other session of the account could be read", "account", account, "session_id", other.ID, "error", err)
			break probes
		default:
			return false, fmt.Errorf("reading session %s again: %w", other.ID, err)
		}
	}
	u.noteAnswer(account, answered)
	return answered, nil
}

// noteAnswer notes whether a session of an account was read with success.
func (u *run) noteAnswer(account string, answered bool) {
	if u.answered == nil {
		u.answered = make(map[string]bool)
	}
	u.answered[account] = answered
}

// noteListed notes a session of the account, of which an event was listed.
func (w *walk) noteListed(id string) {
	if w.witness == nil {
		w.witness = make(map[string]string)
	}
	w.witness[w.account] = id
}

// otherSessions returns up to maxProbes sessions of the account, apart from those that Stripe did not know in this run. The first
// ones are the likeliest that Stripe knows: one whose event was listed, and the newest. The others are random, so that
// sessions that were deleted at Stripe are not the only ones in each run.
func (u *run) otherSessions(ctx context.Context, account string) ([]verification.Session, error) {
	taken := map[string]bool{}
	for _, session := range u.unknown {
		taken[session.ID] = true
	}
	var listed, others []verification.Session
	if id := u.witness[account]; id != "" && !taken[id] {
		switch session, err := u.config.Store.Get(ctx, id); {
		case err == nil && session.Account == account:
			listed, taken[id] = append(listed, session), true
		case err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt):
			return nil, fmt.Errorf("reading session %s: %w", id, err)
		}
	}
	for _, list := range listsForProbe {
		page, err := u.config.Store.List(ctx, store.ListQuery{List: list, Limit: dueAtOnce / 10})
		if err != nil {
			return nil, fmt.Errorf("looking for another session of the account: %w", err)
		}
		for _, session := range page.Sessions {
			if session.Account == account && !taken[session.ID] {
				others, taken[session.ID] = append(others, session), true
			}
		}
	}
	mathrand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	for i := range others {
		if others[i].UpdateTime > others[0].UpdateTime {
			others[0], others[i] = others[i], others[0]
		}
	}
	others = append(listed, others...)
	return others[:min(maxProbes, len(others))], nil
}

// newKeys compares the API key of each account with the last two that runs had. If it is another, the absent sessions of the
// account are due again, and no session of it is held off. One key would not do: if replicas have different keys, each run
// would find another key than the last one.
func (u *run) newKeys(ctx context.Context, states []state) error {
	changed := map[string]bool{}
	for _, s := range states {
		if id := u.config.KeyID(s.account); s.keyID != 0 && s.keyID != id && s.keyBefore != id {
			changed[s.account] = true
		}
	}
	if len(changed) > 0 {
		for _, id := range u.visits.Keys() {
			if last, found := u.visits.Peek(id); found && changed[last.account] {
				u.visits.Remove(id)
			}
		}
		u.config.Logger.Info("catch-up: an API key has changed; the sessions that Stripe did not know are read again", "accounts", len(changed))
		for partition := range u.config.Store.Partitions() {
			if err := u.endAbsences(ctx, partition, changed); err != nil {
				return err
			}
		}
	}
	for _, s := range states {
		id := u.config.KeyID(s.account)
		if s.keyID == id {
			continue
		}
		if s.keyID != 0 {
			if err := u.note(ctx, markKeyBefore+s.account, s.keyID); err != nil {
				return err
			}
		}
		if err := u.note(ctx, markKey+s.account, id); err != nil {
			return err
		}
	}
	return nil
}

// endAbsences makes the absent sessions of some accounts due again, in one partition.
func (u *run) endAbsences(ctx context.Context, partition int, accounts map[string]bool) error {
	stay := 0
	for {
		if err := u.keep(ctx); err != nil {
			return err
		}
		ids, err := u.config.Store.Absent(ctx, partition, stay, dueAtOnce)
		if err != nil {
			return fmt.Errorf("listing the absent sessions: %w", err)
		}
		for _, id := range ids {
			after, err := u.config.Store.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
				if !accounts[current.Account] {
					return current, false, nil
				}
				next, changed := verification.EndAbsence(current)
				return next, changed, nil
			})
			switch {
			case err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrCorrupt):
				return fmt.Errorf("ending the absence of session %s: %w", id, err)
			case err != nil, after.IsAbsent(), !after.Exists():
				stay++
			}
		}
		if len(ids) < dueAtOnce {
			return nil
		}
	}
}

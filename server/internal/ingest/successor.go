package ingest

import (
	"context"
	"errors"
	"slices"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// maxLine bounds the sessions of a chain of replacements; each of them used a retry.
const maxLine = 128

// Inherit does what is due of a session that replaced another one, and returns the session as it is then:
// the other one names it as its successor, and it has the other one's counts. Where both are there already,
// or the claim to replace is not true, it changes nothing. Each of its commits can be the last of a process
// that stops: the next input, the next copy of the same event, and the next call continue there.
//
// The predecessors come first, the eldest before all, since each hands on what it has inherited itself.
// Errors are the store's or the context's.
func (i *Ingest) Inherit(ctx context.Context, session verification.Session) (verification.Session, error) {
	if session.Owes() == "" {
		return session, nil
	}
	line, err := i.line(ctx, session)
	if err != nil {
		return session, err
	}
	for n := len(line) - 2; n >= 0; n-- {
		if line[n], err = i.inheritFrom(ctx, line[n+1], line[n]); err != nil {
			return session, err
		}
	}
	return line[0], nil
}

// line is a session and those that it continues, the youngest first, as far as they are known here and the
// claims are true. A claim that would close a circle is none.
func (i *Ingest) line(ctx context.Context, session verification.Session) ([]verification.Session, error) {
	line := []verification.Session{session}
	for heir := session; len(line) < maxLine; heir = line[len(line)-1] {
		owed := heir.Owes()
		elder := heir.Predecessor
		if elder == "" {
			elder = owed
		}
		if elder == "" {
			return line, nil
		}
		if slices.ContainsFunc(line, func(s verification.Session) bool { return s.ID == elder }) {
			i.config.Logger.WarnContext(ctx, "a session claims to replace one that continues it: the claim is ignored", "session_id", heir.ID, "claimed", elder)
			return line[:1], nil
		}
		predecessor, err := i.config.Store.Get(ctx, elder)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return line, nil
		case err != nil:
			return nil, err
		case owed != "" && !predecessor.Accepts(heir):
			return line, nil
		}
		line = append(line, predecessor)
	}
	return line[:1], nil
}

// inheritFrom makes an heir of a session: first that names the heir, from when on its grants are final,
// then the heir takes its counts.
func (i *Ingest) inheritFrom(ctx context.Context, predecessor, heir verification.Session) (verification.Session, error) {
	if heir.Owes() == "" {
		return heir, nil
	}
	predecessor, err := i.config.Store.Update(ctx, predecessor.ID, func(current verification.Session) (verification.Session, bool, error) {
		if !current.Accepts(heir) {
			return current, false, nil // another one was faster
		}
		next, changed := verification.Supersede(current, heir.ID, i.config.Clock())
		return next, changed, nil
	})
	if err != nil || predecessor.SupersededBy != heir.ID {
		return heir, err
	}
	return i.config.Store.Update(ctx, heir.ID, func(current verification.Session) (verification.Session, bool, error) {
		if !current.Exists() {
			// The store has lost it since. That is no absence: a caller would be told that Stripe does not know it.
			return current, false, store.ErrConflict
		}
		next, changed := verification.Inherit(current, predecessor, i.config.Clock())
		return next, changed, nil
	})
}

package reconcile

import (
	"cmp"
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"
)

// The names of the marks that the store keeps for all replicas. Those of accounts end with the
// account's id, which is empty for the platform.
const (
	// markLoss is a random number for the newest loss of the store that only a full run makes good; 0: none.
	markLoss = "catch-up:loss"
	// markRestored is the markLoss that a full run of the account has made good. If it differs from
	// markLoss, a full run is owed to the account.
	markRestored = "catch-up:restored:"
	// markBehind is the Unix second since when the account is behind; 0: it is not.
	markBehind = "catch-up:behind:"
	// markLeft is the Unix second of the oldest event that could not be applied; 0: there is none.
	markLeft = "catch-up:left:"
)

// state is what the store has noted about the catch-up of one account.
type state struct {
	account  string // empty: the platform
	loss     int64  // markLoss
	restored int64
	behind   int64
	left     int64
}

// Behind is an account whose events have not been caught up.
type Behind struct {
	// Account is the connected account's id; empty: the platform itself.
	Account string
	// Since is when a run came first to no end with it.
	Since time.Time
	// Reason is what kept this run from it; nil: another replica's run knows.
	Reason error
}

// Name returns the account's id, or "platform".
func (b Behind) Name() string { return cmp.Or(b.Account, "platform") }

// sortedBehind returns the accounts with the longest behind first.
func sortedBehind(behind []Behind) []Behind {
	slices.SortFunc(behind, func(a, b Behind) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Account, b.Account))
	})
	return behind
}

// accounts returns the accounts to read from: the platform, then the connected ones that are accepted:
// those that the settings name, those of which the store knows a session, and those that were known to
// this process before, since the store can lose what it knew.
func (u *run) accounts(ctx context.Context) ([]string, error) {
	known, err := u.config.Store.Accounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the connected accounts: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, account := range known {
		u.seen[account] = true
	}
	accounts := []string{""}
	for account := range u.seen {
		if account != "" && u.config.Accounts.Accept(account) {
			accounts = append(accounts, account)
		}
	}
	slices.Sort(accounts)
	return accounts, nil
}

// states returns what is noted about all accounts, in the order in which a run takes them: the platform,
// the accounts that are up to date, then those that are behind, in any order. So an account with which
// no run comes to an end keeps no other from being caught up, and is not kept from it by another.
func (u *run) states(ctx context.Context) ([]state, error) {
	accounts, err := u.accounts(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{markLoss}
	for _, account := range accounts {
		names = append(names, markRestored+account, markBehind+account, markLeft+account)
	}
	marks, err := u.config.Store.Marks(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("reading what is noted about the accounts: %w", err)
	}
	states := make([]state, len(accounts))
	for i, account := range accounts {
		of := marks[1+3*i:]
		states[i] = state{account: account, loss: marks[0], restored: of[0], behind: of[1], left: of[2]}
	}
	mathrand.Shuffle(len(states), func(i, j int) { states[i], states[j] = states[j], states[i] })
	slices.SortStableFunc(states, func(a, b state) int { return cmp.Compare(a.rank(), b.rank()) })
	return states, nil
}

func (s state) rank() int {
	switch {
	case s.account == "":
		return 0
	case s.behind == 0:
		return 1
	default:
		return 2
	}
}

// behind returns the accounts that are noted as behind.
func (u *run) behind(ctx context.Context) ([]Behind, error) {
	states, err := u.states(ctx)
	if err != nil {
		return nil, err
	}
	behind := []Behind{}
	for _, s := range states {
		if s.behind != 0 {
			behind = append(behind, Behind{Account: s.account, Since: time.Unix(s.behind, 0)})
		}
	}
	return sortedBehind(behind), nil
}

// noteCaughtUp notes that a run came to the end of an account's events.
func (u *run) noteCaughtUp(ctx context.Context, s state) error {
	if s.behind == 0 {
		return nil
	}
	return u.note(ctx, markBehind+s.account, 0)
}

// noteBehind notes that a run did not come to the end of an account's events, and returns since when
// that is so.
func (u *run) noteBehind(ctx context.Context, s state) (time.Time, error) {
	if s.behind != 0 {
		return time.Unix(s.behind, 0), nil
	}
	now := u.config.Clock().Unix()
	return time.Unix(now, 0), u.note(ctx, markBehind+s.account, now)
}

func (u *run) note(ctx context.Context, name string, value int64) error {
	if err := u.config.Store.SetMark(ctx, name, value); err != nil {
		return fmt.Errorf("noting %s: %w", name, err)
	}
	return nil
}

package reconcile

import (
	"cmp"
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"
)

// The names of the marks that the store keeps for all replicas. The name of an account's mark ends with the id of the
// account, which is empty for the platform.
const (
	// markLoss is a random number for the newest loss of the store that needs a full run. 0 means that there was none.
	markLoss = "catch-up:loss"
	// markRestored is the value of markLoss at the last full run of the account. If it differs from markLoss, the account
	// needs a full run.
	markRestored = "catch-up:restored:"
	// markFull is how far the newest full run of the account has come, and for which loss: see packFull. 0 means that none has begun.
	markFull = "catch-up:full:"
	// markBehind is the Unix second since when the account is behind. 0 means that it is not.
	markBehind = "catch-up:behind:"
	// markLeft is the Unix second of the oldest event that could not be applied. 0 means that there is none.
	markLeft = "catch-up:left:"
	// markWished is a random number for the newest wish of the account, and markGranted the one that the newest run has served. See
	// Wish. markWish, which has no account, is a random number for the newest wish of all.
	markWished  = "catch-up:wished:"
	markGranted = "catch-up:granted:"
	markWish    = "catch-up:wish"
	// markKey is Config.KeyID at the last run, and markKeyBefore the newest other one of the runs before. 0 means that no run
	// noted it. Replicas can have two keys for an account.
	markKey       = "catch-up:key:"
	markKeyBefore = "catch-up:key-before:"
)

// state holds the marks of one account.
type state struct {
	account  string // empty for the platform
	loss     int64  // markLoss
	restored int64
	progress int64 // markFull
	behind   int64
	left     int64
	wished   int64
	granted  int64
	keyID    int64
	// keyBefore is markKeyBefore.
	keyBefore int64
}

// Behind is an account that is behind.
type Behind struct {
	// Account is the id of the connected account. It is empty for the platform itself.
	Account string
	// Since is when a run first failed to reach the end of the account's events.
	Since time.Time
	// Reason is why this run did not reach the end. It is nil if another replica made the run.
	Reason error
}

// Name returns the account's id, or "platform".
func (b Behind) Name() string { return cmp.Or(b.Account, "platform") }

// sortedBehind sorts the accounts and returns them. The account that has been behind longest comes first.
func sortedBehind(behind []Behind) []Behind {
	slices.SortFunc(behind, func(a, b Behind) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Account, b.Account))
	})
	return behind
}

// accounts returns the accounts to read: the platform, then every accepted connected account that the settings name, that
// has a key of its own, of which the store knows a session, or that this process has seen before. A key of an
// organization has no platform. The last ones count because the store can lose
// its data.
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
	for _, account := range u.config.Keyed() {
		u.seen[account] = true
	}
	accounts := []string{}
	if u.config.HasPlatform() {
		accounts = append(accounts, "")
	}
	for account := range u.seen {
		if account != "" && u.config.Accounts.Accept(account) {
			accounts = append(accounts, account)
		}
	}
	slices.Sort(accounts)
	return accounts, nil
}

// states returns the marks of all accounts, in the order in which a run reads the accounts: the platform, the accounts
// that are not behind, then the accounts that are behind in random order. So an account with endless problems cannot
// block the others, and no other account can block it.
func (u *run) states(ctx context.Context) ([]state, error) {
	accounts, err := u.accounts(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{markLoss}
	for _, account := range accounts {
		names = append(names, markRestored+account, markBehind+account, markLeft+account, markWished+account, markGranted+account, markKey+account, markKeyBefore+account, markFull+account)
	}
	marks, err := u.config.Store.Marks(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("reading the marks of the accounts: %w", err)
	}
	states := make([]state, len(accounts))
	for i, account := range accounts {
		of := marks[1+8*i:]
		states[i] = state{
			account: account, loss: marks[0], restored: of[0], behind: of[1], left: of[2], wished: of[3], granted: of[4], keyID: of[5], keyBefore: of[6], progress: of[7],
		}
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

// behind returns the accounts whose marks say that they are behind.
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

// noteCaughtUp stores that a run reached the end of an account's events.
func (u *run) noteCaughtUp(ctx context.Context, s state) error {
	if s.behind == 0 {
		return nil
	}
	return u.note(ctx, markBehind+s.account, 0)
}

// noteBehind stores that a run did not reach the end of an account's events. It returns since when the account is behind.
func (u *run) noteBehind(ctx context.Context, s state) (time.Time, error) {
	if s.behind != 0 {
		return time.Unix(s.behind, 0), nil
	}
	now := u.config.Clock().Unix()
	return time.Unix(now, 0), u.note(ctx, markBehind+s.account, now)
}

func (u *run) note(ctx context.Context, name string, value int64) error {
	if err := u.config.Store.SetMark(ctx, name, value); err != nil {
		return fmt.Errorf("storing the mark %s: %w", name, err)
	}
	return nil
}

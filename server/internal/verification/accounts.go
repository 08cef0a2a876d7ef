package verification

// Accounts is the set of connected accounts whose sessions this service accepts. A nil set accepts all accounts.
type Accounts map[string]bool

// NewAccounts returns the set of the account ids ("acct_..."). It returns nil if there are none.
func NewAccounts(ids []string) Accounts {
	if len(ids) == 0 {
		return nil
	}
	accounts := make(Accounts, len(ids))
	for _, id := range ids {
		accounts[id] = true
	}
	return accounts
}

// Accept reports whether the sessions of an account are accepted. The empty account is the platform itself, which
// is always accepted.
func (a Accounts) Accept(account string) bool { return a == nil || account == "" || a[account] }

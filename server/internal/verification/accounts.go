package verification

// Accounts are the connected accounts whose sessions concern this service; nil: all do.
type Accounts map[string]bool

// NewAccounts makes a list of account ids ("acct_..."); none: all are accepted.
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

// Accept says whether the sessions of an account are taken. An empty account is the platform itself,
// which always is.
func (a Accounts) Accept(account string) bool { return a == nil || account == "" || a[account] }

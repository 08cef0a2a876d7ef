package client

import verificationv1 "example.com/verification-status/gen/verification/v1"

// AccountOption is an option of Status, History and Retry. Make one with [Account].
type AccountOption struct{ account string }

// Account names the connected account of a session ("acct_..."). The service needs it to read a session at Stripe that it has
// not seen yet. If the service knows the session, it must be the account of the session: the call fails with [ErrNotFound]
// otherwise. It does not go with [Reference]: such a call fails with [ErrInvalidRequest].
func Account(account string) AccountOption { return AccountOption{account} }

func (o AccountOption) changeStatus(request *verificationv1.GetStatusRequest) {
	request.Account = o.account
}

func (o AccountOption) changeRetry(request *verificationv1.RetryVerificationRequest) {
	request.Account = o.account
}

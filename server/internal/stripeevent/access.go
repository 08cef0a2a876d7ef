package stripeevent

const (
	typeDeauthorized = "account.application.deauthorized"
	typeAuthorized   = "account.application.authorized"
)

// DeauthorizedError means that an event says that a connected account has taken its permission from this platform.
type DeauthorizedError struct {
	// EventID and Account are not empty.
	EventID, Account string
	Livemode         bool
	// Second is the Unix second of the event, or 0 if the event has no usable time.
	Second int64
}

func (e *DeauthorizedError) Error() string {
	return "account " + e.Account + " has revoked its permission"
}

// AuthorizedError means that an event says that a connected account has given its permission to this platform. It wraps
// ErrNotIdentity.
type AuthorizedError struct {
	// EventID and Account are not empty.
	EventID, Account string
	Livemode         bool
	// Second is DeauthorizedError.Second.
	Second int64
}

func (e *AuthorizedError) Error() string {
	return "account " + e.Account + " has given its permission"
}

// Unwrap returns ErrNotIdentity.
func (e *AuthorizedError) Unwrap() error { return ErrNotIdentity }

// access returns the error for an event about the permission of an account.
func (e *envelope) access(plain, id, account string) error {
	at, ok := parseTime(e.Created)
	if !ok {
		var created second
		_ = created.UnmarshalJSON(e.Created)
		at = created.value
	}
	if plain == typeAuthorized {
		return &AuthorizedError{EventID: id, Account: account, Livemode: e.Livemode.value, Second: at}
	}
	return &DeauthorizedError{EventID: id, Account: account, Livemode: e.Livemode.value, Second: at}
}

package verification

// SessionQuery selects a page of Stripe's list of sessions. The zero value selects the first page of all sessions.
type SessionQuery struct {
	// From and Before bound the field `created` of the sessions, in Unix seconds. From is inclusive, Before is exclusive. 0
	// means no bound.
	From, Before int64
	// After is SessionPage.Last of the page before. It is empty for the first page.
	After string
}

// SessionPage is one page of Stripe's list of sessions, the newest first. Stripe lists all sessions ever created.
type SessionPage struct {
	// Objects holds the sessions that can be used.
	Objects []Object
	// Malformed holds the ids of the sessions that cannot be used. An id is empty if it cannot be read either.
	Malformed []string
	// Oldest and Newest are the least and the greatest `created` of all sessions of the page, in Unix seconds, including
	// the sessions that cannot be used. They are 0 for an empty page.
	Oldest, Newest int64
	// Last is the id of the last session of the page.
	Last string
	// More is true if the list continues after Last.
	More bool
	// AsOf is Read.AsOf, by Stripe's clock. It is 0 if Stripe's answer had no time.
	AsOf int64
}

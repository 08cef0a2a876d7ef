package verification

// EventTypes lists all event types of Identity sessions. Callers must not change it.
var EventTypes = []string{EventCreated, EventProcessing, EventRequiresInput, EventVerified, EventCanceled, EventRedacted}

// EventQuery selects a page of events. The zero value selects the first page of all events that Stripe still has.
type EventQuery struct {
	// From and Before bound the field `created` of the events, in Unix seconds. From is inclusive, Before is exclusive. 0
	// means no bound.
	From, Before int64
	// After is EventPage.Last of the page before. It is empty for the first page.
	After string
	// Wished is true if a thin event asked for the page: such reads come first and do not count in the budget.
	Wished bool
}

// Purpose returns the purpose of the read.
func (q EventQuery) Purpose() Purpose {
	if q.Wished {
		return PurposeAmbiguous
	}
	return PurposeCatchUp
}

// EventPage is one page of Stripe's events about Identity sessions, the newest first.
type EventPage struct {
	// Events holds the events that can be used. Their Source is SourceStripeAPI. RecordTime is not set.
	Events []Event
	// Malformed holds the ids of the events that cannot be used. An id is empty if it cannot be read either.
	Malformed []string
	// Oldest and Newest are the least and the greatest `created` of all events of the page, in Unix seconds, including
	// the events that cannot be used. They are 0 for an empty page.
	Oldest, Newest int64
	// Last is the id of the last event of the page.
	Last string
	// More is true if the list continues after Last.
	More bool
	// AsOf is Read.AsOf, by Stripe's clock. It is 0 if Stripe's answer had no time.
	AsOf int64
}

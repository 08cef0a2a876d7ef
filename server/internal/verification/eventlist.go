package verification

// EventTypes are all event types of Identity sessions. It must not be changed.
var EventTypes = []string{EventCreated, EventProcessing, EventRequiresInput, EventVerified, EventCanceled, EventRedacted}

// EventQuery says which events to list at Stripe. The zero value lists all events that Stripe still has.
type EventQuery struct {
	// From and Before bound the events' created, in Unix seconds. From is included, Before is not. 0: no bound.
	From, Before int64
	// After is the EventPage.Last of the page before. Empty: the first page.
	After string
}

// EventPage is one page of Stripe's events about Identity sessions, newest first.
type EventPage struct {
	// Events are the usable events, with SourceStripeAPI. RecordTime is not set.
	Events []Event
	// Malformed are the ids of the other events; empty if even the id cannot be read.
	Malformed []string
	// Oldest and Newest are the least and the greatest created of all events of the page, usable or not, in Unix seconds. They are 0
	// for an empty page.
	Oldest, Newest int64
	// Last is the id of the last event of the page.
	Last string
	// More is true if the list continues after Last.
	More bool
	// AsOf is Read.AsOf: the time by Stripe's clock, in Unix seconds; 0 if Stripe did not send it.
	AsOf int64
}

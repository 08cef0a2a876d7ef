package rig

// Life has all events of one session at Stripe, each in a second of its own.
type Life struct {
	ID     string
	Events []Event
}

// EventIDs returns the ids of the events, in their order.
func (l Life) EventIDs() (ids []string) {
	for _, e := range l.Events {
		ids = append(ids, e.ID)
	}
	return ids
}

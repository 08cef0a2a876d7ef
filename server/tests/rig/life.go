package rig

import ()

// Life is all that Stripe has to tell of one session, in five different seconds.
type Life struct {
	ID     string
	Events []Event
}

func (l Life) EventIDs() (ids []string) {
	for _, e := range l.Events {
		ids = append(ids, e.ID)
	}
	return ids
}

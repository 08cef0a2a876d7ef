package main

import (
	"context"
	"net/http"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// consumer is one named consumer of the change feed, in words.
type consumer struct {
	Name, By string
	Tone     string
	State    string // what it is doing
	Advice   string // what to do; empty: nothing
	Behind   string // how much it has not handled yet
	Last     string // when it last acknowledged
	Machine  string
}

type consumersPage struct {
	frame
	Consumers []consumer
	Problem   *trouble
}

// consumers shows how far the programs are behind that act on outcomes, such as a mailer.
func (s *site) consumers(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), lookTimeout)
	defer cancel()
	f := s.frame(r, "Consumers", "consumers")
	page, status, times := consumersPage{frame: f}, http.StatusOK, s.clock()
	all, err := s.status.ListConsumers(ctx)
	if err != nil {
		t := s.explain(ctx, err)
		page.Problem, status = &t, t.Status
	}
	for _, c := range all {
		page.Consumers = append(page.Consumers, consumerOf(c, times))
	}
	s.render(w, status, "consumers", page)
}

func consumerOf(c *verificationv1.Consumer, times clock) consumer {
	shown := consumer{Name: c.GetName(), By: c.GetPrincipal(), Last: "Never", Behind: "Nothing"}
	if c.GetAcknowledgeTime() != nil {
		shown.Last, shown.Machine = times.at(c.GetAcknowledgeTime()), times.machine(c.GetAcknowledgeTime())
	}
	if n := c.GetPendingChanges(); n > 0 {
		shown.Behind = count(int(n), "change") + ", the oldest " + duration(c.GetLag().AsDuration()) + " old"
	}
	switch {
	case c.GetExpired():
		shown.Tone, shown.State = "bad", "Has lost changes"
		shown.Advice = "Changes that it had not handled are gone. Its owner deletes it, begins a new one, and then looks at the checks that matter."
	case !c.GetActive():
		shown.Tone, shown.State = "wait", "Not connected"
		shown.Advice = "Nothing is lost yet: it continues where it was. If it is to run, its owner looks at the program."
	case c.GetPendingChanges() == 0:
		shown.Tone, shown.State = "good", "Up to date"
	default:
		shown.Tone, shown.State = "open", "Catching up"
	}
	return shown
}

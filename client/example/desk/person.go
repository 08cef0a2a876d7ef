package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// sessionID is the contract's form of a session's id.
var sessionID = regexp.MustCompile(`^vs_[A-Za-z0-9_]{1,252}$`)

func isSession(text string) bool { return sessionID.MatchString(text) }

// maxReference is the contract's limit of a reference, in bytes.
const maxReference = 255

// search finds a session by its id, or a person by their reference.
func (s *site) search(w http.ResponseWriter, r *http.Request) {
	text := strings.TrimSpace(r.URL.Query().Get("q"))
	switch {
	case text == "":
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case isSession(text):
		http.Redirect(w, r, sessionPath(text), http.StatusSeeOther)
	default:
		http.Redirect(w, r, personPath(text), http.StatusSeeOther)
	}
}

func sessionPath(id string) string { return "/session/" + url.PathEscape(id) }
func personPath(reference string) string {
	return "/person?" + url.Values{"reference": {reference}}.Encode()
}

// summary is the whole person in words, not one session only.
type summary struct {
	Verified   string // the session in which the person is verified; empty: none is known
	When       string
	Here       bool // it is the session that the page is about
	Newest     bool // the summary is of the newest checks, and there can be older ones
	Sessions   string
	Failed     string
	Reference  string
	Unreadable string // why there is no summary
}

// maxSummary is of how many sessions the service makes a summary: the newest ones.
const maxSummary = 100

func summaryOf(p *verificationv1.Person, reference, session string, times clock) summary {
	verified := p.GetVerified()
	return summary{
		Verified: verified.GetSessionId(), When: times.at(verified.GetUpdateTime()), Here: verified.GetSessionId() == session && session != "",
		Newest:   p.GetSessions() >= maxSummary,
		Sessions: count(int(p.GetSessions()), "check"), Failed: count(int(p.GetFailedAttempts()), "failed submission"), Reference: reference,
	}
}

type personPage struct {
	frame
	Reference string
	Summary   *summary
	Rows      []row
	More      bool
	MaxRows   int
}

// person shows all checks of a person.
func (s *site) person(w http.ResponseWriter, r *http.Request) {
	reference := r.URL.Query().Get("reference")
	f := s.frame(r, "One person", "")
	f.Query = reference
	if reference == "" || len(reference) > maxReference {
		s.problem(w, r, trouble{Status: http.StatusBadRequest, Title: "That is no reference", Text: "A reference has 1 to 255 characters.", Advice: "Search for your own id of the person, or for Stripe’s id of the check: “vs_” and more."})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookTimeout)
	defer cancel()
	_, about, err := s.status.Person(ctx, reference)
	if err == nil || isUnimplemented(err) { // the service is too old to have a summary
		rows, more, failed := s.read(ctx, client.ByReference(reference), maxRows)
		if failed == nil {
			times := s.clock()
			page := personPage{frame: f, Reference: reference, More: more, MaxRows: maxRows}
			if about != nil {
				all := summaryOf(about, reference, "", times)
				page.Summary = &all
			}
			for _, v := range rows {
				one := rowOf(v, times)
				one.Age, one.At, one.Machine = times.age(v.GetCreateTime()), times.at(v.GetCreateTime()), times.machine(v.GetCreateTime())
				page.Rows = append(page.Rows, one)
			}
			s.render(w, http.StatusOK, "person", page)
			return
		}
		err = failed
	}
	t := s.explain(ctx, err)
	if errors.Is(err, client.ErrNotFound) {
		t.Title, t.Text = "Nobody is known as “"+reference+"”", "No check has this reference. References are compared letter by letter, and small letters are not capitals."
		t.Advice = "Search for Stripe’s id of the check (“vs_” and more) if you have it. A check that was erased has no reference any more."
	}
	t.Back, t.BackText = "/", "Go to the queue"
	f.Title = t.Title
	s.render(w, t.Status, "problem", problemPage{f, t})
}

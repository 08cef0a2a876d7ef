package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// storyPage is one person's story.
type storyPage struct {
	frame
	Session, Reference, Account string
	Test                        bool
	Now                         state
	Failure                     *failure
	Reason                      string // Stripe's own words
	Resolution                  *resolution
	Facts                       []fact
	Acts                        []button
	Summary                     *summary
	Timeline                    []moment
	Dashboard                   string
	SupersededBy, Replaces      string
}

// fact is one line about the session.
type fact struct{ Name, Value string }

// resolution says how an operator dealt with the person.
type resolution struct{ By, Time, Machine string }

// story shows one session: what is now, what can be done, and everything that happened.
func (s *site) story(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !isSession(id) {
		s.nothing(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookTimeout)
	defer cancel()
	v, history, err := s.history(ctx, id, r.URL.Query().Get("revision"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	times := s.clock()
	f := s.frame(r, stateOf(v, times).Title, "")
	f.Query, f.Live, f.Stamp = v.GetClientReferenceId(), "/live"+sessionPath(id), number(v.GetRevision())
	f.News, f.Done = "Now: "+f.Title, s.justDone(r, id)
	page := storyPage{
		frame: f, Session: id, Reference: v.GetClientReferenceId(), Account: v.GetAccount(), Test: !v.GetLivemode(), Now: stateOf(v, times),
		Facts: factsOf(v, times), Acts: actsOf(v), Timeline: timeline(history, times), Dashboard: dashboard(v),
		SupersededBy: v.GetSupersededBy(), Replaces: v.GetReplaces(),
	}
	if v.GetLastError() != nil {
		words := wordsOf(v.GetLastError())
		page.Failure, page.Reason = &words, v.GetLastError().GetReason()
	}
	if done := v.GetResolution(); done != nil {
		page.Resolution = &resolution{done.GetPrincipal(), times.at(done.GetTime()), times.machine(done.GetTime())}
	}
	page.Summary = s.summary(ctx, v, times)
	s.render(w, http.StatusOK, "session", page)
}

// history reads a session at a revision that its page has heard of, so that no page goes backwards. After a loss of writes in Redis
// there is no such revision: then it reads what there is.
func (s *site) history(ctx context.Context, id, revision string) (*verificationv1.Verification, []*verificationv1.HistoryEntry, error) {
	if heard, err := strconv.ParseInt(revision, 10, 32); err == nil && heard > 0 {
		v, history, err := s.status.History(ctx, client.Session(id), client.MinRevision(int32(heard)))
		if !errors.Is(err, client.ErrRevisionLost) {
			return v, history, err
		}
	}
	return s.status.History(ctx, client.Session(id))
}

// summary returns the summary of the person, or nil if the session has no reference. A summary that cannot be read must not hide the
// story.
func (s *site) summary(ctx context.Context, v *verificationv1.Verification, times clock) *summary {
	reference := v.GetClientReferenceId()
	if reference == "" {
		return nil
	}
	_, about, err := s.status.Person(ctx, reference)
	if isUnimplemented(err) {
		return nil
	}
	if err != nil {
		return &summary{Reference: reference, Unreadable: s.explain(ctx, err).Title}
	}
	if about == nil { // the service is too old to know it
		return nil
	}
	all := summaryOf(about, reference, v.GetSessionId(), times)
	return &all
}

func factsOf(v *verificationv1.Verification, times clock) []fact {
	retry := v.GetRetry()
	facts := []fact{
		{"Failed submissions", number(retry.GetFailedAttempts())},
		{"Retries granted", number(retry.GetRetriesGranted())},
		{"Retries left", number(retry.GetRetriesRemaining())},
		{"Began", times.at(v.GetCreateTime())},
		{"Last change at Stripe", times.at(v.GetUpdateTime())},
	}
	if v.GetAccount() != "" {
		facts = append(facts, fact{"Account at Stripe", v.GetAccount()})
	}
	return facts
}

// dashboard returns the address of a session in Stripe's Dashboard. The account of a connected session comes first.
func dashboard(v *verificationv1.Verification) string {
	address := "https://dashboard.stripe.com/"
	if v.GetAccount() != "" {
		address += url.PathEscape(v.GetAccount()) + "/"
	}
	if !v.GetLivemode() {
		address += "test/"
	}
	return address + "identity/verification-sessions/" + url.PathEscape(v.GetSessionId())
}

// doneFor is how long a page says what was just done. A page that is loaded again later does not.
const doneFor = 2 * time.Minute

// justDone returns what the person has just done. The address alone does not say so: it has the desk's signature.
func (s *site) justDone(r *http.Request, id string) string {
	name := r.URL.Query().Get("done")
	if !s.staff.opens(r.URL.Query().Get("seal"), doneFor, "done", personOf(r.Context()).name, id, name) {
		return ""
	}
	if name == unneeded {
		return "Nothing needed a change: the person can try again already."
	}
	return acts[name].done
}

// unneeded says in addresses that an act has changed nothing.
const unneeded = "unneeded"

// donePath returns the address of the story after an act.
func (s *site) donePath(r *http.Request, id, name string) string {
	seal := s.staff.seal("done", personOf(r.Context()).name, id, name)
	return sessionPath(id) + "?" + url.Values{"done": {name}, "seal": {seal}}.Encode()
}

package main

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

const (
	// maxRows is how many sessions of a list are read and shown: one page of the service. It bounds the cost of a look at the queue.
	maxRows = 200
	// longCheck is from when on a check is in the queue. Stripe seldom takes more than a few minutes.
	longCheck = 15 * time.Minute
	// lookTimeout bounds the calls of one page.
	lookTimeout = 8 * time.Second
)

// reason is why people wait for help: one list of the queue.
type reason struct {
	Key, Name string
	About     string // what the list has
	Empty     string // what it means that the list is empty
	filter    client.Filter
}

var reasons = []reason{
	{"no-tries", "No tries left", "These people have used all their tries, and cannot go on alone.", "Everybody who was refused still has a try.", client.ByDenial(verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)},
	{"refused", "Refused for good", "After these reasons no further try is allowed, unless somebody here allows one.", "Nobody was refused for a reason that ends all tries.", client.ByDenial(verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE)},
	{"long", "Checked for long", "Stripe has been checking these for over 15 minutes. It seldom takes more than a few.", "Stripe keeps nobody waiting.", client.ProcessingLongerThan(longCheck)},
	{"unsure", "Uncertain", "Two reports of Stripe contradict each other, and Stripe could not be asked yet. The status shown can differ from Stripe’s.", "What is shown here is what Stripe says.", client.InDoubt()},
}

// list is one list of the queue as it was read.
type list struct {
	reason
	rows    []*verificationv1.Verification // the newest first, at most maxRows
	more    bool                           // there can be older ones
	problem error
}

// Count returns the number of sessions as text. "–": unknown.
func (l list) Count() string {
	switch {
	case l.problem != nil:
		return "–"
	case l.more:
		return number(maxRows) + "+"
	}
	return number(len(l.rows))
}

// readQueue reads all lists at the same time. A list that cannot be read has its error.
func (s *site) readQueue(ctx context.Context) []list {
	lists := make([]list, len(reasons))
	var all sync.WaitGroup
	for i, reason := range reasons {
		lists[i].reason = reason
		all.Go(func() { lists[i].rows, lists[i].more, lists[i].problem = s.read(ctx, reason.filter, maxRows) })
	}
	all.Wait()
	return lists
}

// read returns the newest sessions of a list, at most n, and whether there can be more. It asks for one page of n, and for no further
// one to learn whether there is one.
func (s *site) read(ctx context.Context, filter client.Filter, n int) (rows []*verificationv1.Verification, more bool, err error) {
	for v, err := range s.status.List(ctx, filter, client.PageSize(n)) {
		if err != nil {
			return nil, false, err
		}
		if rows = append(rows, v); len(rows) == n {
			return rows, true, nil
		}
	}
	return rows, false, nil
}

// row is one session of a list, in words.
type row struct {
	Session, Reference string
	Title              string
	State              string // what it amounts to, if Title is why it failed
	Tone               string
	Age                string // how long the person has waited
	At, Machine        string // since when
	Test               bool
}

func rowOf(v *verificationv1.Verification, times clock) row {
	now := stateOf(v, times)
	r := row{
		Session: v.GetSessionId(), Reference: v.GetClientReferenceId(), Title: now.Title, Tone: now.Tone,
		Age: times.age(v.GetUpdateTime()), At: times.at(v.GetUpdateTime()), Machine: times.machine(v.GetUpdateTime()), Test: !v.GetLivemode(),
	}
	if fails(v) && v.GetResolution() == nil && v.GetSupersededBy() == "" {
		r.State = now.Title
		r.Title = wordsOf(v.GetLastError()).What
	}
	return r
}

// tab is the link to one list.
type tab struct {
	reason
	Count   string
	Current bool
	Urgent  bool // somebody is in it
	Failed  bool
}

type queuePage struct {
	frame
	Tabs    []tab
	Now     reason
	Rows    []row
	Newest  bool // the newest come first
	More    bool
	MaxRows int
	Problem *trouble
	Quiet   bool // nobody waits in any list
}

// queue shows who waits for help, by reason and age. The person who has waited longest comes first.
func (s *site) queue(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), lookTimeout)
	defer cancel()
	lists, times := s.readQueue(ctx), s.clock()
	now := chosen(lists, r.URL.Query().Get("reason"))
	f := s.frame(r, "Queue", "queue")
	f.Live = "/live/queue"
	page := queuePage{frame: f, Now: now.reason, More: now.more, MaxRows: maxRows, Newest: r.URL.Query().Get("sort") == "newest", Quiet: true}
	for _, l := range lists {
		page.Tabs = append(page.Tabs, tab{l.reason, l.Count(), l.Key == now.Key, len(l.rows) > 0, l.problem != nil})
		page.Quiet = page.Quiet && l.problem == nil && len(l.rows) == 0
	}
	if now.problem != nil {
		t := s.explain(ctx, now.problem)
		page.Problem = &t
	}
	for _, v := range now.rows {
		one := rowOf(v, times)
		one.State = "" // the name of the list says it
		page.Rows = append(page.Rows, one)
	}
	if !page.Newest {
		slices.Reverse(page.Rows)
	}
	page.News = count(len(now.rows), "check") + " in “" + now.Name + "”"
	status := http.StatusOK
	if page.Problem != nil {
		status = page.Problem.Status
	}
	s.render(w, status, "queue", page)
}

// chosen returns the list with a key. Without one it returns the first list that has somebody in it, else the first one.
func chosen(lists []list, key string) list {
	for _, l := range lists {
		if l.Key == key {
			return l
		}
	}
	for _, l := range lists {
		if len(l.rows) > 0 {
			return l
		}
	}
	return lists[0]
}

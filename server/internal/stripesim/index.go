package stripesim

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	// maxIndex is how many sessions the index page lists, the newest first.
	maxIndex = 50
	// indexReload reloads a page with a session whose outcome comes by itself. It has the URL: without it, a browser that shows
	// /#vs_... moves to the fragment and loads nothing.
	indexReload = "2; url=/"
)

// indexView has the values of the page at /.
type indexView struct {
	Title      string
	Reload     string // of <meta http-equiv="refresh">; empty: the page stays as it is
	Base       string
	CreatePath string
	Sessions   []indexSession
	Older      int // how many are not listed
}

type indexSession struct {
	ID, Reference, Status, StatusText string
	Facts                             string
	Said                              string   // what the page says beyond the status
	Choices                           *choices // nil: the session accepts no outcome now
	Link                              string
}

func (s *Sim) routeIndex(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.showIndex)
	mux.HandleFunc("POST /sessions/{id}", s.takeChoice)
}

func (s *Sim) showIndex(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	view := indexView{Title: "Simulated Stripe Identity", Base: s.base, CreatePath: sessionsPath, Older: max(0, len(s.order)-maxIndex)}
	for i := len(s.order) - 1; i >= view.Older; i-- {
		view.Sessions = append(view.Sessions, s.indexed(s.order[i]))
		if s.order[i].status == statusProcessing {
			view.Reload = indexReload
		}
	}
	s.mu.Unlock()
	writePage(w, http.StatusOK, "index.html", view)
}

// indexed needs s.mu.
func (s *Sim) indexed(sess *session) indexSession {
	facts := []string{sess.kind, age(s.now().Sub(time.Unix(sess.created, 0)))}
	if sess.realm.live {
		facts = append(facts, "live mode")
	}
	if sess.realm.account != "" {
		facts = append(facts, sess.realm.account)
	}
	if sess.attempt > 0 {
		facts = append(facts, fmt.Sprintf("submissions: %d", sess.attempt))
	}
	if sess.redaction != "" {
		facts = append(facts, "redaction: "+sess.redaction)
	}
	view := indexSession{ID: sess.id, Reference: sess.reference, Status: sess.status, StatusText: spaced(sess.status), Facts: strings.Join(facts, " · ")}
	switch {
	case sess.status == statusProcessing:
		view.Said = "The outcome arrives in a moment."
	case sess.lastError != nil:
		view.Said = sess.lastError.Reason + " (" + sess.lastError.Code + ")"
	}
	if sess.takesInput() {
		offered := sess.offered()
		view.Choices, view.Link = &offered, s.newLink(sess)
	}
	return view
}

// age says roughly how long ago a time was.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute old"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min old", int(d.Minutes()))
	default:
		return fmt.Sprintf("%d h old", int(d.Hours()))
	}
}

// takeChoice submits an outcome without a link: the page is for developers, who act for the person.
func (s *Sim) takeChoice(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxPageForm)
	id, outcome := r.PathValue("id"), r.PostFormValue("outcome")
	if !isOutcome(outcome) {
		refuse(http.StatusBadRequest, "This is not an outcome", wrongOutcome).write(w, r)
		return
	}
	var refused *Error
	if err := s.Submit(id, outcome); errors.As(err, &refused) {
		status := refused.HTTPStatus
		if status == http.StatusBadRequest {
			status = http.StatusConflict // the form was valid, but another submission was first
		}
		refuse(status, "Nothing was changed", refused.Message).write(w, r)
		return
	}
	seeOther(w, "/#"+id, "Submitted: "+outcome)
}

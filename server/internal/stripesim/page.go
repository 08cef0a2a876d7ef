package stripesim

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

const maxPageForm = 4 << 10 // bytes

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// pageView is what the hosted page shows: the form, or one message.
type pageView struct {
	Title   string
	Message string
	Good    bool
	Form    *formView
}

type formView struct {
	SessionID string
	Link      string
	Problem   string // why the last try was refused
	Groups    []groupView
}

type groupView struct {
	Title   string
	Choices []choiceView
}

type choiceView struct{ Value, Text string }

func (s *Sim) routePage(mux *http.ServeMux) {
	mux.HandleFunc("GET /verify/{token}", s.showForm)
	mux.HandleFunc("POST /verify/{token}", s.takeForm)
	mux.HandleFunc("GET /verify/{token}/done", s.showDone)
}

// showForm uses nothing up: previews of links and a look at the page do no harm.
func (s *Sim) showForm(w http.ResponseWriter, r *http.Request) {
	token := r.PathValue("token")
	s.mu.Lock()
	sess, _, state := s.openLink(token)
	view := pageView{}
	if state == linkUsable {
		view = s.formPage(sess, token, "")
	}
	refusal := refusalOf(sess, state)
	s.mu.Unlock()
	if refusal != nil {
		refusal.write(w, r)
		return
	}
	writePage(w, http.StatusOK, view)
}

// takeForm is the person's submission: it uses the link up and sends them where the business wants.
func (s *Sim) takeForm(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxPageForm)
	outcome := r.PostFormValue("outcome")
	token := r.PathValue("token")

	s.mu.Lock()
	sess, number, state := s.openLink(token)
	refusal := refusalOf(sess, state)
	if refusal == nil && !offered(outcome) {
		view := s.formPage(sess, token, "Choose one of the outcomes below.")
		refusal = &pageRefusal{http.StatusBadRequest, view,
			"Send outcome=verified, canceled or an error code such as document_expired. The page lists them all."}
	}
	next := "/verify/" + token + "/done"
	if refusal == nil {
		sess.usedLinks = append(sess.usedLinks, number)
		// It cannot be refused: the link's state was checked under this same lock.
		_ = s.submit(sess, outcome)
		if sess.returnURL != "" {
			next = sess.returnURL
		}
	}
	s.mu.Unlock()
	if refusal != nil {
		refusal.write(w, r)
		return
	}
	setPageHeaders(w, "text/plain; charset=utf-8")
	w.Header().Set("Location", next)
	w.WriteHeader(http.StatusSeeOther)
	_, _ = fmt.Fprintf(w, "Submitted: %s\n", outcome)
}

func (s *Sim) showDone(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	sess, _, state := s.openLink(r.PathValue("token"))
	refusal := refusalOf(sess, state)
	s.mu.Unlock()
	if state == linkUsed {
		writePage(w, http.StatusOK, pageView{Title: "Thank you", Good: true,
			Message: "Your answer was taken. You can close this page."})
		return
	}
	if refusal == nil {
		refusal = refuse(http.StatusNotFound, "Nothing was submitted yet", "Open the link itself to choose an outcome.")
	}
	refusal.write(w, r)
}

// formPage needs s.mu.
func (s *Sim) formPage(sess *session, token, problem string) pageView {
	form := &formView{SessionID: sess.id, Link: s.base + "/verify/" + token, Problem: problem,
		Groups: []groupView{{"Success", []choiceView{{OutcomeVerified, "The identity is verified."}}}}}
	for _, g := range errorGroups {
		group := groupView{Title: g.title + " problems"}
		for _, c := range g.codes {
			if c.code != OutcomeAbandoned {
				group.Choices = append(group.Choices, choiceView{c.code, c.reason})
			}
		}
		form.Groups = append(form.Groups, group)
	}
	form.Groups = append(form.Groups, groupView{"Leave without submitting", []choiceView{
		{OutcomeAbandoned, "Close the page: nothing is submitted, and the session can be tried again."},
		{OutcomeCanceled, "Cancel the session, as the business would. This cannot be undone."},
	}})
	return pageView{Title: "Verify your identity", Form: form}
}

// pageRefusal is an answer other than success, as a page and as a line for command lines.
type pageRefusal struct {
	status int
	view   pageView
	line   string
}

func refuse(status int, title, message string) *pageRefusal {
	return &pageRefusal{status, pageView{Title: title, Message: message}, title + ". " + message}
}

// refusalOf says why a link cannot be used, or nil. It reads the session: needs s.mu.
func refusalOf(sess *session, state linkState) *pageRefusal {
	const again = "Ask whoever sent you here for a new link."
	switch state {
	case linkUnknown:
		return refuse(http.StatusNotFound, "This link is not known", "It is misspelt, or the simulator was started anew. "+again)
	case linkUsed:
		return refuse(http.StatusGone, "This link was already used", "Each link works once. "+again)
	case linkExpired:
		return refuse(http.StatusGone, "This link has expired", "Links work for 48 hours. "+again)
	case linkClosed:
		return refuse(http.StatusGone, "This verification takes no answer now",
			"Its status is "+strings.ReplaceAll(sess.status, "_", " ")+".")
	default:
		return nil
	}
}

func (p *pageRefusal) write(w http.ResponseWriter, r *http.Request) {
	// Browsers say that they want HTML; curl does not, and a terminal full of tags helps nobody.
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		writePage(w, p.status, p.view)
		return
	}
	setPageHeaders(w, "text/plain; charset=utf-8")
	w.WriteHeader(p.status)
	_, _ = fmt.Fprintln(w, p.line)
}

func writePage(w http.ResponseWriter, status int, view pageView) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, view); err != nil {
		// Only a fault in the embedded template leads here, and the tests render every branch.
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	setPageHeaders(w, "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// setPageHeaders keeps the link out of caches, referrers and other sites' frames.
func setPageHeaders(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
}

package stripesim

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

const maxPageForm = 4 << 10 // bytes

//go:embed pages
var pageFiles embed.FS

//go:embed pages/style.css
var style string

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"style": func() template.CSS { return template.CSS(style) },
}).ParseFS(pageFiles, "pages/*.html"))

// contentPolicy forbids a page to load or run anything but its style sheet, which is allowed by its hash. It has no form-action:
// browsers apply that to the redirect after a form too, which leads to the business.
var contentPolicy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; frame-ancestors 'none'"
}()

// pageView has the values of the hosted page: the form, or one message.
type pageView struct {
	Title   string
	Reload  string // see indexView
	Message string
	Good    bool
	Back    string // the return URL of the business; empty if it has none
	Form    *formView
}

type formView struct {
	SessionID string
	Link      string
	Problem   string // why the last submission was refused
	Choices   choices
}

func (s *Sim) routePage(mux *http.ServeMux) {
	mux.HandleFunc("GET /verify/{token}", s.showForm)
	mux.HandleFunc("POST /verify/{token}", s.takeForm)
	mux.HandleFunc("GET /verify/{token}/done", s.showDone)
}

// showForm does not use up the link, so that a preview of the link does no harm.
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
	writePage(w, http.StatusOK, "hosted.html", view)
}

// takeForm handles the person's submission: it uses up the link and redirects to the return URL.
func (s *Sim) takeForm(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxPageForm)
	outcome := r.PostFormValue("outcome")
	token := r.PathValue("token")

	s.mu.Lock()
	sess, number, state := s.openLink(token)
	refusal := refusalOf(sess, state)
	if refusal == nil && !isOutcome(outcome) {
		view := s.formPage(sess, token, "Choose one of the outcomes below.")
		refusal = &pageRefusal{http.StatusBadRequest, view, wrongOutcome}
	}
	next := "/verify/" + token + "/done"
	if refusal == nil {
		sess.usedLinks = append(sess.usedLinks, number)
		// It cannot be refused: the state of the link was checked under the same lock.
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
	seeOther(w, next, "Submitted: "+outcome)
}

// wrongOutcome answers a command line with the outcomes that can be sent.
const wrongOutcome = "Send outcome=verified, canceled or an error code such as document_expired. The page lists them all."

func (s *Sim) showDone(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	sess, _, state := s.openLink(r.PathValue("token"))
	refusal := refusalOf(sess, state)
	s.mu.Unlock()
	if state == linkUsed {
		writePage(w, http.StatusOK, "hosted.html", pageView{Title: "Thank you", Good: true,
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
	return pageView{Title: "Verify your identity", Form: &formView{SessionID: sess.id, Link: s.base + "/verify/" + token,
		Problem: problem, Choices: sess.offered()}}
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

// refusalOf returns why a link cannot be used, or nil. Needs s.mu, since it reads the session.
func refusalOf(sess *session, state linkState) *pageRefusal {
	const again = "Ask the site that sent you here for a new link."
	var refusal *pageRefusal
	switch state {
	case linkUnknown:
		refusal = refuse(http.StatusNotFound, "This link is not known", "It is misspelt, or the simulator was restarted since. "+again)
	case linkUsed:
		refusal = refuse(http.StatusGone, "This link was already used", "Each link works once. "+again)
	case linkExpired:
		refusal = refuse(http.StatusGone, "This link has expired", "Links work for 48 hours. "+again)
	case linkClosed:
		refusal = refuse(http.StatusGone, "This verification takes no answer now", "Its status is "+spaced(sess.status)+".")
	default:
		return nil
	}
	if sess != nil {
		refusal.view.Back = sess.returnURL
	}
	return refusal
}

// spaced returns a status in words.
func spaced(status string) string { return strings.ReplaceAll(status, "_", " ") }

func (p *pageRefusal) write(w http.ResponseWriter, r *http.Request) {
	// Browsers say that they want HTML. curl does not, and gets plain text.
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		writePage(w, p.status, "hosted.html", p.view)
		return
	}
	setPageHeaders(w, "text/plain; charset=utf-8")
	w.WriteHeader(p.status)
	_, _ = fmt.Fprintln(w, p.line)
}

// seeOther redirects a browser, and answers a command line with what was done.
func seeOther(w http.ResponseWriter, next, line string) {
	setPageHeaders(w, "text/plain; charset=utf-8")
	w.Header().Set("Location", next)
	w.WriteHeader(http.StatusSeeOther)
	_, _ = fmt.Fprintln(w, line)
}

func writePage(w http.ResponseWriter, status int, name string, view any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, view); err != nil {
		// Only a mistake in the embedded template leads here. Tests render every branch.
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	setPageHeaders(w, "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// setPageHeaders keeps the link out of caches, referrers and frames of other sites.
func setPageHeaders(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", contentPolicy)
}

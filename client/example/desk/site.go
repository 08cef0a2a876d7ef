package main

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/sse"
)

//go:embed static
var static embed.FS

// site serves the pages of the desk.
type site struct {
	status     *client.Client
	staff      staff
	publicURL  string
	host       string // publicURL's
	secure     bool   // browsers reach the desk with TLS
	returnURL  string
	zone       *time.Location
	logger     *slog.Logger // of the acts
	feed       feed
	streams    context.Context // ends the streams of live pages when the server stops
	endStreams context.CancelFunc
	now        func() time.Time
	otherHost  sync.Once // logs the first request with another Host
}

func newSite(status *client.Client, s settings) (*site, error) {
	u, err := url.Parse(s.publicURL)
	if err != nil {
		return nil, err
	}
	streams, endStreams := context.WithCancel(context.Background())
	return &site{
		status: status, publicURL: s.publicURL, host: u.Host, secure: u.Scheme == "https", returnURL: s.returnURL, zone: s.zone,
		staff:  staff{userHeader: s.userHeader, tokenHeader: s.tokenHeader, secret: s.proxySecret, key: s.key, now: time.Now},
		logger: slog.Default(), feed: feed{client: status}, streams: streams, endStreams: endStreams, now: time.Now,
	}, nil
}

// handler has the routes. Every page but the sign-in needs a person.
func (s *site) handler() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", s.queue)
	pages.HandleFunc("GET /search", s.search)
	pages.HandleFunc("GET /person", s.person)
	pages.HandleFunc("GET /session/{id}", s.story)
	pages.HandleFunc("GET /session/{id}/{act}", s.confirm)
	pages.HandleFunc("POST /session/{id}/{act}", s.do)
	pages.HandleFunc("GET /consumers", s.consumers)
	pages.Handle("GET /live/session/{id}", s.untilStopped(&sse.Handler{Client: s.status, Authorize: s.authorize}))
	pages.Handle("GET /live/queue", s.untilStopped(http.HandlerFunc(s.liveQueue)))
	pages.HandleFunc("/", s.nothing)

	mux := http.NewServeMux()
	files, _ := fs.Sub(static, "static") // fails for an invalid name only
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(files)))
	if s.staff.userHeader == "" {
		mux.HandleFunc("GET /sign-in", s.askName)
		mux.HandleFunc("POST /sign-in", s.signIn)
		mux.HandleFunc("POST /sign-out", s.signOut)
	}
	mux.Handle("/", s.signedIn(pages))
	// Pages of other sites cannot make requests that change something: browsers send the origin of a request. Each form has a
	// token besides, for browsers that send none.
	return s.guard(http.NewCrossOriginProtection().Handler(mux))
}

// untilStopped cancels requests when the server stops.
func (s *site) untilStopped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.streams, cancel)()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// policy lets the pages run the files of the desk and nothing else. No page of another site can show them in a frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard sets the headers of every answer, and answers at one address only: forms and cookies belong to it.
func (s *site) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Referrer-Policy", "no-referrer") // addresses have references in them
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		if s.secure {
			header.Set("Strict-Transport-Security", "max-age=31536000")
		}
		switch {
		case r.Host == s.host:
			next.ServeHTTP(w, r)
		case s.staff.userHeader == "" && isLoopback(r.Host) && r.Method == http.MethodGet && r.URL.Path == "/": // localhost for 127.0.0.1
			http.Redirect(w, r, s.publicURL+"/", http.StatusTemporaryRedirect)
		default: // a redirect would come back with the same Host if a proxy replaces it
			s.otherHost.Do(func() {
				slog.WarnContext(r.Context(), "a request has another Host than -public-url: a proxy must keep the header Host", "host", r.Host, "want", s.host)
			})
			s.problem(w, r, trouble{Status: http.StatusMisdirectedRequest, Title: "The desk is at another address", Text: "It is at " + s.publicURL + ", and this request asks for “" + r.Host + "”.",
				Advice: "Open the desk there. If you did, tell the people that run the desk: the proxy must keep the header Host."})
		}
	})
}

// signedIn lets requests of a person through. Their calls to the service have the person's own token, if the proxy passes it.
func (s *site) signedIn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := s.staff.who(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(p.context(r.Context())))
		case s.staff.userHeader == "" && r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/live/"):
			http.Error(w, "not signed in", http.StatusUnauthorized)
		case s.staff.userHeader == "":
			http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
		default:
			slog.WarnContext(r.Context(), "a request without a person was refused: check the settings of the proxy", "reason", err, "peer", r.RemoteAddr)
			s.problem(w, r, refusal(err))
		}
	})
}

// refusal returns the page for a request of nobody.
func refusal(err error) trouble {
	switch {
	case errors.Is(err, errNotByProxy):
		return trouble{Status: http.StatusForbidden, Title: "Open the desk by its own address", Text: "This request did not come through your company’s sign-in.",
			Advice: "Open the address that your team has given you. If you did, tell the people that run the desk: the proxy does not send its secret."}
	case errors.Is(err, errNoToken):
		return trouble{Status: http.StatusUnauthorized, Title: "Your sign-in is not complete", Text: "Your company’s sign-in passed your name, and no token of yours.",
			Advice: "Sign out and in again. If that does not help, tell the people that run the desk: the proxy does not pass the token."}
	}
	return trouble{Status: http.StatusUnauthorized, Title: "You are not signed in", Text: "Your company’s sign-in did not say who you are.",
		Advice: "Sign in again. If that does not help, tell the people that run the desk: the proxy does not pass your name."}
}

// clock returns the time of now.
func (s *site) clock() clock { return clock{zone: s.zone, now: s.now()} }

// authorize lets a person watch the session in the address. Everybody at the desk may look at every session.
func (s *site) authorize(r *http.Request) (sse.Viewer, error) {
	id := r.PathValue("id")
	if !isSession(id) {
		return sse.Viewer{}, sse.ErrForbidden
	}
	return sse.Viewer{User: personOf(r.Context()).name, Subject: client.Session(id)}, nil
}

func (s *site) nothing(w http.ResponseWriter, r *http.Request) {
	s.problem(w, r, trouble{Status: http.StatusNotFound, Title: "There is no such page", Text: "The address has a mistake, or it is of another version of the desk.", Advice: "Begin with the queue, or search for the person."})
}

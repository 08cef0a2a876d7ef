package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"example.com/verification-status/client"
	"example.com/verification-status/client/sse"
)

//go:embed static
var static embed.FS

// site is the page and what it asks for.
type site struct {
	status    *client.Client
	stripe    stripe
	publicURL string
	host      string // publicURL's
	people    people
	files     fs.FS
}

func newSite(status *client.Client, stripe stripe, publicURL string) (*site, error) {
	u, err := url.Parse(publicURL)
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, err
	}
	return &site{
		status: status, stripe: stripe, publicURL: publicURL, host: u.Host,
		people: people{secure: u.Scheme == "https"}, files: files,
	}, nil
}

// handler has four routes: the page with its files, the live status, the way in, and the way out.
func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.Handle("GET /", http.FileServerFS(s.files))
	mux.Handle("GET /events", &sse.Handler{Client: s.status, Authorize: s.authorize})
	mux.HandleFunc("POST /link", s.link)
	mux.HandleFunc("POST /sign-out", s.signOut)
	// Other sites' pages cannot send what changes something: browsers say where a request comes from.
	return s.guard(http.NewCrossOriginProtection().Handler(mux))
}

// policy lets the page run its own files, and nothing that got into it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard sets the headers that every answer has, and leads to the one address under which cookies and
// the way back from Stripe work.
func (s *site) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		switch {
		case r.Host == s.host:
			next.ServeHTTP(w, r)
		case r.Method == http.MethodGet && r.URL.Path == "/":
			http.Redirect(w, r, s.publicURL+"/", http.StatusTemporaryRedirect)
		default:
			http.Error(w, "this site is at "+s.publicURL, http.StatusMisdirectedRequest)
		}
	})
}

func (s *site) page(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.people.who(r); !ok {
		s.people.signIn(w)
	}
	http.ServeFileFS(w, r, s.files, "index.html")
}

// authorize says whose status a request may watch: the signed-in person's.
func (s *site) authorize(r *http.Request) (sse.Viewer, error) {
	reference, ok := s.people.who(r)
	if !ok {
		return sse.Viewer{}, sse.ErrNotSignedIn
	}
	return sse.Viewer{User: reference, Subject: client.Reference(reference), Session: s.people.session(r, reference)}, nil
}

// answer is what POST /link says: one of the two.
type answer struct {
	URL     string `json:"url,omitempty"`
	Problem string `json:"problem,omitempty"` // a RetryDenial, "SIGNED_OUT" or "UNAVAILABLE"
}

// link gives the person a way to Stripe's page: for the first time, to go on, or to try again. Its url is
// for this one answer; the client_secret stays here, for the page does not use Stripe.js.
func (s *site) link(w http.ResponseWriter, r *http.Request) {
	reference, ok := s.people.who(r)
	if !ok {
		reply(w, http.StatusUnauthorized, answer{Problem: "SIGNED_OUT"})
		return
	}
	link, err := s.wayIn(r.Context(), reference)
	var denied *client.RetryDeniedError
	switch {
	case errors.As(err, &denied):
		reply(w, http.StatusConflict, answer{Problem: strings.TrimPrefix(denied.Denial.String(), "RETRY_DENIAL_")})
	case err != nil:
		slog.ErrorContext(r.Context(), "no link for a person", "reference", reference, "error", err)
		reply(w, http.StatusServiceUnavailable, answer{Problem: "UNAVAILABLE"})
	default:
		reply(w, http.StatusOK, answer{URL: link})
	}
}

// wayIn creates a session only for those who have none. For all others verification-status decides: it
// counts the attempts, and replaces a session that was canceled.
func (s *site) wayIn(ctx context.Context, reference string) (string, error) {
	v, err := s.status.Status(ctx, client.Reference(reference))
	if errors.Is(err, client.ErrNotFound) {
		return s.stripe.create(ctx, reference, s.publicURL+"/")
	}
	if err != nil {
		return "", err
	}
	link, err := s.status.Retry(ctx, v.GetSessionId(), client.ReplaceClosed(s.publicURL+"/"))
	if err != nil {
		return "", err
	}
	return link.URL.Reveal(), nil
}

func (s *site) signOut(w http.ResponseWriter, r *http.Request) {
	reference, _ := s.people.who(r)
	s.people.signOut(w, reference)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func reply(w http.ResponseWriter, status int, body answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

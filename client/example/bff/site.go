package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/sse"
)

//go:embed static
var static embed.FS

// site is the page and what it asks for.
type site struct {
	status        *client.Client
	stripe        stripe
	publicURL     string
	host          string // publicURL's
	addressHeader string
	people        people
	files         fs.FS
	streams       context.Context // ends the streams of /events when the server stops
	endStreams    context.CancelFunc
}

func newSite(status *client.Client, s settings) (*site, error) {
	u, err := url.Parse(s.publicURL)
	if err != nil {
		return nil, err
	}
	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, err
	}
	streams, endStreams := context.WithCancel(context.Background())
	return &site{
		streams: streams, endStreams: endStreams,
		status: status, stripe: s.stripe, publicURL: s.publicURL, host: u.Host, addressHeader: s.addressHeader,
		people: people{key: s.cookieKey, secure: u.Scheme == "https"}, files: files,
	}, nil
}

// handler has four routes: the page with its files, the live status, the way in, and the way out.
func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.Handle("GET /", http.FileServerFS(s.files))
	mux.Handle("GET /events", s.untilStopped(&sse.Handler{Client: s.status, Authorize: s.authorize}))
	mux.HandleFunc("POST /link", s.link)
	mux.HandleFunc("POST /sign-out", s.signOut)
	// Other sites' pages cannot send what changes something: browsers say where a request comes from.
	return s.guard(http.NewCrossOriginProtection().Handler(mux))
}

// untilStopped ends requests when the server stops.
func (s *site) untilStopped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(s.streams, cancel)()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
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
		if s.people.secure { // the setting says so: a header that a visitor can send does not
			header.Set("Strict-Transport-Security", "max-age=31536000")
		}
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

// authorize says whose status a request may watch: the signed-in person's. A person who has not begun has
// none: nothing is asked about them.
func (s *site) authorize(r *http.Request) (sse.Viewer, error) {
	who, ok := s.people.who(r)
	if !ok {
		return sse.Viewer{}, sse.ErrNotSignedIn
	}
	viewer := sse.Viewer{User: who.reference(), Address: s.address(r), Session: s.people.session(r, who)}
	if !who.begun.IsZero() {
		viewer.Subject = client.Reference(who.reference())
	}
	return viewer, nil
}

// address is where a browser is, or empty where a proxy hides it: one with the certificate is in front
// wherever the site has TLS. An IPv6 network of 64 bits is one address, for it is one machine's to choose from.
// If the proxy's header is missing or cannot be read, it is the address of the proxy. With no
// address such a request would have no limit.
func (s *site) address(r *http.Request) string {
	if s.addressHeader != "" {
		all := strings.Split(strings.Join(r.Header.Values(s.addressHeader), ","), ",")
		if found := network(all[len(all)-1]); found != "" { // what stands before it the browser may have made up
			return found
		}
	} else if s.people.secure {
		return ""
	}
	return network(r.RemoteAddr)
}

// network reads an address, with or without a port. It is empty if there is none.
func network(text string) string {
	text = strings.TrimSpace(text)
	withPort, err := netip.ParseAddrPort(text)
	address := withPort.Addr()
	if err != nil {
		address, err = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	}
	if err != nil {
		return ""
	}
	if address = address.Unmap(); address.Is6() {
		network, _ := address.WithZone("").Prefix(64)
		return network.String()
	}
	return address.String()
}

// answer is what POST /link says: one of the two.
type answer struct {
	URL     string `json:"url,omitempty"`
	Problem string `json:"problem,omitempty"` // a RetryDenial, "SIGNED_OUT" or "UNAVAILABLE"
}

// linkTimeout bounds one POST /link: longer than a call at Stripe that is repeated, and shorter than the page
// waits.
const linkTimeout = 40 * time.Second

// statusTimeout bounds the look-up in one POST /link. Without a connection a call waits for one until its deadline,
// and a person can begin without the service.
const statusTimeout = 5 * time.Second

// link gives the person a way to Stripe's page: for the first time, to go on, or to try again. Its url is
// for this one answer; the client_secret stays here, for the page does not use Stripe.js.
func (s *site) link(w http.ResponseWriter, r *http.Request) {
	who, ok := s.people.who(r)
	if !ok {
		reply(w, http.StatusUnauthorized, answer{Problem: "SIGNED_OUT"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), linkTimeout)
	defer cancel()
	link, err := s.wayIn(ctx, &who)
	var denied *client.RetryDeniedError
	switch {
	case errors.As(err, &denied):
		reply(w, http.StatusConflict, answer{Problem: strings.TrimPrefix(denied.Denial.String(), "RETRY_DENIAL_")})
	case err != nil:
		slog.ErrorContext(ctx, "no link for a person", "reference", who.reference(), "error", err)
		reply(w, http.StatusServiceUnavailable, answer{Problem: "UNAVAILABLE"})
	default:
		s.people.remember(w, who) // that they have begun, for 30 more days
		reply(w, http.StatusOK, answer{URL: link})
	}
}

// wayIn creates a session only for a person who has none. For all others verification-status decides: it
// counts the attempts, and replaces a session that was canceled.
//
// A person with a new cookie is not looked up: there is nothing to find, and a look-up at Stripe that finds nothing
// is a read that somebody else needs. A person with an older cookie is, even if it says that nothing has begun:
// else a copy of it would be a further first try on each day.
//
// People can begin while verification-status cannot be reached too, or has no reads left for look-ups today. A
// person who has just begun gets the same session once more then.
func (s *site) wayIn(ctx context.Context, who *person) (string, error) {
	if who.isNew() {
		return s.begin(ctx, who)
	}
	asking, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	v, err := s.status.Status(asking, client.Reference(who.reference()))
	switch {
	case errors.Is(err, client.ErrNotFound), away(ctx, err) && (who.begun.IsZero() || who.justBegan()):
		return s.begin(ctx, who)
	case err != nil:
		return "", err
	}
	link, err := s.status.Retry(ctx, v.GetSessionId(), client.ReplaceClosed(s.publicURL+"/"))
	if err != nil {
		return "", err
	}
	return link.URL.Reveal(), nil
}

// away reports whether a call failed because verification-status cannot be reached, or cannot answer in time. The
// context is that of the caller: if it has ended, there is nothing to do in place of the call.
func away(ctx context.Context, err error) bool {
	return ctx.Err() == nil && (errors.Is(err, client.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded))
}

// begin creates the person's session, or gets the one that they have just begun.
func (s *site) begin(ctx context.Context, who *person) (string, error) {
	if !who.justBegan() {
		who.begun = time.Now()
	}
	return s.stripe.create(ctx, who.reference(), s.publicURL+"/")
}

func (s *site) signOut(w http.ResponseWriter, r *http.Request) {
	who, _ := s.people.who(r)
	s.people.signOut(w, who)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func reply(w http.ResponseWriter, status int, body answer) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

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

// site serves the page and the requests of the page.
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

// handler has four routes: the page with its files, the live status, the link to Stripe, and signing out.
func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.Handle("GET /", http.FileServerFS(s.files))
	mux.Handle("GET /events", s.untilStopped(&sse.Handler{Client: s.status, Authorize: s.authorize}))
	mux.HandleFunc("POST /link", s.link)
	mux.HandleFunc("POST /sign-out", s.signOut)
	// Pages of other sites cannot make requests that change something: browsers send the origin of a request.
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

// policy lets the page run its own files and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard sets the headers of every answer, and redirects to the one address at which cookies and the return from Stripe work.
func (s *site) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Cache-Control", "no-store")
		if s.people.secure { // by the setting, never by a header, which a visitor can send
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

// authorize returns the signed-in person as the viewer. A person without a session has the zero Subject, and costs no watch.
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

// address returns the address of the browser, or "" if a proxy hides it. A site with TLS always has a proxy in front, which has
// the certificate. A /64 network of IPv6 counts as one address, because one machine can use all of it. If the header of the proxy
// is missing or unreadable, address returns that of the proxy: without an address, no limit would apply.
func (s *site) address(r *http.Request) string {
	if s.addressHeader != "" {
		all := strings.Split(strings.Join(r.Header.Values(s.addressHeader), ","), ",")
		if found := network(all[len(all)-1]); found != "" { // the browser can have made up the ones before it
			return found
		}
	} else if s.people.secure {
		return ""
	}
	return network(r.RemoteAddr)
}

// network returns the address in text, with or without a port, or "" if there is none. Of IPv6 it returns the /64 network.
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

// answer is the answer to POST /link. One field is set.
type answer struct {
	URL     string `json:"url,omitempty"`
	Problem string `json:"problem,omitempty"` // a RetryDenial, "SIGNED_OUT", "REFUSED" or "UNAVAILABLE"
}

// linkTimeout bounds one POST /link. It is longer than a repeated call to Stripe, and shorter than the wait of the page.
const linkTimeout = 40 * time.Second

// errVerified: the person is verified, maybe in an older session than the newest.
var errVerified = errors.New("the person is verified")

// statusTimeout bounds the GetStatus of a POST /link. Without a connection the call waits for one until its deadline, and a person
// can begin without the service.
const statusTimeout = 5 * time.Second

// link answers with a link to Stripe's page, for a first attempt, to continue, or to try again. The link goes into this answer
// only. The client_secret stays here, because the page does not use Stripe.js.
func (s *site) link(w http.ResponseWriter, r *http.Request) {
	who, ok := s.people.who(r)
	if !ok {
		reply(w, http.StatusUnauthorized, answer{Problem: "SIGNED_OUT"})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), linkTimeout)
	defer cancel()
	link, err := s.linkFor(ctx, &who)
	var denied *client.RetryDeniedError
	switch {
	case errors.Is(err, errVerified):
		reply(w, http.StatusConflict, answer{Problem: "ALREADY_VERIFIED"})
	case errors.As(err, &denied):
		reply(w, http.StatusConflict, answer{Problem: strings.TrimPrefix(denied.Denial.String(), "RETRY_DENIAL_")})
	case err != nil:
		slog.ErrorContext(ctx, "cannot create a link for a person", "reference", who.reference(), "error", err)
		if isLasting(err) {
			reply(w, http.StatusConflict, answer{Problem: "REFUSED"})
			return
		}
		reply(w, http.StatusServiceUnavailable, answer{Problem: "UNAVAILABLE"})
	default:
		s.people.renew(w, who) // with begun, for 30 more days
		reply(w, http.StatusOK, answer{URL: link})
	}
}

// linkFor creates a session only for a person that has none. For all others verification-status decides: it counts the attempts,
// and replaces a session that was canceled. Nobody that is verified gets a link, whichever of their sessions is the newest: the
// summary of the person costs the service one more read of its store, and only a press of the button asks for it.
//
// linkFor does not ask for the status of a person with a new cookie: there is none, and the service would use one of its reads of
// Stripe to find that out. It does for an older cookie, even one without begun: otherwise a copy of it would be a new first
// attempt each day.
//
// People can begin even while verification-status cannot be reached, or has no reads of Stripe left for today. A person that has
// just begun then gets the same session again.
func (s *site) linkFor(ctx context.Context, who *person) (string, error) {
	if who.isNew() {
		return s.begin(ctx, who)
	}
	asking, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	v, summary, err := s.status.Person(asking, who.reference())
	switch {
	case err == nil && summary.GetVerified() != nil:
		return "", errVerified
	case errors.Is(err, client.ErrNotFound), isUnavailable(ctx, err) && (who.begun.IsZero() || who.justBegan()):
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

// isUnavailable reports whether a call failed because verification-status cannot be reached or does not answer in time. ctx is the
// context of the request: if it has ended, the answer is of no use any more.
func isUnavailable(ctx context.Context, err error) bool {
	return ctx.Err() == nil && (errors.Is(err, client.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded))
}

// isLasting reports whether another try would get the same error.
func isLasting(err error) bool {
	return errors.Is(err, client.ErrStripeRefused) || errors.Is(err, client.ErrStripeSessionUnknown) || errors.Is(err, client.ErrStripeNotConfigured)
}

// begin creates the person's session, or returns the link of the one that was just created.
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

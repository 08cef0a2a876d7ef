package main

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/sync/singleflight"

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
	presses       singleflight.Group // of the button, by the content of the cookie
	limits        *limits            // of the presses
	streams       context.Context    // ends the streams of /events when the server stops
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
		people: people{key: s.cookieKey, secure: u.Scheme == "https"}, files: files, limits: newLimits(),
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

// link answers with a link to Stripe's page, for a first attempt, to continue, or to try again. The link goes into this answer
// only. The client_secret stays here, because the page does not use Stripe.js.
func (s *site) link(w http.ResponseWriter, r *http.Request) {
	who, ok := s.people.who(r)
	if !ok {
		reply(w, http.StatusUnauthorized, answer{Problem: "SIGNED_OUT"})
		return
	}
	found := s.press(r.Context(), who, s.address(r))
	if found.answer.URL != "" {
		s.people.renew(w, found.who) // with begun, for 30 more days
	}
	if found.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(found.wait.Seconds()))))
	}
	reply(w, found.status, found.answer)
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

package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"sync"
)

// people knows who a request is from. It is a toy where your site has a real sign-in: whoever comes
// without a cookie becomes somebody new. What matters is that the cookie alone says whose status is
// shown; nothing that a page or its address says does.
type people struct {
	secure bool // the site is served with TLS

	mu      sync.Mutex
	streams map[string]map[*context.CancelFunc]struct{} // open ones, by reference
}

const cookieName = "person"

// cookieValue is what rand.Text makes: 130 random bits.
var cookieValue = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// who returns the person's reference, which Stripe and verification-status know them by; false for
// somebody without a cookie. It is a hash: whoever reads a reference in Stripe's Dashboard or a log must
// not be able to sign in with it.
func (p *people) who(r *http.Request) (reference string, ok bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil || !cookieValue.MatchString(cookie.Value) {
		return "", false
	}
	sum := sha256.Sum256([]byte(cookie.Value))
	return "web-" + hex.EncodeToString(sum[:16]), true
}

// signIn makes somebody new.
func (p *people) signIn(w http.ResponseWriter) { p.setCookie(w, rand.Text(), 30*24*60*60) }

// signOut forgets the person, and ends the streams that show them their status, in other tabs too.
func (p *people) signOut(w http.ResponseWriter, reference string) {
	p.setCookie(w, "", -1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for cancel := range p.streams[reference] {
		(*cancel)()
	}
}

func (p *people) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: p.secure,
		// Not Strict: coming back from Stripe's page is a link from another site, and whoever comes back
		// must be who they were.
		SameSite: http.SameSiteLaxMode,
	})
}

// session is a context that ends when the person signs out, or with the request.
func (p *people) session(r *http.Request, reference string) context.Context {
	ctx, cancel := context.WithCancel(r.Context())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams == nil {
		p.streams = make(map[string]map[*context.CancelFunc]struct{})
	}
	if p.streams[reference] == nil {
		p.streams[reference] = make(map[*context.CancelFunc]struct{})
	}
	p.streams[reference][&cancel] = struct{}{}
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if delete(p.streams[reference], &cancel); len(p.streams[reference]) == 0 {
			delete(p.streams, reference)
		}
	})
	return ctx
}

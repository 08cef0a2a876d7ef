package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// people knows who a request is from. It is a toy where your site has a real sign-in: a browser without a
// good cookie becomes a new person. Two things matter: the cookie alone says whose status is shown, nothing
// that a page or its address says does; and no cookie counts but one that this site gave out.
type people struct {
	key    []byte // signs the cookies
	secure bool   // the site is served with TLS

	mu      sync.Mutex
	streams map[string]map[*context.CancelFunc]struct{} // open ones, by reference
}

// person is what a cookie says.
type person struct {
	id     string    // what rand.Text makes: 130 random bits
	issued time.Time // when the cookie was given out
	begun  time.Time // when the person got their first link; zero: they had no session when the cookie was given out
}

// signedInFor is how long a cookie counts. The browser drops it then, and the site refuses a copy.
const signedInFor = 30 * 24 * time.Hour

// cookieName is "person". With TLS it has the prefix by which browsers refuse a cookie that another host of
// the domain, or a page without TLS, tries to set: an attacker who plants their own cookie would get
// another person's document into their own verification.
func (p *people) cookieName() string {
	if p.secure {
		return "__Host-person"
	}
	return "person"
}

// cookieValue is the person's id, the second when the cookie was given out, the second when they began, and a
// signature of the three.
var cookieValue = regexp.MustCompile(`^([A-Z2-7]{26})\.([1-9][0-9]{0,11})\.(0|[1-9][0-9]{0,11})\.([A-Za-z0-9_-]{43})$`)

// who returns the person of a request; false without a cookie of this site that still counts. Of two cookies with
// the name one was planted, and it is unknown which.
func (p *people) who(r *http.Request) (person, bool) {
	cookies := r.CookiesNamed(p.cookieName())
	if len(cookies) != 1 {
		return person{}, false
	}
	parts := cookieValue.FindStringSubmatch(cookies[0].Value)
	if parts == nil || !hmac.Equal([]byte(parts[4]), []byte(p.sign(parts[1], parts[2], parts[3]))) {
		return person{}, false
	}
	who := person{id: parts[1], issued: parseSecond(parts[2]), begun: parseSecond(parts[3])}
	return who, time.Since(who.issued) < signedInFor
}

// parseSecond reads a time of a cookie; "0" is the zero Time.
func parseSecond(text string) time.Time {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds > 0 {
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}

// sign is an HMAC-SHA256. It spans the cookie's name: a value of the site without TLS is none of the site
// with TLS.
func (p *people) sign(id, issued, begun string) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(p.cookieName() + "=" + id + "." + issued + "." + begun))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// reference is what Stripe and verification-status know the person by. It is a hash: somebody who reads it
// in Stripe's Dashboard or a log must not learn what the cookie holds.
func (p person) reference() string {
	sum := sha256.Sum256([]byte(p.id))
	return "web-" + hex.EncodeToString(sum[:16])
}

// justBegan reports whether a further press of the button can be a double click, or follow a lost answer.
func (p person) justBegan() bool { return time.Since(p.begun) < sameSession }

// isNew reports whether there can be no session yet. An older cookie that says so can be a copy from before the
// person began.
func (p person) isNew() bool { return p.begun.IsZero() && time.Since(p.issued) < sameSession }

// signIn makes a new person.
func (p *people) signIn(w http.ResponseWriter) { p.remember(w, person{id: rand.Text()}) }

// remember gives the person a new cookie, for 30 days.
func (p *people) remember(w http.ResponseWriter, who person) {
	who.issued = time.Now()
	p.give(w, who)
}

func (p *people) give(w http.ResponseWriter, who person) {
	issued, begun := strconv.FormatInt(who.issued.Unix(), 10), "0"
	if !who.begun.IsZero() {
		begun = strconv.FormatInt(who.begun.Unix(), 10)
	}
	p.setCookie(w, who.id+"."+issued+"."+begun+"."+p.sign(who.id, issued, begun), int(signedInFor.Seconds()))
}

// signOut forgets the person, and ends the streams that show them their status, in other tabs too.
func (p *people) signOut(w http.ResponseWriter, who person) {
	p.setCookie(w, "", -1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for cancel := range p.streams[who.reference()] {
		(*cancel)()
	}
}

func (p *people) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: p.cookieName(), Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: p.secure,
		// Not Strict: coming back from Stripe's page is a link from another site, and the person who comes
		// back must be who they were.
		SameSite: http.SameSiteLaxMode,
	})
}

// session is a context that ends when the person signs out, or with the request.
func (p *people) session(r *http.Request, who person) context.Context {
	ctx, cancel := context.WithCancel(r.Context())
	reference := who.reference()
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

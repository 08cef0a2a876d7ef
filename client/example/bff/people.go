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

// people identifies the person of a request. It stands for the real sign-in of your site: a browser without a valid cookie becomes
// a new person. Two rules matter in a real one too: the cookie alone decides whose status is shown, never the page or its
// address; and only a cookie that this site has issued is valid.
type people struct {
	key    []byte // signs the cookies
	secure bool   // the site is served with TLS

	mu      sync.Mutex
	streams map[string]map[*context.CancelFunc]struct{} // open ones, by reference
}

// person is the content of a cookie.
type person struct {
	id     string    // from rand.Text: 130 random bits
	issued time.Time // when the cookie was issued
	begun  time.Time // when the person got their first link; zero: they had none when the cookie was issued
}

// signedInFor is the lifetime of a cookie. Then the browser drops it, and the site refuses a copy of it.
const signedInFor = 30 * 24 * time.Hour

// cookieName returns "person". With TLS it adds the prefix by which browsers refuse a cookie that another host of the domain, or a
// page without TLS, tries to set. An attacker that sets their own cookie in another person's browser would get that person's
// document into the attacker's verification.
func (p *people) cookieName() string {
	if p.secure {
		return "__Host-person"
	}
	return "person"
}

// cookieValue matches the person's id, the Unix second at which the cookie was issued, the second at which the person began, and a
// signature of the three.
var cookieValue = regexp.MustCompile(`^([A-Z2-7]{26})\.([1-9][0-9]{0,11})\.(0|[1-9][0-9]{0,11})\.([A-Za-z0-9_-]{43})$`)

// who returns the person of a request. It returns false without a valid cookie of this site. If a request has two cookies with the
// name, somebody else has set one of them, and it is unknown which.
func (p *people) who(r *http.Request) (person, bool) {
	cookies := r.CookiesNamed(p.cookieName())
	if len(cookies) != 1 {
		return person{}, false
	}
	parts := cookieValue.FindStringSubmatch(cookies[0].Value)
	if parts == nil || !hmac.Equal([]byte(parts[4]), []byte(p.sign(parts[1]+"."+parts[2]+"."+parts[3]))) {
		return person{}, false
	}
	who := person{id: parts[1], issued: parseSecond(parts[2]), begun: parseSecond(parts[3])}
	return who, time.Since(who.issued) < signedInFor
}

// parseSecond returns a time in a cookie. "0" is the zero Time.
func parseSecond(text string) time.Time {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds > 0 {
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}

// content returns the value of the person's cookie without its signature.
func (p person) content() string {
	begun := "0"
	if !p.begun.IsZero() {
		begun = strconv.FormatInt(p.begun.Unix(), 10)
	}
	return p.id + "." + strconv.FormatInt(p.issued.Unix(), 10) + "." + begun
}

// sign returns an HMAC-SHA256. It includes the cookie's name, so that a value of the site without TLS is invalid with TLS.
func (p *people) sign(content string) string {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(p.cookieName() + "=" + content))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// reference returns the client_reference_id of the person. It is a hash, because a reader of Stripe's Dashboard or of a log must
// not learn the id in the cookie.
func (p person) reference() string {
	sum := sha256.Sum256([]byte(p.id))
	return "web-" + hex.EncodeToString(sum[:16])
}

// justBegan reports whether another click on the button can be a double click, or follow a lost answer.
func (p person) justBegan() bool { return time.Since(p.begun) < sameSession }

// isNew reports whether the person certainly has no session yet. An older cookie without begun can be a copy from before the person
// began.
func (p person) isNew() bool { return p.begun.IsZero() && time.Since(p.issued) < sameSession }

// signIn issues a cookie for a new person.
func (p *people) signIn(w http.ResponseWriter) { p.renew(w, person{id: rand.Text()}) }

// renew issues a new cookie for the person, for 30 days.
func (p *people) renew(w http.ResponseWriter, who person) {
	who.issued = time.Now()
	p.issue(w, who)
}

// issue sets the cookie of the person.
func (p *people) issue(w http.ResponseWriter, who person) {
	content := who.content()
	p.setCookie(w, content+"."+p.sign(content), int(signedInFor.Seconds()))
}

// signOut deletes the cookie and ends all streams of the person, also in other tabs.
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
		// Not Strict: the return from Stripe's page is a link from another site, and must have the cookie.
		SameSite: http.SameSiteLaxMode,
	})
}

// session returns a context that ends when the person signs out, or with the request.
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

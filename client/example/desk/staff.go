package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/verification-status/client"
)

// secretHeader has the secret of the proxy. A request without it did not come through the proxy, so its other headers prove nothing.
const secretHeader = "X-Desk-Proxy-Secret"

// staff identifies the person at the desk. By a setting it is the company's proxy that signs people in. Without one, people type their
// names, for demonstrations.
type staff struct {
	userHeader, tokenHeader string
	secret                  string
	key                     []byte
	now                     func() time.Time
}

// person is somebody at the desk.
type person struct {
	name  string
	token string // the person's own bearer token; empty without a token header
}

var (
	errNotSignedIn = errors.New("not signed in")
	errNotByProxy  = errors.New("the request did not come through the company's proxy")
	errNoToken     = errors.New("the company's proxy passed no token of the person")
)

// maxName is the longest name in bytes. Names are in each audit line.
const maxName = 255

// who returns the person of a request.
func (s *staff) who(r *http.Request) (person, error) {
	if s.userHeader == "" {
		return s.byCookie(r)
	}
	if subtle.ConstantTimeCompare([]byte(r.Header.Get(secretHeader)), []byte(s.secret)) != 1 {
		return person{}, errNotByProxy
	}
	p := person{}
	// With two values one can be the browser's own, and it is unknown which.
	names := r.Header.Values(s.userHeader)
	if len(names) != 1 || !isName(names[0]) {
		return p, errNotSignedIn
	}
	p.name = names[0]
	if s.tokenHeader == "" {
		return p, nil
	}
	tokens := r.Header.Values(s.tokenHeader)
	if len(tokens) != 1 {
		return p, errNoToken
	}
	p.token = strings.TrimSpace(tokens[0])
	if scheme, rest, found := strings.Cut(p.token, " "); found && strings.EqualFold(scheme, "Bearer") {
		p.token = strings.TrimSpace(rest)
	}
	if p.token == "" {
		return p, errNoToken
	}
	return p, nil
}

// isName reports whether a text can be a person's name in a log and on a page.
func isName(text string) bool {
	return text != "" && len(text) <= maxName && utf8.ValidString(text) && strings.TrimSpace(text) == text &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// context returns a context whose calls have the person's own token, if there is one.
func (p person) context(ctx context.Context) context.Context {
	if p.token != "" {
		ctx = client.ContextWithToken(ctx, p.token)
	}
	return context.WithValue(ctx, personKey{}, p)
}

type personKey struct{}

func personOf(ctx context.Context) person {
	p, _ := ctx.Value(personKey{}).(person)
	return p
}

const (
	cookieName = "desk"
	// signedInFor is how long a typed name is valid, and formFor how long a form is.
	signedInFor = 12 * time.Hour
	formFor     = 12 * time.Hour
)

// byCookie returns the person that typed a name, for demonstrations.
func (s *staff) byCookie(r *http.Request) (person, error) {
	cookies := r.CookiesNamed(cookieName)
	if len(cookies) != 1 {
		return person{}, errNotSignedIn
	}
	name, seal, _ := strings.Cut(cookies[0].Value, ".")
	text, err := base64.RawURLEncoding.DecodeString(name)
	if err != nil || !s.opens(seal, signedInFor, "cookie", string(text)) || !isName(string(text)) {
		return person{}, errNotSignedIn
	}
	return person{name: string(text)}, nil
}

func (s *staff) signIn(w http.ResponseWriter, name string) {
	value := base64.RawURLEncoding.EncodeToString([]byte(name)) + "." + s.seal("cookie", name)
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: int(signedInFor.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

func (s *staff) signOut(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// seal returns a signature of texts that names its second. opens accepts it.
func (s *staff) seal(texts ...string) string {
	second := strconv.FormatInt(s.now().Unix(), 10)
	return second + "." + s.sign(second, texts)
}

// opens reports whether a seal is one of these texts, and not older than a duration.
func (s *staff) opens(seal string, age time.Duration, texts ...string) bool {
	second, mac, _ := strings.Cut(seal, ".")
	made, err := strconv.ParseInt(second, 10, 64)
	since := s.now().Sub(time.Unix(made, 0))
	return err == nil && since >= 0 && since < age && hmac.Equal([]byte(mac), []byte(s.sign(second, texts)))
}

// sign returns an HMAC-SHA256. Each text has its length in front, so that no two lists of texts are the same.
func (s *staff) sign(second string, texts []string) string {
	mac := hmac.New(sha256.New, s.key)
	for _, text := range append([]string{second}, texts...) {
		mac.Write([]byte(strconv.Itoa(len(text)) + ":" + text))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

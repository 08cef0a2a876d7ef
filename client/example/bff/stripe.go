package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// stripe is the one call of Stripe's API that a site makes itself; yours may use Stripe's library.
type stripe struct {
	base, key string
}

// noRedirects shows the key to nobody that an answer names: Go's client takes it along to another port of
// the same host.
var noRedirects = http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

const (
	stripeTimeout = 20 * time.Second
	maxAnswer     = 256 << 10 // bytes
	// sameSession is how long after a creation its repetition is still a double click or a lost answer. Stripe
	// knows an idempotency key for 24 hours at least.
	sameSession = 10 * time.Minute
)

var errStripe = errors.New("Stripe did not create a session")

// create makes a verification session for a person, and returns the link of Stripe's page for it. The link
// works once, and Stripe takes the person who opens it for this one. The reference alone is the idempotency key. So a repetition within 24
// hours makes no second session, whatever the cookie says: a double click, a lost answer, or an old copy of a
// cookie that says that nothing has begun.
//
// Stripe repeats a 500 for its key too. Only then a second key is used, or the person could not begin for a day.
// Source: Stripe's API reference, "Idempotent requests".
func (s *stripe) create(ctx context.Context, reference, returnURL string) (link string, err error) {
	ctx, cancel := context.WithTimeout(ctx, stripeTimeout)
	defer cancel()
	link, repeated, err := s.post(ctx, reference, reference, returnURL)
	if repeated {
		link, _, err = s.post(ctx, reference+"-2", reference, returnURL)
	}
	return link, err
}

// post is create with one key. It reports whether it got a repeated 500.
func (s *stripe) post(ctx context.Context, key, reference, returnURL string) (link string, repeated bool, err error) {
	form := url.Values{"type": {"document"}, "client_reference_id": {reference}, "return_url": {returnURL}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/identity/verification_sessions", strings.NewReader(form.Encode()))
	if err != nil {
		return "", false, err
	}
	request.SetBasicAuth(s.key, "")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Idempotency-Key", key)
	response, err := noRedirects.Do(request)
	if err != nil {
		return "", false, fmt.Errorf("%w: %w", errStripe, err)
	}
	defer response.Body.Close()
	repeated = response.StatusCode >= http.StatusInternalServerError && response.Header.Get("Idempotent-Replayed") == "true"
	var made struct {
		URL   string
		Error struct{ Message string }
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&made); err != nil {
		return "", repeated, fmt.Errorf("%w: %s, and the answer is no JSON", errStripe, response.Status)
	}
	if response.StatusCode != http.StatusOK || made.URL == "" {
		return "", repeated, fmt.Errorf("%w: %s %s", errStripe, response.Status, made.Error.Message)
	}
	return made.URL, false, nil
}

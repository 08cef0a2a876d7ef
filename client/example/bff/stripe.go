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

// stripe makes the one call of Stripe's API that the site needs. Yours can use Stripe's library.
type stripe struct {
	base, key string
}

// noRedirects follows no redirect: Go's client would send the key to another port of the same host.
var noRedirects = http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

const (
	stripeTimeout = 20 * time.Second
	maxAnswer     = 256 << 10 // bytes
	// sameSession is the time after a creation in which a repetition is a double click or follows a lost answer. Stripe keeps
	// an idempotency key for at least 24 hours.
	sameSession = 10 * time.Minute
)

var errStripe = errors.New("Stripe did not create a session")

// create creates a verification session for a person, and returns the link to Stripe's page for it. The link works once, and Stripe
// takes the person that opens it for this one.
//
// The reference alone is the idempotency key. So a repetition within 24 hours makes no second session: a double click, a retry
// after a lost answer, or a request with an old copy of the cookie.
//
// Stripe also repeats a 500 for its key. Only then create uses a second key; otherwise the person could not begin for a day.
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

// post is create with one key. repeated reports whether the answer is a repeated 500.
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
		return "", repeated, fmt.Errorf("%w: %s, and the answer is not JSON", errStripe, response.Status)
	}
	if response.StatusCode != http.StatusOK || made.URL == "" {
		return "", repeated, fmt.Errorf("%w: %s %s", errStripe, response.Status, made.Error.Message)
	}
	return made.URL, false, nil
}

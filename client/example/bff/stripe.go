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
	// sameSession is how long a repeated creation makes no second session.
	sameSession = 10 * time.Minute
)

var errStripe = errors.New("Stripe did not create a session")

// create makes a verification session for a person, and returns the link of Stripe's page for it:
// single use, and whoever has it is that person to Stripe. It is the same session for a person who began in
// the same ten minutes, so that a double click or a lost answer makes no second one.
func (s *stripe) create(ctx context.Context, reference string, begun time.Time, returnURL string) (link string, err error) {
	ctx, cancel := context.WithTimeout(ctx, stripeTimeout)
	defer cancel()
	form := url.Values{"type": {"document"}, "client_reference_id": {reference}, "return_url": {returnURL}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/identity/verification_sessions", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.SetBasicAuth(s.key, "")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Idempotency-Key", fmt.Sprintf("%s-%d", reference, begun.Truncate(sameSession).Unix()))
	response, err := noRedirects.Do(request)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errStripe, err)
	}
	defer response.Body.Close()
	var made struct {
		URL   string
		Error struct{ Message string }
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&made); err != nil {
		return "", fmt.Errorf("%w: %s, and the answer is no JSON", errStripe, response.Status)
	}
	if response.StatusCode != http.StatusOK || made.URL == "" {
		return "", fmt.Errorf("%w: %s %s", errStripe, response.Status, made.Error.Message)
	}
	return made.URL, nil
}

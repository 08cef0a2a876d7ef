package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// answer is the answer to POST /link. One field is set.
type answer struct {
	URL     string `json:"url,omitempty"`
	Problem string `json:"problem,omitempty"` // a RetryDenial, "ALREADY_VERIFIED", "SIGNED_OUT", "REFUSED", "BUSY" or "UNAVAILABLE"
}

// outcome is the outcome of a press of the button.
type outcome struct {
	status int
	answer answer
	who    person        // with a link: the person, who has begun by now
	wait   time.Duration // with BUSY: until another press
}

// linkTimeout bounds the work for one outcome. It is longer than a repeated call to Stripe, and shorter than the wait of the page.
const linkTimeout = 40 * time.Second

// statusTimeout bounds the GetStatus of a POST /link. Without a connection the call waits for one until its deadline, and a person
// can begin without the service.
const statusTimeout = 5 * time.Second

// errVerified: the person is verified, maybe in an older session than the newest.
var errVerified = errors.New("the person is verified")

// press returns the outcome of a press of the button at an address. Presses at the same time, with the same cookie, share one: a
// thousand of them cost the service as much as one, and count as one for the limits. The number of presses that wait has no limit, because a press that waits costs this site no more
// than an idle connection.
//
// If ctx ends, because the browser has gone, press returns UNAVAILABLE. The work continues for the other presses.
func (s *site) press(ctx context.Context, who person, address string) outcome {
	shared := s.presses.DoChan(who.content(), func() (any, error) {
		working, cancel := context.WithTimeout(context.WithoutCancel(ctx), linkTimeout)
		defer cancel()
		return s.outcomeFor(working, who, address), nil
	})
	select {
	case result := <-shared:
		return result.Val.(outcome)
	case <-ctx.Done():
		return problem(http.StatusServiceUnavailable, "UNAVAILABLE")
	}
}

// outcomeFor finds the link for a person at an address. It logs an unexpected error.
func (s *site) outcomeFor(ctx context.Context, who person, address string) outcome {
	link, err := s.linkFor(ctx, &who, address)
	var denied *client.RetryDeniedError
	var limited *client.Error
	var busy *busyError
	switch {
	case err == nil:
		return outcome{status: http.StatusOK, answer: answer{URL: link}, who: who}
	case errors.As(err, &busy): // not logged: an attacker would fill the log
		return outcome{status: http.StatusTooManyRequests, answer: answer{Problem: "BUSY"}, wait: busy.wait}
	case errors.As(err, &limited) && limited.Reason == verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED:
		return outcome{status: http.StatusTooManyRequests, answer: answer{Problem: "BUSY"}, wait: limited.RetryAfter}
	case errors.Is(err, errVerified):
		return problem(http.StatusConflict, "ALREADY_VERIFIED")
	case errors.As(err, &denied):
		return problem(http.StatusConflict, strings.TrimPrefix(denied.Denial.String(), "RETRY_DENIAL_"))
	}
	slog.ErrorContext(ctx, "cannot create a link for a person", "reference", who.reference(), "error", err)
	if isLasting(err) {
		return problem(http.StatusConflict, "REFUSED")
	}
	return problem(http.StatusServiceUnavailable, "UNAVAILABLE")
}

func problem(status int, name string) outcome {
	return outcome{status: status, answer: answer{Problem: name}}
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
func (s *site) linkFor(ctx context.Context, who *person, address string) (url string, err error) {
	defer panicAsError(&err)
	if err := s.limits.press(*who, address); err != nil {
		return "", err
	}
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

// panicAsError is deferred. Shared work has a goroutine of its own, in which a panic would end the process: net/http recovers
// only those of its own goroutines.
func panicAsError(err *error) {
	if reason := recover(); reason != nil {
		*err = fmt.Errorf("panic: %v\n%s", reason, debug.Stack())
	}
}

// isUnavailable reports whether a call failed because verification-status cannot be reached or does not answer in time. ctx is the
// context of the whole work: if it has ended, there is no time left to begin.
func isUnavailable(ctx context.Context, err error) bool {
	return ctx.Err() == nil && (errors.Is(err, client.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded))
}

// isLasting reports whether another try would get the same error.
func isLasting(err error) bool {
	return errors.Is(err, client.ErrStripeRefused) || errors.Is(err, client.ErrStripeSessionUnknown) || errors.Is(err, client.ErrStripeNotConfigured)
}

// begin creates the person's session, or returns the link of the one that was just created.
func (s *site) begin(ctx context.Context, who *person) (string, error) {
	if err := s.limits.begin(); err != nil {
		return "", err
	}
	if !who.justBegan() {
		who.begun = time.Now()
	}
	return s.stripe.create(ctx, who.reference(), s.publicURL+"/")
}

package stripesim

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// defaultHang is how long a request that is never answered stays open, if the client does not give up.
const defaultHang = 30 * time.Second

// APIFaults is what goes wrong with the API under /v1/; the hosted page is spared. The first five
// fields are shares of the requests, 0 to 1, that meet such a fault; together they are 1 at the most.
// The zero value is a quiet day.
type APIFaults struct {
	// RateLimited requests are answered 429 with Stripe's body and a Stripe-Rate-Limited-Reason.
	RateLimited float64
	// ServerError is Stripe's own 500.
	ServerError float64
	// Unavailable is a 503 of whatever stands before Stripe, without a body of Stripe's.
	Unavailable float64
	// Hang takes a request and never answers.
	Hang float64
	// Closed cuts the connection without an answer; every other time the call was carried out before.
	Closed float64
	// Slow is the share of the other requests that are delayed by DelayBefore and DelayAfter.
	Slow float64

	// DelayBefore is before the call is carried out, DelayAfter between that and the answer: what a
	// GET tells is old by then. Up to 1 h each.
	DelayBefore, DelayAfter time.Duration
	// HangFor bounds Hang. 0: 30 s. Up to 1 h.
	HangFor time.Duration
	// Limit is how many requests meet a fault; then all is well. 0: no limit.
	Limit int
	// Path confines the faults to paths that begin with it, such as "/v1/events". Empty: all.
	Path string
}

// SetAPIFaults changes what goes wrong from now on. Requests under way keep their fate.
func (s *Sim) SetAPIFaults(f APIFaults) error {
	sum := 0.0
	for _, share := range []float64{f.RateLimited, f.ServerError, f.Unavailable, f.Hang, f.Closed} {
		if !(share >= 0) {
			return errors.New("stripesim: a share must be 0 to 1")
		}
		sum += share
	}
	// A little above 1 may be what is left of thirds.
	if !(sum <= 1+1e-9) || !(f.Slow >= 0 && f.Slow <= 1) {
		return errors.New("stripesim: shares must be 0 to 1, also together")
	}
	for _, d := range []time.Duration{f.DelayBefore, f.DelayAfter, f.HangFor} {
		if d < 0 || d > maxFaultDelay {
			return errors.New("stripesim: delays must be 0 to 1 h")
		}
	}
	if f.Limit < 0 {
		return errors.New("stripesim: Limit must not be negative")
	}
	if f.HangFor == 0 {
		f.HangFor = defaultHang
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apiFaults, s.apiLeft = f, f.Limit
	return nil
}

// fate is what happens to one API request.
type fate struct {
	kind          fateKind
	reason        string // of a 429
	before, after time.Duration
}

type fateKind uint8

const (
	fateNone fateKind = iota
	fateRateLimited
	fateServerError
	fateUnavailable
	fateHang
	fateCut
	fateCutAfter
	fateSlow
)

// https://docs.stripe.com/rate-limits
var limitReasons = []string{"global-rate", "endpoint-rate", "global-concurrency", "endpoint-concurrency", "resource-specific"}

// nextFate draws a request's fate. Needs s.mu.
func (s *Sim) nextFate(path string) fate {
	f := s.apiFaults
	if !strings.HasPrefix(path, f.Path) || f.Limit > 0 && s.apiLeft == 0 {
		return fate{}
	}
	drawn := s.drawFate(f)
	if drawn.kind != fateNone {
		s.stats.APIFaults++
		s.apiLeft = max(0, s.apiLeft-1)
	}
	return drawn
}

func (s *Sim) drawFate(f APIFaults) fate {
	// The same number of draws whatever comes of them, so that a change of one share leaves the
	// fates of later requests where they were.
	draw, slow, reason, cut := s.apiRNG.Float64(), s.apiRNG.Float64(), s.apiRNG.IntN(len(limitReasons)), s.apiRNG.IntN(2)
	for _, option := range []struct {
		share float64
		fate  fate
	}{
		{f.RateLimited, fate{kind: fateRateLimited, reason: limitReasons[reason]}},
		{f.ServerError, fate{kind: fateServerError}},
		{f.Unavailable, fate{kind: fateUnavailable}},
		{f.Hang, fate{kind: fateHang, before: f.HangFor}},
		{f.Closed, fate{kind: []fateKind{fateCut, fateCutAfter}[cut]}},
	} {
		if draw -= option.share; draw < 0 {
			return option.fate
		}
	}
	if slow < f.Slow {
		return fate{kind: fateSlow, before: f.DelayBefore, after: f.DelayAfter}
	}
	return fate{}
}

// refuse does what comes before the call; true: there will be none.
func (f fate) refuse(w http.ResponseWriter, r *http.Request) bool {
	switch f.kind {
	case fateRateLimited:
		w.Header().Set("Stripe-Rate-Limited-Reason", f.reason)
		writeError(w, &Error{HTTPStatus: http.StatusTooManyRequests, Type: typeInvalidRequest, Code: "rate_limit",
			Message: "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits."})
	case fateServerError:
		writeError(w, &Error{HTTPStatus: http.StatusInternalServerError, Type: "api_error",
			Message: "An unknown error occurred."})
	case fateUnavailable:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "<html><body><h1>503 Service Unavailable</h1></body></html>\n")
	case fateHang:
		// Only once the body is read does the server notice that the client went away.
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
		wait(r, f.before)
		panic(http.ErrAbortHandler) // net/http's way to close the connection without a word
	case fateCut:
		panic(http.ErrAbortHandler)
	case fateSlow:
		wait(r, f.before)
		return false
	default:
		return false
	}
	return true
}

// spoil does what comes between the call and its answer; true: time has passed.
func (f fate) spoil(r *http.Request) bool {
	if f.kind == fateCutAfter {
		panic(http.ErrAbortHandler)
	}
	if f.kind == fateSlow {
		wait(r, f.after)
	}
	return f.kind == fateSlow
}

// wait ends early where the client gives up.
func wait(r *http.Request, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

func writeError(w http.ResponseWriter, err *Error) {
	status, body := errorBody(err)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

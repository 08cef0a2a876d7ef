package stripesim

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// defaultHang is how long a request without an answer stays open if the client does not give up.
const defaultHang = 30 * time.Second

// APIFaults are the faults of the API under /v1/. The hosted page has none. The first five fields are the shares of requests, 0 to 1,
// that get such a fault; their sum is at most 1. The zero value has no faults.
type APIFaults struct {
	// RateLimited requests are answered 429 with Stripe's body and a Stripe-Rate-Limited-Reason.
	RateLimited float64
	// ServerError requests are answered 500 with Stripe's body.
	ServerError float64
	// Unavailable requests are answered 503 without Stripe's body, as by a proxy in front of Stripe.
	Unavailable float64
	// Hang requests are accepted and never answered.
	Hang float64
	// Closed requests lose their connection without an answer. Every second call is done before.
	Closed float64
	// Slow is the share of the other requests that are delayed by DelayBefore and DelayAfter.
	Slow float64

	// DelayBefore is the delay before the call is done, DelayAfter the delay between the call and the answer, so that the answer
	// to a GET is old. Up to 1 h each.
	DelayBefore, DelayAfter time.Duration
	// HangFor bounds Hang. 0: 30 s. Up to 1 h.
	HangFor time.Duration
	// Limit is how many requests get a fault. 0: no limit.
	Limit int
	// Path is a prefix such as "/v1/events": only paths with it have faults. Empty: all have.
	Path string
}

// SetAPIFaults changes the faults of later requests. Requests in progress keep theirs.
func (s *Sim) SetAPIFaults(f APIFaults) error {
	sum := 0.0
	for _, share := range []float64{f.RateLimited, f.ServerError, f.Unavailable, f.Hang, f.Closed} {
		if !(share >= 0) {
			return errors.New("stripesim: a share must be 0 to 1")
		}
		sum += share
	}
	// Three thirds can add up to a little more than 1.
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

// fate is the fault of one API request, if any.
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

// nextFate draws the fate of a request. The caller holds s.mu.
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
	// Always draw the same number of times, so that a change of one share does not change the fates of later requests.
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

// refuse applies the faults before the call. It returns true if the call is not done.
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
		// The server notices that the client has gone only after the body was read.
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
		wait(r, f.before)
		panic(http.ErrAbortHandler) // net/http closes the connection without an answer
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

// spoil applies the faults between the call and its answer. It returns true if time has passed.
func (f fate) spoil(r *http.Request) bool {
	if f.kind == fateCutAfter {
		panic(http.ErrAbortHandler)
	}
	if f.kind == fateSlow {
		wait(r, f.after)
	}
	return f.kind == fateSlow
}

// wait returns early if the client gives up.
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

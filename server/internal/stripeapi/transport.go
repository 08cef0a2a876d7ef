package stripeapi

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Bounds of the uncompressed body of an answer, in bytes. stripe-go reads without a bound. A session takes a few KB. In a
// page, a hundred events or sessions can each have 50 metadata keys with 500 characters.
const (
	maxAnswer = 1 << 20
	maxPage   = 16 << 20
)

var errAnswerTooLarge = errors.New("the answer is too large to be Stripe's")

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   5 * time.Second,
		MaxIdleConns:          16,
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       60 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

func newHTTPClient(transport http.RoundTripper, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: boundedAnswers{transport},
		Timeout:   timeout,
		// Stripe's API never redirects. A server that does must not get the key.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// boundedAnswers makes an answer fail if it is larger than its bound.
type boundedAnswers struct{ http.RoundTripper }

func (b boundedAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		left := maxAnswer
		if strings.HasSuffix(r.URL.Path, eventsPath) || strings.HasSuffix(r.URL.Path, sessionsPath) {
			left = maxPage
		}
		response.Body = &boundedBody{ReadCloser: response.Body, left: left}
	}
	return response, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errAnswerTooLarge
	}
	return n, err
}

// silence is a logger for stripe-go that drops everything. stripe-go's lines contain paths, and bodies with links and
// client secrets. This package logs what matters, from the returned errors.
type silence struct{}

func (silence) Debugf(string, ...any) {}
func (silence) Infof(string, ...any)  {}
func (silence) Warnf(string, ...any)  {}
func (silence) Errorf(string, ...any) {}

package stripeapi

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Bounds of the body of an answer in bytes, unpacked: stripe-go reads without one. A session has a few
// KB. A hundred events may each carry 50 keys of metadata with 500 characters.
const (
	maxAnswer    = 1 << 20
	maxEventPage = 16 << 20
)

var errAnswerTooLarge = errors.New("the answer is larger than any of Stripe's should be")

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
		// Stripe's API never redirects; whoever does must not get the key.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// boundedAnswers makes answers beyond the bounds fail.
type boundedAnswers struct{ http.RoundTripper }

func (b boundedAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		left := maxAnswer
		if strings.HasSuffix(r.URL.Path, eventsPath) {
			left = maxEventPage
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

// silence is stripe-go's logger: nothing. Its lines hold bodies, with links and client secrets, and
// paths. What matters comes back as an error and is logged by this package.
type silence struct{}

func (silence) Debugf(string, ...any) {}
func (silence) Infof(string, ...any)  {}
func (silence) Warnf(string, ...any)  {}
func (silence) Errorf(string, ...any) {}

package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Option changes how a Client connects. Make one with a function that begins with With.
type Option func(*settings)

type settings struct {
	plaintext bool
	tls       *tls.Config
	token     TokenSource
	backoff   backoff
	extra     []grpc.DialOption
	problems  []error
}

// WithPlaintext makes the Client connect without TLS, for a server on the same machine or in a service mesh that encrypts.
// Together with [WithBearerToken] it connects to loopback addresses only.
func WithPlaintext() Option { return func(s *settings) { s.plaintext = true } }

// WithTLS makes the Client connect with a copy of this configuration. For mutual TLS it contains the client's certificate. See
// [WithTLSFiles] for a certificate that is renewed.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.tls = config.Clone() }
}

// WithBearerToken makes the Client send a token with each call, as "authorization: Bearer <token>". It calls source for each
// call and for each try of a watch, so source should cache the token while it is valid. source must be safe for concurrent
// use. Its errors become UNAVAILABLE, so that a watch resumes when source works again.
//
// The Client never sends a token to another machine in plain text. See [ContextWithToken] for calls with another token.
func WithBearerToken(source TokenSource) Option { return func(s *settings) { s.token = source } }

// WithBackoff sets the waits of a watch before it tries again. Each wait is random between 0 and a ceiling. The ceiling begins
// with base (default 500 ms) and doubles with each failure in a row, up to max (default 3 s). If the server asks for a wait,
// the watch waits for that time first.
//
// The Client connects again at a random moment within base after a connection is lost, or at once if a unary call needs the
// connection. If that fails, it tries again two thirds of base later, and then at random moments in the upper two thirds of
// the same ceilings. All watches that wait for a connection resume within base after it is back. If a connection is lost
// within a second and before it has answered a call, the Client waits as a watch does, even if a unary call needs the
// connection: a proxy that ends each connection at once gets few of them.
//
// So a server that returns has the connections of all clients within max. If 1,000 clients lost it at the same moment, it gets
// about 500 handshakes a second after an outage of some seconds, and about 2,000 a second for half a second if it returns at
// once. Set a greater base or max for more clients or a smaller server.
func WithBackoff(base, max time.Duration) Option {
	return func(s *settings) {
		s.backoff = backoff{base: base, max: max}
		if base <= 0 || max < base {
			s.problems = append(s.problems, fmt.Errorf("WithBackoff: base %v and max %v: base must be positive, max not less", base, max))
		}
	}
}

// WithDialOptions adds gRPC's own options, such as interceptors. They take precedence over those of this package.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.extra = append(s.extra, options...) }
}

// gRPC notices a lost peer after pingAfter and pingTimeout together. The service allows a ping every 5 s; other servers and
// proxies often allow fewer.
const (
	pingAfter   = 30 * time.Second
	pingTimeout = 10 * time.Second
	// connectTimeout bounds the attempt to connect to one address. grpc's default of 20 s would delay the other addresses.
	connectTimeout = 5 * time.Second
)

// serviceConfig is gRPC's service configuration. %s and both %d are the name, the reconnectWithin and the reconnectMax of the
// balancing policy (see [policyConfig]), by which all addresses share the calls.
//
// Unary calls wait for a connection until their deadline. GetStatus changes nothing, so gRPC tries it up to four times, also
// after ABORTED, with which the service reports a conflict of writers. The caller decides whether to repeat a call that changes
// something. A watch does not wait for a connection: it reports the interruption at once and has its own backoff.
const serviceConfig = `{
	"loadBalancingConfig": [{"%s": {"reconnectWithin": %d, "reconnectMax": %d}}],
	"methodConfig": [{
		"name": [{"service": "verification.v1.VerificationService", "method": "GetStatus"}],
		"waitForReady": true,
		"retryPolicy": {
			"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "2s", "backoffMultiplier": 3,
			"retryableStatusCodes": ["UNAVAILABLE", "ABORTED"]
		}
	}, {
		"name": [
			{"service": "verification.v1.VerificationService", "method": "ListVerifications"},
			{"service": "verification.v1.VerificationService", "method": "RetryVerification"},
			{"service": "verification.v1.FeedService"},
			{"service": "verification.v1.OperatorService"},
			{"service": "verification.v1.ComparisonService"}
		],
		"waitForReady": true
	}],
	"retryThrottling": {"maxTokens": 20, "tokenRatio": 0.2}
}`

func (s *settings) dialOptions(target string) ([]grpc.DialOption, error) {
	if s.plaintext && s.tls != nil {
		s.problems = append(s.problems, errors.New("WithPlaintext contradicts WithTLS and WithTLSFiles: choose one"))
	}
	if s.plaintext && s.token != nil {
		s.problems = append(s.problems, checkLoopback(target))
	}
	if err := errors.Join(s.problems...); err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(announcing{s.transport()}),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(serviceConfig, balancingPolicy, s.backoff.base, s.backoff.max)),
		grpc.WithDisableServiceConfig(), // otherwise a TXT record of the DNS name could replace it
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           s.backoff.ofConnections(),
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithUserAgent("verification-status-client"),
	}
	options = append(options, grpc.WithPerRPCCredentials(bearer{source: s.token, plaintext: s.plaintext}))
	return append(options, s.extra...), nil
}

func (s *settings) transport() credentials.TransportCredentials {
	switch {
	case s.plaintext && s.token != nil:
		return loopbackOnly{insecure.NewCredentials()}
	case s.plaintext:
		return insecure.NewCredentials()
	case s.tls != nil:
		return credentials.NewTLS(s.tls)
	default:
		return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
}

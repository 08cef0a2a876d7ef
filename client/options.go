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

// Option changes how a Client connects.
type Option func(*settings)

type settings struct {
	plaintext bool
	tls       *tls.Config
	token     TokenSource
	backoff   backoff
	extra     []grpc.DialOption
	problems  []error
}

// WithPlaintext connects without TLS: to a server on this machine, or where a service mesh encrypts.
// Together with [WithBearerToken] only loopback addresses are connected to.
func WithPlaintext() Option { return func(s *settings) { s.plaintext = true } }

// WithTLS connects with this configuration, which is copied. For mutual TLS it has the client's
// certificate; see [WithTLSFiles] for one that is renewed now and then.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.tls = config.Clone() }
}

// WithBearerToken sends a token with each call, as "authorization: Bearer <token>". The source is asked
// for each call and each try of a watch; it keeps the token itself while it is good, and is safe for
// concurrent use. Its errors are told as UNAVAILABLE, so that a watch goes on when it has recovered.
//
// A token never leaves the machine in plain text.
func WithBearerToken(source TokenSource) Option { return func(s *settings) { s.token = source } }

// WithBackoff sets how long a watch waits before it tries again: at random between 0 and a ceiling that
// begins with base (by default 500 ms) and doubles with each failure in a row up to max (3 s). A wait that
// the server asks for is kept in full first.
//
// A lost connection is tried again at a random moment within base, or at once if a unary call needs it. If that fails, the next attempt follows two
// thirds of base later, and further ones at random in the upper two thirds of the same ceilings. As soon as the
// connection is back, all watches that wait for it resume within base.
//
// So a server that comes back has each client's connection within max. If 1,000 clients lost it at the same
// moment, it meets some 500 handshakes a second after an outage of some seconds, and some 2,000 a second for
// half a second if it is back at once. A greater max or base suits more clients, or a smaller server.
func WithBackoff(base, max time.Duration) Option {
	return func(s *settings) {
		s.backoff = backoff{base: base, max: max}
		if base <= 0 || max < base {
			s.problems = append(s.problems, fmt.Errorf("WithBackoff: base %v and max %v: base must be positive, max not less", base, max))
		}
	}
}

// WithDialOptions adds options of gRPC's own, such as interceptors. They come last and win.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.extra = append(s.extra, options...) }
}

// The server allows pings from 5 s apart, other servers and proxies often less. A connection whose
// other end has gone is noticed after both together.
const (
	pingAfter   = 30 * time.Second
	pingTimeout = 10 * time.Second
	// connectTimeout is given to each address; grpc's default of 20 s holds up those that would answer.
	connectTimeout = 5 * time.Second
)

// serviceConfig: all addresses share the calls (see [connections]). Unary calls wait for a connection until
// their deadline. GetStatus, which changes nothing, is tried up to four times. A watch does not wait for a
// connection: it reports the interruption at once, and has its own backoff. A retry is the caller's to repeat.
//
// %s and %d are the name and the reconnectWithin of the balancing policy (see [policyConfig]).
const serviceConfig = `{
	"loadBalancingConfig": [{"%s": {"reconnectWithin": %d}}],
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
			{"service": "verification.v1.VerificationService", "method": "RetryVerification"}
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
		grpc.WithDefaultServiceConfig(fmt.Sprintf(serviceConfig, balancingPolicy, s.backoff.base)),
		grpc.WithDisableServiceConfig(), // else whoever answers for the DNS name could replace it
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           s.backoff.ofConnections(),
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithUserAgent("verification-status-client"),
	}
	if s.token != nil {
		options = append(options, grpc.WithPerRPCCredentials(bearer{source: s.token, plaintext: s.plaintext}))
	}
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

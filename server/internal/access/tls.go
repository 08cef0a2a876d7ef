package access

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// serverTLS has the configuration of the next handshake. One goroutine calls its setters.
type serverTLS struct {
	pair        tls.Certificate
	authorities *x509.CertPool // nil: client certificates are not asked for
	current     atomic.Pointer[tls.Config]
}

// setPair sets the certificate chain and its key. While the files are replaced, they can be read from two generations and
// not match: setPair then returns an error and keeps the old pair. No error contains a part of the key.
func (s *serverTLS) setPair(texts []string) error {
	pair, err := tls.X509KeyPair([]byte(texts[0]), []byte(texts[1]))
	if err != nil {
		return err
	}
	s.pair = pair
	s.renew()
	return nil
}

func (s *serverTLS) setAuthorities(texts []string) error {
	pool, err := authorities([]byte(texts[0]))
	if err != nil {
		return err
	}
	s.authorities = pool
	s.renew()
	return nil
}

// authorities reads all certificates of a PEM text. x509's own reader skips a certificate that is cut or garbled. Then
// callers of that authority would be refused, and no log line would say why.
func authorities(text []byte) (*x509.CertPool, error) {
	const begin = "-----BEGIN CERTIFICATE-----"
	pool, read := x509.NewCertPool(), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if pool.AppendCertsFromPEM(pem.EncodeToMemory(block)) {
			read++
		}
	}
	switch begun := bytes.Count(text, []byte(begin)); {
	case begun == 0:
		return nil, errors.New("there is no certificate in PEM: name a file with " + begin)
	case read < begun:
		return nil, fmt.Errorf("only %d of %d certificates can be read: one is cut off or garbled", read, begun)
	}
	return pool, nil
}

// renew makes the configuration of the next handshakes. Handshakes under way keep theirs.
func (s *serverTLS) renew() {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{s.pair},
		// A ticket would admit a client again without a check of its certificate. gRPC's connections live long, so
		// tickets would save little.
		SessionTicketsDisabled: true,
	}
	if s.authorities != nil {
		config.ClientCAs = s.authorities
		// A caller without a certificate can have a token, or ask for the health. A certificate is always verified.
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	s.current.Store(config)
}

// expiry returns when the certificate of the next handshakes ends. It is that of the leaf: a chain can contain certificates that have ended
// and that no client needs.
func (s *serverTLS) expiry() time.Time { return s.current.Load().Certificates[0].Leaf.NotAfter }

// start returns since when that certificate is valid.
func (s *serverTLS) start() time.Time { return s.current.Load().Certificates[0].Leaf.NotBefore }

// config returns the configuration for a listener, which takes the current one at each handshake.
func (s *serverTLS) config() *tls.Config {
	return &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current.Load(), nil },
	}
}

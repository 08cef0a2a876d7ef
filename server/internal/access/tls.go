package access

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync/atomic"
)

// serverTLS is what the next handshake is made with. Its setters are called by one goroutine.
type serverTLS struct {
	pair        tls.Certificate
	authorities *x509.CertPool // nil: client certificates are not asked for
	current     atomic.Pointer[tls.Config]
}

// setPair takes a certificate chain and its key. In a swap they may be read from two generations and
// not belong together: then the old pair stays until both are there. No error holds any of the key.
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

// authorities reads all certificates of a PEM text. x509's own reader passes over one that is cut off or
// garbled, and whoever is of that authority would be kept out without a word here.
func authorities(text []byte) (*x509.CertPool, error) {
	const begin = "-----BEGIN CERTIFICATE-----"
	pool, read := x509.NewCertPool(), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if pool.AppendCertsFromPEM(pem.EncodeToMemory(block)) {
			read++
		}
	}
	switch there := bytes.Count(text, []byte(begin)); {
	case there == 0:
		return nil, errors.New("there is no certificate in PEM: name a file with " + begin)
	case read < there:
		return nil, fmt.Errorf("only %d of %d certificates can be read: one is cut off or garbled", read, there)
	}
	return pool, nil
}

// renew makes the configuration of handshakes to come. Those under way keep theirs.
func (s *serverTLS) renew() {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{s.pair},
		// A ticket would let a client in again without its certificate being looked at again. gRPC's
		// connections last; there is little to save.
		SessionTicketsDisabled: true,
	}
	if s.authorities != nil {
		config.ClientCAs = s.authorities
		// Who has no certificate may have a token, or ask for the server's health. What is given is
		// verified always.
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	s.current.Store(config)
}

// config is what a listener is made with: it takes the current configuration at each handshake.
func (s *serverTLS) config() *tls.Config {
	return &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current.Load(), nil },
	}
}

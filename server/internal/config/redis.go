package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
)

const (
	redisPort    = "6379"
	sentinelPort = "26379"
	maxAddrs     = 100
)

// RedisTarget is REDIS_URL in its parts.
type RedisTarget struct {
	TLS                bool     // rediss://
	Username, Password string   // decoded; empty if the URL has none
	Addrs              []string // HOST:PORT, at least one; with sentinel, the addresses of the sentinels
	DB                 int      // the number of the database
}

// RedisTarget parses RedisURL. A URL has one scheme, one user with a password and one database, which apply to all
// addresses: "redis://user:password@a:6379,b:6379/0". Each address can repeat the scheme. The error says what to change. It
// does not quote the URL, which contains a password.
func (c *Config) RedisTarget() (RedisTarget, error) {
	port := redisPort
	if c.RedisMode == RedisSentinel {
		port = sentinelPort
	}
	var target RedisTarget
	pieces := strings.Split(c.RedisURL, ",")
	if len(pieces) > maxAddrs {
		return RedisTarget{}, errors.New("has too many addresses: give some of them; the driver finds the rest from Redis")
	}
	scheme, _, _ := strings.Cut(pieces[0], "://")
	if scheme != "redis" && scheme != "rediss" {
		return RedisTarget{}, errors.New("must begin with redis:// or, for TLS, rediss://")
	}
	target.TLS = scheme == "rediss"
	for _, piece := range pieces {
		piece = strings.TrimSpace(piece)
		if !strings.Contains(piece, "://") {
			piece = scheme + "://" + piece
		}
		if err := target.addAddress(piece, scheme, port); err != nil {
			return RedisTarget{}, err
		}
	}
	return target, nil
}

// addAddress adds the parts of a URL with one address. It does not return the errors of net/url, which quote the URL.
func (t *RedisTarget) addAddress(raw, scheme, defaultPort string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("cannot be read: write it as redis://user:password@host:6379/0, and in the password %40 for @, %3A for :, %2F for /, %2C for a comma and %25 for %")
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	switch {
	case u.Scheme != scheme:
		return errors.New("mixes redis:// and rediss://: use one for all addresses")
	case u.Hostname() == "" || hasSpace(u.Hostname()):
		return errors.New("has an address without a host: write host:6379, and a comma only between addresses")
	case !isPort(port, 1):
		return errors.New("has a port outside 1 to 65535")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("has options after a ? or #: the server knows none, remove them")
	}
	if u.User != nil {
		password, _ := u.User.Password()
		if (t.Username != "" || t.Password != "") && (t.Username != u.User.Username() || t.Password != password) {
			return errors.New("has different users or passwords: give them once, before the first address")
		}
		t.Username, t.Password = u.User.Username(), password
	}
	if path := strings.TrimPrefix(u.Path, "/"); path != "" {
		db, err := strconv.ParseUint(path, 10, 16)
		if err != nil {
			return errors.New("has a path that is not a database number: end it with /0, or remove the path")
		}
		t.DB = int(db)
	}
	t.Addrs = append(t.Addrs, net.JoinHostPort(u.Hostname(), port))
	return nil
}

// RedisTLS returns the TLS settings for Redis, with the authorities of REDIS_CA_FILE or of the system. It returns nil if
// REDIS_URL is plain text. The certificate must be for the host name of the address.
func (c *Config) RedisTLS() (*tls.Config, error) {
	target, err := c.RedisTarget()
	if err != nil || !target.TLS {
		return nil, err
	}
	if c.RedisCAFile == "" {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	text, err := ReadFile(c.RedisCAFile)
	if err != nil {
		return nil, err
	}
	return tlsWith(text)
}

// tlsWith returns TLS settings that accept the authorities in a PEM text and no others. It returns an error if a certificate
// is cut off or garbled: x509 skips it, and the next Redis can have a certificate of that authority.
func tlsWith(text string) (*tls.Config, error) {
	const begin = "-----BEGIN CERTIFICATE-----"
	pool, read := x509.NewCertPool(), 0
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if pool.AppendCertsFromPEM(pem.EncodeToMemory(block)) {
			read++
		}
	}
	switch certificates := strings.Count(text, begin); {
	case certificates == 0:
		return nil, errors.New("the file has no certificate in PEM: name a file with " + begin)
	case read < certificates:
		return nil, errors.New("the file has a certificate that is cut off or garbled")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, nil
}

// redacted returns the URL with "[secret]" in place of the password.
func (t RedisTarget) redacted() string {
	var out strings.Builder
	out.WriteString("redis")
	if t.TLS {
		out.WriteString("s")
	}
	out.WriteString("://")
	if t.Password != "" {
		out.WriteString(t.Username + ":" + concealed + "@")
	} else if t.Username != "" {
		out.WriteString(t.Username + "@")
	}
	out.WriteString(strings.Join(t.Addrs, ",") + "/" + strconv.Itoa(t.DB))
	return out.String()
}

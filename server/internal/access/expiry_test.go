package access

import (
	"crypto/x509"
	"testing"
	"time"

	"example.com/verification-status/server/internal/reload"
)

// TestCertificateExpiry: it is that of the leaf in use, not of the chain behind it, and not of files that are refused.
func TestCertificateExpiry(t *testing.T) {
	const life = 90 * 24 * time.Hour
	b := newBench(t, nil)
	ends := func(in time.Duration) (at time.Time, certificate, key string) {
		at = time.Now().Add(in).Truncate(time.Second)
		certificate, key = b.servers.issue(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = at.Add(-life), at })
		return at, certificate, key
	}
	want := func(what string, at time.Time) {
		t.Helper()
		if got := b.CertificateExpiry(); !got.Equal(at) {
			t.Errorf("%s: %v, want %v", what, got, at)
		}
	}
	want("at the start", b.served().NotAfter)

	month, certificate, key := ends(30 * 24 * time.Hour)
	_, sooner, _ := ends(time.Hour)
	b.write("tls.crt", certificate+sooner) // a chain: the leaf first
	b.write("tls.key", key)
	b.reload()
	want("after a renewal", month)
	if got, want := b.CertificateStart(), month.Add(-life); !got.Equal(want) {
		t.Errorf("it is valid since %v, want %v", got, want)
	}

	_, another, _ := ends(time.Hour)
	b.write("tls.crt", another) // without its key
	b.reload()
	want("after files that are refused", month)

	past, certificate, key := ends(-time.Hour) // is used: a server with a certificate that has ended shows why it is refused
	b.write("tls.crt", certificate)
	b.write("tls.key", key)
	b.reload()
	want("after one that has ended", past)

	plain, err := Open(Config{MaxStreams: 1}, reload.New(reload.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	if start, end := plain.CertificateStart(), plain.CertificateExpiry(); !start.IsZero() || !end.IsZero() {
		t.Errorf("without TLS: %v to %v, want the zero times", start, end)
	}
}

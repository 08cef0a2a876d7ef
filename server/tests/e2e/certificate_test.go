package e2e

import (
	"crypto/x509"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestTheCertificatesEndIsAMetric: a certificate that nobody renews shows before it ends. The metric follows the file, and is absent
// without TLS.
func TestTheCertificatesEndIsAMetric(t *testing.T) {
	t.Parallel()
	const name = "verification_tls_certificate_expiry_timestamp_seconds"
	redis, ca := redistest.Start(t), certificate(t, nil, func(*x509.Certificate) {})
	ending := func(in time.Duration) (end int64, chain, key string) {
		pair := certificate(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(in) })
		chain, key = pemOf(t, pair)
		return pair.Leaf.NotAfter.Unix(), chain, key
	}
	end, chain, key := ending(24 * time.Hour)
	chainFile, keyFile := writeFile(t, "tls.crt", chain), writeFile(t, "tls.key", key)
	token, _ := rig.TokensFile(t)
	p := rig.Serve(t, rig.Settings(redis.Addr, "GRPC_TLS_CERT_FILE="+chainFile, "GRPC_TLS_KEY_FILE="+keyFile, token))
	client := rig.NewHTTPClient(t)
	if got := scrape(t, client, p)[name]; got != float64(end) {
		t.Errorf("at the start: %v, want %v", got, end)
	}
	renewed, chain, key := ending(90 * 24 * time.Hour)
	for file, text := range map[string]string{chainFile: chain, keyFile: key} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.Signal(syscall.SIGHUP)
	p.Await("the end of the renewed certificate", func() bool { return scrape(t, client, p)[name] == float64(renewed) })

	plain := rig.Serve(t, rig.Settings(redis.Addr))
	for series := range scrape(t, client, plain) {
		if strings.HasPrefix(series, name) {
			t.Errorf("without TLS there is %s", series)
		}
	}
}

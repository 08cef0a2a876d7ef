package config

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRedisTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	write := func(name string, text []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	authority := write("ca.pem", text)

	for _, test := range []struct {
		name, url, file string
		secured, own    bool
	}{
		{"plain", "redis://h", "", false, false},
		{"the system's authorities", "rediss://h", "", true, false},
		{"an own authority", "rediss://h", authority, true, true},
	} {
		c := valid(t, "REDIS_URL="+test.url, "REDIS_CA_FILE="+test.file)
		if err := c.Load(); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got, err := c.RedisTLS()
		if err != nil || (got != nil) != test.secured {
			t.Errorf("%s: %+v, %v", test.name, got, err)
			continue
		}
		if got != nil && (got.RootCAs != nil) != test.own || got != nil && got.InsecureSkipVerify {
			t.Errorf("%s: authorities %v", test.name, got.RootCAs)
		}
	}

	for _, test := range []struct{ url, file, want string }{
		{"redis://h", authority, "REDIS_CA_FILE is set, but REDIS_URL is not rediss://"},
		{"rediss://h", write("key.pem", []byte("-----BEGIN PRIVATE KEY-----\n")), "has no certificate in PEM"},
		{"rediss://h", write("half.pem", append(text, text[:len(text)/2]...)), "cut off or garbled"},
		{"rediss://h", t.TempDir(), "not a regular file"},
		{"rediss://h", t.TempDir() + "/none", "the file cannot be read"},
	} {
		err := valid(t, "REDIS_URL="+test.url, "REDIS_CA_FILE="+test.file).Load()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s with %s: %v; want %q", test.url, test.file, err, test.want)
		}
	}
}

package rig

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"example.com/verification-status/server/internal/access"
)

// TokensFile writes a file with one token that can read. It returns the file's setting and the token.
func TokensFile(t testing.TB) (setting, token string) {
	t.Helper()
	token, line, err := access.NewToken("bench", []access.Right{access.RightRead})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(line.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "GRPC_TOKENS_FILE=" + file, token
}

// Bearer sends a token with every call, also without TLS.
type Bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (t Bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(t)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (Bearer) RequireTransportSecurity() bool { return false }

package config

import (
	"strings"
	"testing"
)

// TestCallersMustFitTogether: settings that are wrong only in combination.
func TestCallersMustFitTogether(t *testing.T) {
	tls := []string{"GRPC_TLS_CERT_FILE=/c", "GRPC_TLS_KEY_FILE=/k"}
	for _, test := range []struct {
		changes []string
		want    string
	}{
		{[]string{"GRPC_ADDR=localhost:1", "GRPC_TLS_CERT_FILE=/c"}, "GRPC_TLS_CERT_FILE is set, but GRPC_TLS_KEY_FILE is not"},
		{[]string{"GRPC_ADDR=localhost:1", "GRPC_TLS_KEY_FILE=/k"}, "GRPC_TLS_KEY_FILE is set, but GRPC_TLS_CERT_FILE is not"},
		{tls, "GRPC_ADDR is reachable from other machines, and no setting says which callers may call"},
		{append([]string{"GRPC_ADDR=backend:1"}, tls...), "GRPC_ADDR is reachable from other machines, and no setting says which callers may call"},
		{append([]string{"GRPC_INSECURE=true", "GRPC_TOKENS_FILE=/t"}, tls...), "GRPC_INSECURE is set, but GRPC_TLS_CERT_FILE"},
		{append([]string{"GRPC_CLIENT_CA_FILE=/a"}, tls...), "GRPC_AUTHZ_POLICY_FILE is not set"},
		{[]string{"GRPC_CLIENT_CA_FILE=/a", "GRPC_AUTHZ_POLICY_FILE=/p"}, "GRPC_CLIENT_CA_FILE is set, but TLS is not"},
		{[]string{"GRPC_ADDR=:1", "GRPC_TOKENS_FILE=/t"}, "GRPC_ADDR is reachable from other machines without encryption"},
	} {
		err := valid(t, test.changes...).Load()
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: got %v, want %q", test.changes, err, test.want)
		}
	}
}

func TestWhereGRPCListensByDefault(t *testing.T) {
	for want, changes := range map[string][]string{
		"127.0.0.1:50051": {"GRPC_ADDR=", "GRPC_TOKENS_FILE=/t"},
		":50051":          {"GRPC_ADDR=", "GRPC_TOKENS_FILE=/t", "GRPC_TLS_CERT_FILE=/c", "GRPC_TLS_KEY_FILE=/k"},
		"127.0.0.1:1":     {"GRPC_ADDR=127.0.0.1:1", "GRPC_TLS_CERT_FILE=/c", "GRPC_TLS_KEY_FILE=/k"},
	} {
		c := valid(t, changes...)
		if err := c.Load(); err != nil || c.GRPCAddr != want {
			t.Errorf("%v: %q, %v; want %q", changes, c.GRPCAddr, err, want)
		}
	}
}

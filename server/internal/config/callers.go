package config

// GRPCTLS reports whether gRPC is encrypted.
func (c *Config) GRPCTLS() bool { return c.GRPCTLSCertFile != "" || c.GRPCTLSKeyFile != "" }

// callersNamed reports whether callers must authenticate.
func (c *Config) callersNamed() bool { return c.GRPCClientCAFile != "" || c.GRPCTokensFile != "" }

// checkReachable checks a gRPC listener that other machines can reach.
func (c *Config) checkReachable(found *problems) {
	switch {
	case !c.GRPCTLS() && c.GRPCInsecure == False:
		found.add("GRPC_ADDR is reachable from other machines without encryption: listen on 127.0.0.1, set GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE, or set GRPC_INSECURE=true if a service mesh encrypts")
	case c.GRPCTLS() && !c.callersNamed():
		found.add("GRPC_ADDR is reachable from other machines, and no setting says which callers may call: set GRPC_CLIENT_CA_FILE and GRPC_AUTHZ_POLICY_FILE, or GRPC_TOKENS_FILE, or listen on 127.0.0.1")
	}
}

// checkCallers checks how callers authenticate. The packages that read the files check their contents.
func (c *Config) checkCallers(found *problems) {
	switch {
	case c.GRPCTLSCertFile == "" && c.GRPCTLSKeyFile != "":
		found.add("GRPC_TLS_KEY_FILE is set, but GRPC_TLS_CERT_FILE is not: name the certificate too, or remove the key")
	case c.GRPCTLSKeyFile == "" && c.GRPCTLSCertFile != "":
		found.add("GRPC_TLS_CERT_FILE is set, but GRPC_TLS_KEY_FILE is not: name the key too, or remove the certificate")
	}
	if c.GRPCInsecure.On() && c.GRPCTLS() {
		found.add("GRPC_INSECURE is set, but GRPC_TLS_CERT_FILE or GRPC_TLS_KEY_FILE is too: remove one or the other")
	}
	if c.GRPCClientCAFile != "" && !c.GRPCTLS() {
		found.add("GRPC_CLIENT_CA_FILE is set, but TLS is not: set GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE too, or remove it")
	}
	switch {
	case c.GRPCClientCAFile != "" && c.GRPCAuthzPolicyFile == "":
		found.add("GRPC_AUTHZ_POLICY_FILE is not set: without it no client certificate of GRPC_CLIENT_CA_FILE may call anything")
	case c.GRPCClientCAFile == "" && c.GRPCAuthzPolicyFile != "":
		found.add("GRPC_AUTHZ_POLICY_FILE is set, but GRPC_CLIENT_CA_FILE is not: the policy is about client certificates, so name their authorities too, or remove it")
	}
	for _, limit := range []struct {
		env   string
		value Count
	}{{"CALLER_MAX_STREAMS", c.CallerMaxStreams}, {"CALLER_RATE", c.CallerRate}} {
		if limit.value > 0 && !c.callersNamed() {
			found.add("%s is set, but callers have no names: set GRPC_TOKENS_FILE or GRPC_CLIENT_CA_FILE, or remove it", limit.env)
		}
	}
}

package config

import (
	"fmt"
	"net"
	"os"
	"slices"
)

// Warnings returns a sentence for the log for each setting that is safe or complete in some places and not in others. Such a
// setting does not keep the server from starting. Call it after Load. No sentence contains a secret.
func (c *Config) Warnings() []string {
	return slices.Concat(c.warnOfRedis(), c.warnOfSecrets(), c.warnOfFiles(), c.warnOfOrganization(), c.warnOfPath(), c.warnOfStreams())
}

// warnOfOrganization warns if nothing names the accounts of an organization. Its key has no account of its own.
func (c *Config) warnOfOrganization() []string {
	if !ofOrganization(c.StripeAPIKey) || c.StripeAccounts != "" || len(c.KeyedAccounts()) > 0 {
		return nil
	}
	return []string{"STRIPE_API_KEY is a key of an organization, and STRIPE_ACCOUNTS names no account: an account is caught up only after its first event, so name the accounts"}
}

// warnOfRedis warns if Redis is on another machine, or can be, and has no TLS. The server does not refuse it: a private
// network, a mesh or a tunnel can encrypt, and the server cannot see that.
func (c *Config) warnOfRedis() []string {
	target, err := c.RedisTarget()
	if err != nil || target.TLS {
		return nil
	}
	leads := "leads to another machine in plain text"
	if !slices.ContainsFunc(target.Addrs, isRemote) {
		switch c.RedisMode {
		case RedisSentinel:
			leads = "is in plain text, and the Sentinels name the master, which can be on another machine"
		case RedisCluster:
			leads = "is in plain text, and the nodes name the others, which can be on other machines"
		default:
			return nil
		}
	}
	exposed := "personal data"
	if target.Password != "" || c.RedisSentinelPassword != "" {
		exposed = "the password and personal data"
	}
	return []string{"REDIS_URL " + leads + ", so that anyone on the network can read " + exposed +
		": use rediss://, or make sure that a mesh or a tunnel encrypts"}
}

// warnOfSecrets warns of each signing secret with a character that Stripe's never have, such as a semicolon at its end: it
// verifies none of Stripe's webhooks. It can be a secret of the operator's own, for webhooks that are not sent by Stripe.
func (c *Config) warnOfSecrets() (warnings []string) {
	secrets := c.WebhookSecrets()
	for i, secret := range secrets {
		if !stripeSecretPattern.MatchString(secret) {
			warnings = append(warnings, fmt.Sprintf("STRIPE_WEBHOOK_SECRET has a secret (%d of %d) with other characters than letters, digits and _, as no secret of Stripe has: "+
				"if it is one of Stripe, its webhooks are refused, so give the endpoint's signing secret (whsec_...) and nothing else", i+1, len(secrets)))
		}
	}
	return warnings
}

// warnOfStreams warns if CALLER_MAX_STREAMS takes back what CALLER_SHARE_PERCENT gives: one caller can shut all others out.
func (c *Config) warnOfStreams() []string {
	if c.CallerMaxStreams < c.GRPCMaxStreams {
		return nil
	}
	return []string{fmt.Sprintf("CALLER_MAX_STREAMS is %d and GRPC_MAX_STREAMS %d, so that one caller can open all watches and keep the others from theirs: lower CALLER_MAX_STREAMS, or set it to 0 for CALLER_SHARE_PERCENT", c.CallerMaxStreams, c.GRPCMaxStreams)}
}

// isRemote reports whether a HOST:PORT is on another machine.
func isRemote(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err != nil || !isLoopback(host)
}

// warnOfFiles warns of each file that every user of the machine can change, and of each secret that they can read.
func (c *Config) warnOfFiles() (warnings []string) {
	const othersRead, othersWrite = 0o004, 0o002
	for _, file := range []struct {
		env, path string
		secret    bool
	}{
		{"GRPC_TLS_CERT_FILE", c.GRPCTLSCertFile, false},
		{"GRPC_TLS_KEY_FILE", c.GRPCTLSKeyFile, true},
		{"GRPC_CLIENT_CA_FILE", c.GRPCClientCAFile, false},
		{"GRPC_AUTHZ_POLICY_FILE", c.GRPCAuthzPolicyFile, false},
		{"GRPC_TOKENS_FILE", c.GRPCTokensFile, false},
		{"REDIS_URL_FILE", c.RedisURLFile, true},
		{"REDIS_SENTINEL_USERNAME_FILE", c.RedisSentinelUsernameFile, false},
		{"REDIS_SENTINEL_PASSWORD_FILE", c.RedisSentinelPasswordFile, true},
		{"REDIS_CA_FILE", c.RedisCAFile, false},
		{"STRIPE_API_KEY_FILE", c.StripeAPIKeyFile, true},
		{"STRIPE_SENSITIVE_API_KEY_FILE", c.StripeSensitiveAPIKeyFile, true},
		{"STRIPE_WEBHOOK_SECRET_FILE", c.StripeWebhookSecretFile, true},
	} {
		info, err := os.Stat(file.path)
		if err != nil { // not set, or refused by Load
			continue
		}
		switch mode := info.Mode().Perm(); {
		case mode&othersWrite != 0:
			warnings = append(warnings, fmt.Sprintf("%s names a file that every user of this machine can change: forbid it with chmod o-w", file.env))
		case file.secret && mode&othersRead != 0:
			warnings = append(warnings, fmt.Sprintf("%s names a file with a secret that every user of this machine can read: forbid it with chmod o-r, or in Kubernetes with defaultMode: 0440", file.env))
		}
	}
	return warnings
}

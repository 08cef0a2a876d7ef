package access

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/authz"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// policy is grpc's authorization policy: deny rules, then allow rules. It denies everything else.
type policy struct {
	engine *authz.StaticInterceptor
	// denials is the same policy, but it allows everything that it does not deny. nil: there are no deny rules.
	denials *authz.StaticInterceptor
}

func newPolicy(text string) (*policy, error) {
	// The engine reads one JSON value and ignores text after it, which could be the rules that matter.
	var parts struct {
		Name      json.RawMessage   `json:"name"`
		DenyRules []json.RawMessage `json:"deny_rules"`
	}
	if err := json.Unmarshal([]byte(text), &parts); err != nil {
		return nil, fmt.Errorf("this is no authorization policy of grpc: %w", err)
	}
	engine, err := authz.NewStatic(text)
	if err != nil {
		return nil, fmt.Errorf("this is no authorization policy of grpc: %w", err)
	}
	if len(parts.DenyRules) == 0 {
		return &policy{engine: engine}, nil
	}
	rest, err := json.Marshal(map[string]any{
		"name": parts.Name, "deny_rules": parts.DenyRules, "allow_rules": []map[string]string{{"name": "all"}},
	})
	if err != nil {
		return nil, fmt.Errorf("this is no authorization policy of grpc: %w", err)
	}
	denials, err := authz.NewStatic(string(rest))
	if err != nil {
		return nil, fmt.Errorf("this is no authorization policy of grpc: %w", err)
	}
	return &policy{engine, denials}, nil
}

// allows reports whether the caller has the right to path. ctx is the context of its call. A nil policy allows nothing.
//
// A rule that denies watches also denies the watch of all sessions, which is the same method. Deny rules apply to each DNS
// name of a certificate, allow rules to the first one alone: it is the name in the log and in the record, and an authority
// can let its clients choose the others.
func (p *policy) allows(ctx context.Context, path string) bool {
	if p == nil || path == pathWatchAll && p.denials != nil && !passes(ctx, p.denials, pathWatch) {
		return false
	}
	if named := withFirstName(ctx); named != nil {
		return (p.denials == nil || passes(ctx, p.denials, path)) && passes(named, p.engine, path)
	}
	return passes(ctx, p.engine, path)
}

// withFirstName returns ctx with a peer whose certificate has its first DNS name alone. It returns nil if the certificate
// has no other DNS name.
func withFirstName(ctx context.Context) context.Context {
	certificate := verified(ctx)
	if certificate == nil || len(certificate.DNSNames) < 2 {
		return nil
	}
	named := *certificate
	named.DNSNames = named.DNSNames[:1]
	from, _ := peer.FromContext(ctx) // verified has checked it
	known, secured := *from, from.AuthInfo.(credentials.TLSInfo)
	secured.State.PeerCertificates = []*x509.Certificate{&named}
	known.AuthInfo = secured
	return peer.NewContext(ctx, &known)
}

// passes reports whether an engine allows a path. The engine takes the method from ctx, so ctx gets path for its method.
func passes(ctx context.Context, engine *authz.StaticInterceptor, path string) bool {
	named := grpc.NewContextWithServerTransportStream(ctx, renamed{grpc.ServerTransportStreamFromContext(ctx), path})
	passed := false
	_, err := engine.UnaryInterceptor(named, nil, nil, func(context.Context, any) (any, error) {
		passed = true
		return nil, nil
	})
	return err == nil && passed
}

// renamed is a call with the name of another method.
type renamed struct {
	grpc.ServerTransportStream
	method string
}

func (r renamed) Method() string { return r.method }

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

// policy is grpc's authorization policy: deny rules, then allow rules, then no.
type policy struct {
	engine *authz.StaticInterceptor
	// denials is the same policy with everything allowed that is not denied; nil: nothing is denied.
	denials *authz.StaticInterceptor
}

func newPolicy(text string) (*policy, error) {
	// The engine reads one value and leaves what is behind it, which may be the rules that matter.
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

// allows reports whether the caller whose call ctx belongs to may do what path stands for. No policy
// allows nothing. A rule that denies watches denies that of all sessions too: it is the same method, and
// more. Of a certificate with several DNS names, each can be denied, and the first alone is allowed anything: it is the
// name in the log and in the record, and an authority can let its clients choose the others.
func (p *policy) allows(ctx context.Context, path string) bool {
	if p == nil || path == pathWatchAll && p.denials != nil && !passes(ctx, p.denials, pathWatch) {
		return false
	}
	if named := withFirstName(ctx); named != nil {
		return (p.denials == nil || passes(ctx, p.denials, path)) && passes(named, p.engine, path)
	}
	return passes(ctx, p.engine, path)
}

// withFirstName returns ctx with a peer whose certificate has its first DNS name alone; nil if it has no others.
func withFirstName(ctx context.Context) context.Context {
	certificate := verified(ctx)
	if certificate == nil || len(certificate.DNSNames) < 2 {
		return nil
	}
	named := *certificate
	named.DNSNames = named.DNSNames[:1]
	from, _ := peer.FromContext(ctx) // verified has looked at it
	known, secured := *from, from.AuthInfo.(credentials.TLSInfo)
	secured.State.PeerCertificates = []*x509.Certificate{&named}
	known.AuthInfo = secured
	return peer.NewContext(ctx, &known)
}

// passes asks an engine. It looks at the method that ctx names: it is shown one with that name.
func passes(ctx context.Context, engine *authz.StaticInterceptor, path string) bool {
	named := grpc.NewContextWithServerTransportStream(ctx, renamed{grpc.ServerTransportStreamFromContext(ctx), path})
	passed := false
	_, err := engine.UnaryInterceptor(named, nil, nil, func(context.Context, any) (any, error) {
		passed = true
		return nil, nil
	})
	return err == nil && passed
}

// renamed is a call under another method's name.
type renamed struct {
	grpc.ServerTransportStream
	method string
}

func (r renamed) Method() string { return r.method }

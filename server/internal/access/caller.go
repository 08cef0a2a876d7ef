package access

import (
	"context"
	"crypto/x509"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"example.com/verification-status/server/internal/shares"
)

// maxPrincipal bounds a caller's name, in bytes: it goes into records.
const maxPrincipal = 255

// caller is who makes a call, as far as it could be told. It does not change.
type caller struct {
	principal string        // empty where everyone may call, and where unknown says why
	token     *Token        // nil: by certificate
	unknown   string        // why the caller is nobody; empty: the caller is somebody
	holder    shares.Holder // of the principal; none where that is empty
}

type callerKey struct{}

// identified is the context of a call whose caller was looked at.
type identified struct {
	context.Context
	caller     *caller // may be that of other calls too
	generation uint64  // of the rights that it was told by, or an earlier one
}

// Value implements context.Context.
func (i *identified) Value(key any) any {
	switch key.(type) {
	case callerKey:
		return i
	case shares.ContextKey:
		return &i.caller.holder
	}
	return i.Context.Value(key)
}

// Identify notes in the context of a call who makes it, and for which holder it counts. It refuses nobody: Unary and Stream do. It
// must be called by the server, with the context of the call itself.
func (a *Access) Identify(ctx context.Context) context.Context {
	if a.open() {
		return ctx
	}
	generation := a.generation.Load() // before the tokens are: a change meanwhile must be noticed
	return &identified{ctx, a.identify(ctx), generation}
}

// Principal is the name of who makes the call that ctx belongs to: the SPIFFE id or DNS name of a
// client certificate, "token:" and the name of a token, or empty where callers have no names. It has
// 255 bytes at the most, none of them a space or a control character.
func (*Access) Principal(ctx context.Context) string {
	if i, ok := ctx.Value(callerKey{}).(*identified); ok {
		return i.caller.principal
	}
	return ""
}

// identify goes by the bearer token where there is one, good or not: a caller that shows a token wants
// to be judged by it, and must learn that it is bad. Else by the client certificate.
func (a *Access) identify(ctx context.Context) *caller {
	if inForce := a.tokens.Load(); inForce != nil {
		if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
			return inForce.identify(values)
		}
	}
	if a.config.ClientCAFile != "" {
		if certificate := verified(ctx); certificate != nil {
			return identifyCertificate(certificate)
		}
	}
	switch {
	case a.config.ClientCAFile == "":
		return nobody("the call has no bearer token; send one in the authorization header")
	case a.config.TokensFile == "":
		return nobody("the connection has no client certificate; use one of an authority that this server trusts")
	default:
		return nobody("the call has neither a client certificate nor a bearer token")
	}
}

// nobody is a caller who is not let in, and why.
func nobody(why string) *caller { return &caller{unknown: why} }

func (t *tokens) identify(values []string) *caller {
	text, ok := parseBearer(values)
	if !ok {
		return nobody(`the authorization header is not "Bearer " and one token of this service`)
	}
	holder := t.find(text)
	if holder == nil {
		return nobody("the bearer token is not known, or not any more")
	}
	return holder
}

// verified is the client certificate of the connection, if an authority vouches for it.
func verified(ctx context.Context) *x509.Certificate {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	secured, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(secured.State.VerifiedChains) == 0 {
		return nil
	}
	return secured.State.PeerCertificates[0]
}

// identifyCertificate names the holder by the URI, else by the first DNS name, as the policy's
// principals do. The subject is no name: authorities vouch for alternative names only.
func identifyCertificate(certificate *x509.Certificate) *caller {
	var name string
	switch {
	case len(certificate.URIs) == 1 && certificate.URIs[0].Scheme == "spiffe":
		name = certificate.URIs[0].String()
	case len(certificate.URIs) > 0:
		return nobody("the client certificate has a URI that is no SPIFFE id, or several URIs")
	case len(certificate.DNSNames) > 0:
		name = certificate.DNSNames[0]
	default:
		return nobody("the client certificate names neither a SPIFFE id nor a DNS name")
	}
	if len(name) > maxPrincipal || strings.ContainsFunc(name, unfit) || strings.HasPrefix(name, tokenPrincipal) {
		return nobody("the client certificate's name is longer than 255 bytes, or not printable")
	}
	return &caller{principal: name, holder: shares.Named(name)}
}

// unfit reports whether a character could make two names look alike in a log, or break a line.
func unfit(r rune) bool { return r <= ' ' || r > '~' }

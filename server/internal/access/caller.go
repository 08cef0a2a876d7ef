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

// maxPrincipal bounds a caller's name, in bytes. Records contain it.
const maxPrincipal = 255

// caller is an identified caller, or one that could not be identified. It is immutable.
type caller struct {
	principal string        // empty if access control is off, and with a problem
	token     *Token        // nil: by certificate
	problem   string        // why the caller is not identified; empty: it is
	holder    shares.Holder // of the principal; zero if that is empty
}

type callerKey struct{}

// identified is the context of a call after Identify.
type identified struct {
	context.Context
	caller     *caller // shared with other calls
	generation uint64  // of the rights by which it was identified, or an earlier one
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

// Identify returns the context of a call with its caller and the holder that it counts for. It returns ctx itself if that has
// the caller already, by the rights of now. It refuses no call: Unary and Stream do. The server must call it with the context
// of the call itself, or one that derives from it.
func (a *Access) Identify(ctx context.Context) context.Context {
	if a.isOpen() {
		return ctx
	}
	generation := a.generation.Load() // before the tokens: a change in between must not be missed
	if known, ok := ctx.Value(callerKey{}).(*identified); ok && known.generation == generation {
		return ctx
	}
	return &identified{ctx, a.identify(ctx), generation}
}

// Principal returns the name of the caller: the SPIFFE id or DNS name of its client certificate, or "token:" and the name
// of its token. It returns "" if access control is off or the caller is not identified. A name has at most 255 bytes, and
// no spaces or control characters. ctx is from Identify, or derives from it.
func (*Access) Principal(ctx context.Context) string {
	if i, ok := ctx.Value(callerKey{}).(*identified); ok {
		return i.caller.principal
	}
	return ""
}

// identify returns the caller by its bearer token, or by its client certificate if the call has no token. A bad token is
// not passed over: a caller that sends one must learn that it is bad.
func (a *Access) identify(ctx context.Context) *caller {
	if current := a.tokens.Load(); current != nil {
		if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
			return current.identify(values)
		}
	}
	if a.config.ClientCAFile != "" {
		if certificate := verified(ctx); certificate != nil {
			return identifyCertificate(certificate)
		}
	}
	switch {
	case a.config.ClientCAFile == "":
		return unidentified("the call has no bearer token; send one in the authorization header")
	case a.config.TokensFile == "":
		return unidentified("the connection has no client certificate; use one of an authority that this server trusts")
	default:
		return unidentified("the call has neither a client certificate nor a bearer token")
	}
}

// unidentified returns a caller that is not identified, for this reason.
func unidentified(why string) *caller { return &caller{problem: why} }

func (t *tokens) identify(values []string) *caller {
	text, ok := parseBearer(values)
	if !ok {
		return unidentified(`the authorization header is not "Bearer " and one token of this service`)
	}
	found := t.find(text)
	if found == nil {
		return unidentified("the bearer token is not known, or not any more")
	}
	return found
}

// verified returns the client certificate of the connection, or nil if no authority vouches for one.
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

// identifyCertificate returns the caller with the name in the certificate: its URI, else its first DNS name, as grpc's
// policy does. The subject is not used: authorities vouch for the alternative names only.
func identifyCertificate(certificate *x509.Certificate) *caller {
	var name string
	switch {
	case len(certificate.URIs) == 1 && certificate.URIs[0].Scheme == "spiffe":
		name = certificate.URIs[0].String()
	case len(certificate.URIs) > 0:
		return unidentified("the client certificate has a URI that is no SPIFFE id, or several URIs")
	case len(certificate.DNSNames) > 0:
		name = certificate.DNSNames[0]
	default:
		return unidentified("the client certificate names neither a SPIFFE id nor a DNS name")
	}
	if len(name) > maxPrincipal || strings.ContainsFunc(name, isUnfit) || strings.HasPrefix(name, tokenPrincipal) {
		return unidentified("the client certificate's name is longer than 255 bytes, or not printable")
	}
	return &caller{principal: name, holder: shares.Named(name)}
}

// isUnfit reports whether a character could make two names look alike in a log, or break a line.
func isUnfit(r rune) bool { return r <= ' ' || r > '~' }

package shares

import (
	"context"
	"net"
	"net/netip"
)

// Holder is the caller that units of a Pot are counted for. It is comparable. The zero Holder has no share
// of its own: only the size of a Pot bounds it.
type Holder struct {
	name string
	peer bool // an address without credentials
}

// Named returns the holder for a caller with credentials. An empty name is the zero Holder.
func Named(name string) Holder { return Holder{name: name} }

// Peer returns the holder for a caller without credentials, by its address without the port: ports are free.
// So are the addresses of an IPv6 network: all of one /64 are one holder.
func Peer(addr net.Addr) Holder {
	if addr == nil {
		return Holder{"unknown", true}
	}
	text := addr.String()
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		return Holder{text, true} // of a pipe or a Unix socket
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return Holder{ip.String(), true}
	}
	network, err := ip.Prefix(64)
	if err != nil {
		return Holder{text, true}
	}
	return Holder{network.String(), true}
}

func (h Holder) named() bool { return h.name != "" && !h.peer }

// IsPeer reports whether the holder is a caller without credentials.
func (h Holder) IsPeer() bool { return h.peer }

// String returns the name or the address. It is empty for the zero Holder.
func (h Holder) String() string { return h.name }

// ContextKey is the key under which a context holds a *Holder. WithHolder uses it, and a context with a
// Value method of its own can answer it without another context around it.
type ContextKey struct{}

// WithHolder returns a context whose work is counted for a holder.
func WithHolder(ctx context.Context, holder Holder) context.Context {
	return context.WithValue(ctx, ContextKey{}, &holder)
}

// HolderOf returns the holder that the work of a context is counted for. It is the zero Holder if no caller
// waits for the work.
func HolderOf(ctx context.Context) Holder {
	if holder, ok := ctx.Value(ContextKey{}).(*Holder); ok {
		return *holder
	}
	return Holder{}
}

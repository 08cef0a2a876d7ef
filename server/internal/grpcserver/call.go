package grpcserver

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"example.com/verification-status/server/internal/connlimit"
	"example.com/verification-status/server/internal/shares"
)

const (
	// requestIDHeader is how callers name a call, and how they are told its name.
	requestIDHeader = "x-request-id"
	// maxRequestID bounds the names that callers give, in bytes.
	maxRequestID = 128

	// longestDeadline is how long a unary call may take at the most, whatever its caller allows: no answer
	// takes that long, and it bounds the arrival of the request too.
	longestDeadline = 30 * time.Second
)

// call is one call, and the context that all its others are made from: so there is one object for the
// request id, the log, the metrics and the time that the request may take, and no context for each.
type call struct {
	context.Context
	method *method
	peer   net.Addr // nil: gRPC does not tell
	began  time.Time
	cancel context.CancelFunc // ends the context; nil: that is gRPC's own
	late   *time.Timer        // ends it if the request of a stranger does not arrive; nil: of others
	absent atomic.Bool        // such a request is not there yet
	server *Server
	place  shares.Unit // among the calls under way; the handler's goroutine alone uses it
	shed   bool        // it was refused for load

	given          string // the request id, if the caller gave one
	number         uint64 // else this is it
	logged         atomic.Bool
	sessionID      atomic.Pointer[string] // nil: none; a watch's turns have goroutines of their own
	received, sent atomic.Int64           // bytes of messages
}

type callKey struct{}

// Value implements context.Context.
func (c *call) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return c
	}
	return c.Context.Value(key)
}

func callOf(ctx context.Context) *call {
	known, _ := ctx.Value(callKey{}).(*call)
	return known
}

// begin makes the call. It is the tap: gRPC calls it for each one when its headers are there.
//
// A unary call without a deadline gets one: a caller that forgot it would otherwise wait, and hold a
// handler, for as long as whatever is behind this service hangs. Streams have none: a context of their own
// would be a twentieth of their memory.
func (s *Server) begin(ctx context.Context, info *tap.Info) (context.Context, error) {
	c := &call{Context: ctx, server: s, method: s.method(info.FullMethodName), began: time.Now(), number: rand.Uint64()}
	if given := info.Header[requestIDHeader]; len(given) > 0 && isRequestID(given[0]) {
		c.given = given[0]
	}
	if caller, ok := peer.FromContext(ctx); ok {
		c.peer = caller.Addr
	}
	if c.method == s.unknown {
		return c, nil // it is answered at once
	}
	if deadline, ok := ctx.Deadline(); c.method.stream {
		// none
	} else if !ok {
		c.Context, c.cancel = context.WithTimeout(ctx, c.method.deadline)
	} else if deadline.Sub(c.began) > longestDeadline {
		c.Context, c.cancel = context.WithTimeout(ctx, longestDeadline)
	}
	if !connlimit.Used(c.peer) {
		c.expect()
	}
	return c, nil
}

// ended lets go of what the call holds.
func (c *call) ended() {
	c.arrived()
	if c.cancel != nil {
		c.cancel()
	}
}

// NoteSession tells the log which session a call is about: an id of the right form, nothing else of
// what callers send. ctx is the one that the handler got.
func NoteSession(ctx context.Context, sessionID string) {
	if c := callOf(ctx); c != nil {
		c.sessionID.Store(&sessionID)
	}
}

// requestID is the name of a call of the service; empty for gRPC's own.
func (c *call) requestID() string {
	switch {
	case c.method.grpcs:
		return ""
	case c.given != "":
		return c.given
	default:
		return fmt.Sprintf("%016x", c.number)
	}
}

// trailer tells the caller under which name the log has something about the call; nil where it has
// nothing.
func (c *call) trailer() metadata.MD {
	if c.logged.Load() {
		return metadata.Pairs(requestIDHeader, c.requestID())
	}
	return nil
}

// isRequestID allows what cannot be mistaken for anything else in a log: no spaces, quotes or signs of
// other alphabets.
func isRequestID(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=':
		default:
			return false
		}
	}
	return text != "" && len(text) <= maxRequestID
}

// WithCall makes the lines that are logged with a call's context bear its request id.
func WithCall(log *slog.Logger) *slog.Logger { return slog.New(callHandler{log.Handler()}) }

type callHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h callHandler) Handle(ctx context.Context, record slog.Record) error {
	if c := callOf(ctx); c != nil && c.requestID() != "" {
		c.logged.Store(true)
		record = record.Clone()
		record.AddAttrs(slog.String("request_id", c.requestID()))
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (h callHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return callHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h callHandler) WithGroup(name string) slog.Handler {
	return callHandler{h.Handler.WithGroup(name)}
}

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

	"example.com/verification-status/server/internal/shares"
)

const (
	// requestIDHeader carries the request id, from the caller and in the trailers.
	requestIDHeader = "x-request-id"
	// maxRequestID bounds the request ids of callers, in bytes.
	maxRequestID = 128

	// longestDeadline bounds a unary call, even if its caller allows more. No answer takes that long. It also bounds
	// the arrival of the request.
	longestDeadline = 30 * time.Second
)

// call is one call, and the context from which all its other contexts derive. So one object has the request id, the state
// of the log and of the metrics, and the deadline, and none of them needs a context of its own.
type call struct {
	context.Context
	method *method
	peer   net.Addr // nil: unknown
	began  time.Time
	cancel context.CancelFunc // ends the context; nil: the context is gRPC's own
	late   *time.Timer        // of limitArrival; nil: none
	server *Server
	slot   shares.Unit // of method.slots; used by the handler's goroutine alone
	half   shares.Unit // of Server.half or shortHalf; see stopAwaiting
	excess bool        // over the limit of requests that have not arrived
	brief  bool        // has shortRequestTimeout and shortHalfBytes
	bytes  int         // of the incomplete request; see part
	shed   bool        // refused for load

	givenID        string // the caller's request id; empty: ownID is the request id
	ownID          uint64
	requestAwaited atomic.Bool            // half is taken, unless excess
	tooMany        atomic.Bool            // ended by tooLate
	logged         atomic.Bool            // a line has the request id
	sessionID      atomic.Pointer[string] // nil: none. Several goroutines of a watch set it.
	limit          atomic.Pointer[string] // see NoteLimit; nil: none
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

// begin makes the call. It is the tap, which gRPC calls when the headers of a call have arrived.
//
// A unary call without a deadline gets one. Otherwise it would hold a handler for as long as Redis or Stripe hangs.
// Streams get none: a context of its own would be a twentieth of a stream's memory.
//
// begin returns an error only after a panic: gRPC releases the timer of a call that a tap refuses at the caller's deadline,
// which can be days away.
func (s *Server) begin(ctx context.Context, info *tap.Info) (_ context.Context, err error) {
	c := &call{Context: ctx, server: s, method: s.method(info.FullMethodName), began: time.Now(), ownID: rand.Uint64()}
	if given := info.Header[requestIDHeader]; len(given) > 0 && isRequestID(given[0]) {
		c.givenID = given[0]
	}
	var conn *pacedConn
	if caller, ok := peer.FromContext(ctx); ok {
		conn, c.peer = connOf(caller.Addr)
	}
	if c.method == s.unknown {
		return c, nil // gRPC answers it at once
	}
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(ctx, c, p)
		}
	}()
	c.Context = s.access.Identify(ctx)
	holder := s.access.Holder(c.Context)
	if !holder.IsPeer() {
		conn.ofCaller()
	}
	if deadline, ok := ctx.Deadline(); c.method.stream {
		// no deadline
	} else if !ok {
		c.Context, c.cancel = context.WithTimeout(c.Context, c.method.deadline)
	} else if deadline.Sub(c.began) > longestDeadline {
		c.Context, c.cancel = context.WithTimeout(c.Context, longestDeadline)
	}
	if conn == nil || !conn.whole {
		c.limitArrival(holder)
		conn.awaits(c)
	}
	return c, nil
}

// ended releases the timer and the context of the call.
func (c *call) ended() {
	c.arrived()
	if c.cancel != nil {
		c.cancel()
	}
}

// NoteSession sets the session id that the log line of a call has. sessionID must have the form of one: nothing else
// that callers send goes into the log. ctx is the handler's, or derives from it.
func NoteSession(ctx context.Context, sessionID string) {
	if c := callOf(ctx); c != nil {
		c.sessionID.Store(&sessionID)
	}
}

// NoteLimit says that the call is about to fail because a limit is reached. setting is the setting that is the limit: it
// goes into the log line and the count of the call. It must be one of a fixed set. ctx is the handler's, or derives from it.
func NoteLimit(ctx context.Context, setting string) {
	if c := callOf(ctx); c != nil {
		c.limit.Store(&setting)
	}
}

// requestID returns the request id of a call of the service, and "" for health and reflection.
func (c *call) requestID() string {
	switch {
	case c.method.builtIn:
		return ""
	case c.givenID != "":
		return c.givenID
	default:
		return fmt.Sprintf("%016x", c.ownID)
	}
}

// trailer returns the request id for the caller, or nil if no log line has it.
func (c *call) trailer() metadata.MD {
	if c.logged.Load() {
		return metadata.Pairs(requestIDHeader, c.requestID())
	}
	return nil
}

// isRequestID reports whether a text can be a request id: it must not look like anything else in a log, so spaces, quotes
// and characters outside ASCII are refused.
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

// WithCall returns a logger that adds the request id to each line that is logged with a call's context.
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

package grpcserver

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

const (
	// requestIDHeader is how callers name a call, and how they are told its name.
	requestIDHeader = "x-request-id"
	// maxRequestID bounds the names that callers give, in bytes.
	maxRequestID = 128
)

type callKey struct{}

// call is what is known of a call for the log.
type call struct {
	requestID string
	sessionID atomic.Pointer[string] // nil: none; a watch's responses, which may name one, have goroutines of their own
}

// newCall names a call, as its caller does or with a name of its own.
func newCall(ctx context.Context) *call {
	if given := metadata.ValueFromIncomingContext(ctx, requestIDHeader); len(given) > 0 && isRequestID(given[0]) {
		return &call{requestID: given[0]}
	}
	return &call{requestID: fmt.Sprintf("%016x", rand.Uint64())}
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

func callOf(ctx context.Context) *call {
	known, _ := ctx.Value(callKey{}).(*call)
	return known
}

// NoteSession tells the log which session a call is about: an id of the right form, nothing else of
// what callers send. ctx is the one that the handler got.
func NoteSession(ctx context.Context, sessionID string) {
	if known := callOf(ctx); known != nil {
		known.sessionID.Store(&sessionID)
	}
}

// nameUnary and nameStream give each call of the service a request id, and tell the caller.
func nameUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if isGRPCs(info.FullMethod) {
		return handler(ctx, request)
	}
	named := newCall(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs(requestIDHeader, named.requestID)) // it fails only once headers are sent
	return handler(context.WithValue(ctx, callKey{}, named), request)
}

func nameStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if isGRPCs(info.FullMethod) {
		return handler(srv, stream)
	}
	named := newCall(stream.Context())
	_ = stream.SetHeader(metadata.Pairs(requestIDHeader, named.requestID))
	return handler(srv, contextStream{stream, context.WithValue(stream.Context(), callKey{}, named)})
}

// WithCall makes the lines that are logged with a call's context bear its request id.
func WithCall(log *slog.Logger) *slog.Logger { return slog.New(callHandler{log.Handler()}) }

type callHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h callHandler) Handle(ctx context.Context, record slog.Record) error {
	if known := callOf(ctx); known != nil {
		record = record.Clone()
		record.AddAttrs(slog.String("request_id", known.requestID))
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

// Package grpcserver builds the gRPC server that the service registers with: limits, keepalive, request ids, one log line
// for each call, call metrics and spans, recovery from panics, deadlines, health, reflection and the drain. An Access,
// given in Config, decides about callers.
//
// The package refuses to know what the calls mean. It decides nothing by the content of a request or a response, and logs
// neither.
//
// # What wraps a call
//
// Two contexts and five streams wrap a call, each made once. A unary call has the two contexts only. Each object is listed with its package and with the moment at which it is made:
//
//	call            grpcserver  headers have arrived (begin)    request id, deadline, counts of bytes, slot
//	identified      access      the same, within call           the caller and the holder of its share
//
//	grpc's stream               headers have arrived            HTTP/2; its context is the call
//	guarded         access      Access.Stream                   checks the right that the request needs
//	incoming        grpcserver  stream                          bounds the wait for the request; its context has the caller
//	contextStream   grpcserver  watchHealth, for health alone   a context that Stop cancels
//	observedStream  rpc         WatchStatus                     traces and reports each message
//
// A message to the caller passes the streams from below: observedStream, incoming, guarded, grpc's stream. A health watch
// has access's evictable instead of guarded: its context can be canceled to evict it.
//
// A call is identified again, in a context around call, only if rights have changed before its handler runs.
//
// They are single objects, not chains of interceptors and of contexts, because an open stream keeps on its stack what it
// once needed. ADR 10 has the measurements.
//
// # What a connection pays for
//
// Each connection is a pacedConn, which reads along and hands gRPC one call after the other. begin runs in the goroutine
// that reads, and says whether the call is a caller's. Before the next call begins, the connection waits as long as its
// calls without a caller, and its calls that were reset at once, demand (pace.go). The connection also sees when a request
// is complete, and begin counts the calls whose requests are not (arrival.go).
package grpcserver

// Package client asks verification-status: is this person verified yet, and if not, why, and may
// they try again?
//
// [Client.Status] answers once. [Client.Watch] is a loop over every change from now on; it goes on by
// itself when connections break and servers are replaced. [Client.Retry] lets the person try again.
// [Client.List] is a loop over the sessions that somebody must look after. The contract with all fields
// and errors is the package verificationv1.
//
// The package clienttest has a server for the tests of programs that use this one, and the package
// sse brings a watch to a browser.
//
// It refuses to know how the server works: it has the contract and nothing else.
package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Deadlines of calls whose context has none. A retry asks Stripe, perhaps several times.
const (
	statusTimeout = 10 * time.Second
	retryTimeout  = 30 * time.Second
	// connectedWithin is how long such a call waits for a connection.
	connectedWithin = 10 * time.Second
)

// Client speaks to one verification-status, at any number of addresses. Its methods are safe for
// concurrent use; one Client is enough for a program.
type Client struct {
	conn    channel
	rpc     verificationv1.VerificationServiceClient
	backoff backoff
	open    context.Context // ends when Close begins
	end     context.CancelFunc
}

// channel is what a Client needs of a *grpc.ClientConn.
type channel interface {
	GetState() connectivity.State
	WaitForStateChange(context.Context, connectivity.State) bool
	Close() error
}

// Dial makes a Client. The target is gRPC's: "host:port", or "dns:///host:port" for a name with
// several addresses, which share the calls. Those that are not ready are left out while others are.
//
// Connections use TLS with the system's authorities, unless an Option says otherwise. Dial does not
// connect: an address that nobody answers shows in the first call. It fails for options that
// contradict each other, naming all of them. Close the Client in the end.
func Dial(target string, options ...Option) (*Client, error) {
	s := settings{backoff: defaultBackoff}
	for _, option := range options {
		option(&s)
	}
	dialOptions, err := s.dialOptions(target)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	conn, err := grpc.NewClient(target, dialOptions...)
	if err != nil {
		return nil, fmt.Errorf("client: target %q: %w", target, err)
	}
	c := &Client{conn: conn, rpc: verificationv1.NewVerificationServiceClient(conn), backoff: s.backoff}
	c.open, c.end = context.WithCancel(context.Background())
	return c, nil
}

// ErrClosed is what a watch and a list end with when their Client is closed.
var ErrClosed = errors.New("client: is closed")

// Close ends the connections, and calls and watches that are still open.
func (c *Client) Close() error {
	c.end()
	return c.conn.Close()
}

// Status is the current status of a session, or of the newest session with a reference. The answer
// may be a second old; see [MinRevision]. While the service cannot be reached, it waits until ctx's deadline;
// without a deadline it waits 10 s at the most, in all.
//
// Errors: [ErrNotFound], [ErrRevisionLost], and those of every call (see [Error]).
func (c *Client) Status(ctx context.Context, subject Subject, options ...StatusOption) (*verificationv1.Verification, error) {
	response, err := c.getStatus(ctx, subject, options)
	return response.GetVerification(), err
}

// History is Status together with everything that reached the session, the oldest arrival first.
func (c *Client) History(ctx context.Context, subject Subject, options ...StatusOption) (*verificationv1.Verification, []*verificationv1.HistoryEntry, error) {
	response, err := c.getStatus(ctx, subject, append(options[:len(options):len(options)], withHistory))
	return response.GetVerification(), response.GetHistory(), err
}

func (c *Client) getStatus(ctx context.Context, subject Subject, options []StatusOption) (*verificationv1.GetStatusResponse, error) {
	if err := subject.check(); err != nil {
		return nil, err
	}
	request := subject.statusRequest()
	for _, option := range options {
		option(request)
	}
	ctx, cancel := withDefaultTimeout(ctx, statusTimeout)
	defer cancel()
	response, err := c.rpc.GetStatus(ctx, request)
	if err != nil {
		return nil, asError(ctx, err)
	}
	return response, nil
}

// StatusOption changes one question for a status.
type StatusOption func(*verificationv1.GetStatusRequest)

// MinRevision asks for an answer at least as fresh as a revision of the session that was seen before,
// so that one never reads backwards. It waits up to two seconds; [ErrRevisionLost] if that revision is
// never reached.
func MinRevision(revision int32) StatusOption {
	return func(request *verificationv1.GetStatusRequest) { request.MinRevision = revision }
}

func withHistory(request *verificationv1.GetStatusRequest) { request.IncludeHistory = true }

// waiting is a call whose caller gave no deadline, until it has a connection.
type waiting struct {
	caller    context.Context
	connected atomic.Bool
}

type waitingKey struct{}

// withDefaultTimeout gives a deadline to a context that has none. Such a call ends after connectedWithin
// already if it has no connection by then.
func withDefaultTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	w := &waiting{caller: ctx}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, waitingKey{}, w), timeout)
	late := time.AfterFunc(connectedWithin, func() {
		if !w.connected.Load() {
			cancel()
		}
	})
	return ctx, func() { late.Stop(); cancel() }
}

// asError makes an *Error, or one that wraps it, of what a call returned. If the caller's context has ended
// it is that end, whatever it looked like on the wire.
func asError(ctx context.Context, err error) error {
	ended := ctx.Err()
	if ended == nil {
		return newError(err)
	}
	text := ended.Error()
	if reason, found := strings.CutPrefix(status.Convert(err).Message(), "latest balancer error: "); found {
		text, err = reason, errors.Join(err, ErrUnavailable) // it says why there was no connection
	}
	if w, ok := ctx.Value(waitingKey{}).(*waiting); ok && w.caller.Err() == nil && !w.connected.Load() {
		return newError(status.Errorf(codes.Unavailable, "the service could not be reached for %v: %s", connectedWithin, text))
	}
	code := status.FromContextError(ended)
	return &Error{Code: code.Code(), Message: readable(text), status: code, cause: errors.Join(ended, err)}
}

// pause waits before the next try of a watch: asked, the server's own wait, in full, and then random at the most.
// If the connection was lost, random ends early: at a random moment within the backoff's base after the connection
// is back, so that not all watches resume at once. It returns false if the context ended first.
func (c *Client) pause(ctx context.Context, asked, random time.Duration) bool {
	state := c.conn.GetState()
	if state == connectivity.Ready {
		return sleep(ctx, asked+random)
	}
	if !sleep(ctx, asked) {
		return false
	}
	over, cancel := context.WithTimeout(ctx, random)
	defer cancel()
	for state = c.conn.GetState(); state != connectivity.Ready; state = c.conn.GetState() {
		if !c.conn.WaitForStateChange(over, state) {
			return ctx.Err() == nil
		}
	}
	sleep(over, rand.N(c.backoff.base))
	return ctx.Err() == nil
}

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

// Timeouts of calls whose context has no deadline. A retry can take several requests to Stripe.
const (
	statusTimeout = 10 * time.Second
	retryTimeout  = 30 * time.Second
	// connectedWithin bounds the wait of such a call for a connection.
	connectedWithin = 10 * time.Second
)

// Client calls one verification-status, at any number of addresses. Make one with [Dial]; the zero Client is not usable. Its
// methods are safe for concurrent use.
type Client struct {
	conn        channel
	rpc         verificationv1.VerificationServiceClient
	feed        verificationv1.FeedServiceClient
	operators   verificationv1.OperatorServiceClient
	comparisons verificationv1.ComparisonServiceClient
	backoff     backoff
	open        context.Context // ends when Close begins
	end         context.CancelFunc
}

// channel is what a Client needs of a *grpc.ClientConn.
type channel interface {
	GetState() connectivity.State
	WaitForStateChange(context.Context, connectivity.State) bool
	Close() error
}

// Dial returns a Client for a gRPC target: "host:port", or "dns:///host:port" for a name with several addresses. All addresses
// share the calls; those that are not ready get none while others are. Close the Client in the end.
//
// Connections use TLS with the system's authorities, unless an Option says otherwise. Dial does not connect: a wrong address
// shows in the first call. Dial returns an error if options contradict each other, and names all of them.
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
	c := &Client{
		conn: conn, backoff: s.backoff,
		rpc: verificationv1.NewVerificationServiceClient(conn), feed: verificationv1.NewFeedServiceClient(conn),
		operators: verificationv1.NewOperatorServiceClient(conn), comparisons: verificationv1.NewComparisonServiceClient(conn),
	}
	c.open, c.end = context.WithCancel(context.Background())
	return c, nil
}

// ErrClosed ends watches, lists and Consume when their Client is closed.
var ErrClosed = errors.New("client: the Client is closed")

// Close closes the connections and ends calls, watches and lists that are under way.
func (c *Client) Close() error {
	c.end()
	return c.conn.Close()
}

// Status returns the current status of a session, or of the newest session with a reference. The answer can be a second old;
// see [MinRevision]. While the service cannot be reached, Status waits until the deadline of ctx, or for at most 10 s if ctx
// has none.
//
// It returns [ErrNotFound] if there is no such session, [ErrRevisionLost] if MinRevision cannot be reached, and the errors of
// every call (see [Error]).
func (c *Client) Status(ctx context.Context, subject Subject, options ...StatusOption) (*verificationv1.Verification, error) {
	response, err := c.getStatus(ctx, subject, options)
	return response.GetVerification(), err
}

// History is Status, and also returns the session's history: every input that reached it, the oldest first.
func (c *Client) History(ctx context.Context, subject Subject, options ...StatusOption) (*verificationv1.Verification, []*verificationv1.HistoryEntry, error) {
	response, err := c.getStatus(ctx, subject, append(options[:len(options):len(options)], statusOption(withHistory)))
	return response.GetVerification(), response.GetHistory(), err
}

// Person is Status for a reference, and also returns a summary of the newest 100 sessions with it. A person that was verified once
// and then began another session is found by Person.verified. The summary has no redacted sessions, and no archived ones, of which
// the service keeps only the status: a field that is not set is unknown. The call costs the service more than Status does.
//
// It returns [ErrNotFound] if no session has the reference, [ErrRevisionLost] if MinRevision cannot be reached, and the errors of
// every call (see [Error]).
func (c *Client) Person(ctx context.Context, clientReferenceID string, options ...StatusOption) (*verificationv1.Verification, *verificationv1.Person, error) {
	response, err := c.getStatus(ctx, Reference(clientReferenceID), append(options[:len(options):len(options)], statusOption(withPerson)))
	return response.GetVerification(), response.GetPerson(), err
}

func (c *Client) getStatus(ctx context.Context, subject Subject, options []StatusOption) (*verificationv1.GetStatusResponse, error) {
	if err := subject.check(); err != nil {
		return nil, err
	}
	request := subject.statusRequest()
	for _, option := range options {
		option.changeStatus(request)
	}
	if err := checkText("the account", request.GetAccount()); err != nil {
		return nil, err
	}
	ctx, cancel := withDefaultTimeout(ctx, statusTimeout)
	defer cancel()
	response, err := c.rpc.GetStatus(ctx, request)
	if err != nil {
		return nil, asError(ctx, err)
	}
	return response, nil
}

// StatusOption changes one call of Status, History or Person. Make one with [MinRevision] or [Account].
type StatusOption interface {
	changeStatus(*verificationv1.GetStatusRequest)
}

type statusOption func(*verificationv1.GetStatusRequest)

func (o statusOption) changeStatus(request *verificationv1.GetStatusRequest) { o(request) }

// MinRevision asks for an answer that is at least as new as this revision of the session, so that a caller never reads
// backwards. The call waits up to two seconds for it. It fails with [ErrRevisionLost] if the service never reaches it.
func MinRevision(revision int32) StatusOption {
	return statusOption(func(request *verificationv1.GetStatusRequest) { request.MinRevision = revision })
}

func withHistory(request *verificationv1.GetStatusRequest) { request.IncludeHistory = true }

func withPerson(request *verificationv1.GetStatusRequest) { request.IncludePerson = true }

// waiting is a call without a deadline of its caller.
type waiting struct {
	caller    context.Context
	connected atomic.Bool
}

type waitingKey struct{}

// withDefaultTimeout adds a timeout to a context without a deadline. It also ends the context after connectedWithin if the
// call has no connection by then.
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

// asError returns the error of a call as an *Error, or as an error that wraps one. If the caller's context has ended, the
// error is that end, whatever the error on the wire.
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

// pause waits before the next try of a watch: first for asked, the wait that the server asks for, then for at most random. If
// the connection was lost, the second wait ends early: at a random moment within the backoff's base after the connection is
// back, so that watches do not all resume at once. It returns false if the context ended first.
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

package main

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// rightToken is the bearer token that the control server accepts.
const rightToken = "right"

// maxStreams is how many streams the service allows on a connection, as proxies do (HAProxy 100, nginx 128).
const maxStreams = 100

// control is the service for one script: clienttest behind fronts, and the faults of its streams and calls.
type control struct {
	ledger    *ledger
	server    *clienttest.Server
	replicas  []*clienttest.Replica
	fronts    []*front // one before each replica
	cutter    *cutter
	heartbeat time.Duration
	stop      context.CancelFunc
	beating   sync.WaitGroup

	mu       sync.Mutex
	taps     map[*tap]bool   // open streams
	dead     map[string]bool // connections that are cut
	refusals map[string]refusal
	failures refusal // of unary calls
}

// refusal is an error for the next n attempts.
type refusal struct {
	err error
	n   int
}

// newControl starts a service with so many addresses.
func newControl(l *ledger, addresses int, heartbeat time.Duration) (*control, error) {
	c := &control{ledger: l, taps: make(map[*tap]bool), dead: make(map[string]bool), refusals: make(map[string]refusal), cutter: new(cutter), heartbeat: heartbeat}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	var err error
	c.server, err = clienttest.Start(grpc.StreamInterceptor(c.stream), grpc.UnaryInterceptor(c.unary), grpc.MaxConcurrentStreams(maxStreams))
	replica := c.server.Replica
	for n := 1; err == nil; n++ {
		c.replicas = append(c.replicas, replica)
		var f *front
		if f, err = newFront(replica.Target(), c.cutter, c.cutConnection); err == nil {
			c.fronts = append(c.fronts, f)
		}
		if n == addresses || err != nil {
			break
		}
		replica, err = c.server.Listen("127.0.0.1:0")
	}
	if err != nil {
		c.close()
		return nil, err
	}
	c.beating.Go(func() { c.beat(ctx) })
	return c, nil
}

// beat sends heartbeats: clienttest itself keeps the contract's shortest interval of 5 s.
func (c *control) beat(ctx context.Context) {
	ticker := time.NewTicker(c.heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.server.Heartbeat()
		case <-ctx.Done():
			return
		}
	}
}

func (c *control) close() {
	c.stop()
	c.beating.Wait()
	for _, f := range c.fronts {
		f.close()
	}
	c.server.Close()
}

func (c *control) addresses() []string {
	var all []string
	for _, f := range c.fronts {
		all = append(all, f.address)
	}
	return all
}

// authorize returns an error for a call without the right token.
func authorize(ctx context.Context) error {
	if md, _ := metadata.FromIncomingContext(ctx); strings.Join(md.Get("authorization"), " ") != "Bearer "+rightToken {
		return statusOf(step{code: "UNAUTHENTICATED", reason: "UNAUTHENTICATED"})
	}
	return nil
}

// unary counts calls and makes them fail.
func (c *control) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := authorize(ctx); err != nil {
		return nil, err
	}
	method := path.Base(info.FullMethod)
	c.ledger.called(method)
	if method == "GetStatus" || method == "RetryVerification" {
		if err := c.take(func() *refusal { return &c.failures }); err != nil {
			return nil, err
		}
	}
	return handler(ctx, request)
}

// take returns the next error of a refusal, or nil.
func (c *control) take(from func() *refusal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := from()
	if r.n == 0 {
		return nil
	}
	r.n--
	return r.err
}

// refuse makes the next attempts of a kind of watch fail.
func (c *control) refuse(kind string, err error, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals[kind] = refusal{err, n}
}

// fail makes the next unary calls fail.
func (c *control) fail(err error, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = refusal{err, n}
}

// each calls f for all open streams.
func (c *control) each(f func(*tap)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.taps {
		f(t)
	}
}

// The domains of an ErrorInfo: the contract's, and one of a proxy.
const (
	ownDomain     = "verification.v1"
	foreignDomain = "proxy.example"
)

// statusOf returns the error of a step: one of the service if it has a reason, or else one of somebody in between. One that is
// foreign has the service's reason in another domain.
func statusOf(st step) error {
	s := status.New(codes.Code(code.Code_value[st.code]), "made by the conformance kit")
	domain := ownDomain
	if st.has(foreign) {
		domain = foreignDomain
	}
	var details []protoadapt.MessageV1
	if st.reason != "" {
		details = append(details, &errdetails.ErrorInfo{Reason: "ERROR_REASON_" + st.reason, Domain: domain})
	}
	if st.wait > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(st.wait)})
	}
	with, err := s.WithDetails(details...)
	if err != nil {
		panic(fmt.Sprintf("there is no error of the code %s", st.code)) // parse has checked it
	}
	return with.Err()
}

// kindOf returns the kind of a watch.
func kindOf(r *verificationv1.WatchStatusRequest) string {
	switch {
	case r.GetAllSessions().GetConsumer() != "":
		return byConsumer
	case r.GetAllSessions() != nil:
		return ofAll
	case r.GetClientReferenceId() != "":
		return byReference
	case r.GetSessionId() == crowdSession:
		return ofCrowd
	}
	return bySession
}

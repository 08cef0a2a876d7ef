package main

import (
	"fmt"
	"path"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// tap is one open stream of a watch, on its way out of clienttest.
type tap struct {
	grpc.ServerStream
	control    *control
	connection string
	replica    string // its address
	kind       string

	mu       sync.Mutex
	silent   bool // nothing is sent
	doomed   bool // a fault is about to end it
	twice    bool // the next update is sent twice
	left     int  // updates until the stream ends with err; 0: it does not
	err      error
	updates  int           // accepted by the connection
	sentAt   time.Time     // the last response; zero: none
	silence  time.Duration // from the last response to the end
	finished bool
}

// stream serves one stream: it taps a watch, and passes the health service on.
func (c *control) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if path.Base(info.FullMethod) != "WatchStatus" {
		return handler(srv, ss)
	}
	t := &tap{ServerStream: ss, control: c}
	if from, ok := peer.FromContext(ss.Context()); ok {
		t.connection, t.replica = connectionName(from.Addr, from.LocalAddr), from.LocalAddr.String()
	}
	c.mu.Lock()
	c.taps[t] = true
	c.mu.Unlock()
	err := handler(srv, t)
	t.finish(err)
	c.mu.Lock()
	delete(c.taps, t)
	c.mu.Unlock()
	return err
}

// finish records how the stream ended.
func (t *tap) finish(err error) {
	t.mu.Lock()
	t.finished, t.silence = true, time.Since(t.sentAt)
	kind, isAnswered := t.kind, !t.sentAt.IsZero()
	t.mu.Unlock()
	if kind == "" {
		return
	}
	isCut := t.control.isCut(t.connection)
	t.control.ledger.failed(kind, !isCut && !isAnswered && err != nil)
	if isCut { // the client does not get the error
		t.control.ledger.finished(kind, false, 0)
		return
	}
	var wait time.Duration
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			wait = info.GetRetryDelay().AsDuration()
		}
	}
	t.control.ledger.finished(kind, status.Code(err) == codes.OutOfRange && kind != byConsumer, wait)
}

// RecvMsg receives the request, and refuses it if the script says so.
func (t *tap) RecvMsg(m any) error {
	if err := t.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	request := m.(*verificationv1.WatchStatusRequest)
	t.mu.Lock()
	t.kind = kindOf(request)
	t.mu.Unlock()
	t.control.ledger.request(t.kind, request.GetResumeToken(), request.GetHeartbeat().AsDuration())
	if err := authorize(t.Context()); err != nil {
		return err
	}
	return t.control.take(func() *refusal {
		r := t.control.refusals[t.kind]
		t.control.refusals[t.kind] = refusal{r.err, max(r.n-1, 0)}
		return &r
	})
}

// SendMsg sends a response, or does what the script says.
func (t *tap) SendMsg(m any) error {
	response := m.(*verificationv1.WatchStatusResponse)
	isUpdate := response.GetVerification() != nil
	t.mu.Lock()
	silent, twice := t.silent, t.twice && isUpdate
	t.twice = t.twice && !isUpdate
	t.mu.Unlock()
	if silent {
		<-t.Context().Done() // the client has given the stream up, or the server stops
		return t.Context().Err()
	}
	t.mu.Lock()
	t.sentAt = time.Now()
	t.mu.Unlock()
	update := ""
	if v := response.GetVerification(); v != nil {
		update = fmt.Sprintf("%s revision %d", v.GetSessionId(), v.GetRevision())
	}
	t.control.ledger.send(t.kind, response.GetResumeToken(), update)
	for range 1 + count(twice) {
		if err := t.ServerStream.SendMsg(m); err != nil {
			return err
		}
	}
	return t.after(isUpdate)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// after counts an update, and returns the error that ends the stream behind it.
func (t *tap) after(isUpdate bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !isUpdate {
		return nil
	}
	t.updates++
	if t.left == 0 {
		return nil
	}
	t.left--
	if t.left == 0 {
		return t.err
	}
	return nil
}

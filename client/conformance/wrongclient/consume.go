package main

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Consume handles one change after the other, and acknowledges each before it receives the next one.
func (p *plain) Consume(ctx context.Context, consumer string, mustExist bool, heartbeat time.Duration, handle func(client.Update)) error {
	all := &verificationv1.AllSessions{Consumer: consumer, OutcomesOnly: true, MustExist: mustExist}
	request := &verificationv1.WatchStatusRequest{Subject: &verificationv1.WatchStatusRequest_AllSessions{AllSessions: all}, Heartbeat: durationpb.New(heartbeat)}
	rpc, err := p.watchRPC()
	if err != nil {
		return err
	}
	w := &watch{plain: p, rpc: rpc, request: request, heartbeat: heartbeat}
	ctx, end := context.WithCancelCause(p.authorized(ctx))
	defer end(nil)
	defer context.AfterFunc(p.open, func() { end(client.ErrClosed) })()
	var queue chan client.Update
	if p.flaw == handlesInAQueue {
		queue = make(chan client.Update, 1000)
		defer close(queue)
		go func() {
			for u := range queue {
				handle(u)
			}
		}()
	}
	err = w.run(ctx, func(u client.Update, _ error) bool {
		switch {
		case p.flaw == handlesInAQueue:
			queue <- u
		case p.flaw != acknowledgesEarly:
			handle(u)
		}
		if err := w.acknowledge(ctx, u.ResumeToken); err != nil {
			end(err)
		}
		if p.flaw == acknowledgesEarly {
			handle(u)
		}
		return ctx.Err() == nil
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// acknowledge acknowledges a change, also after the end of ctx. It tries until it succeeds, until another try cannot succeed, or
// until the client is closed. A position that the store has lost is no error: the stream sends the change again.
func (w *watch) acknowledge(ctx context.Context, token string) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(w.open, cancel)()
	w.mu.Lock()
	feed := verificationv1.NewFeedServiceClient(w.conns[0])
	w.mu.Unlock()
	for {
		_, err := feed.AcknowledgeChanges(ctx, &verificationv1.AcknowledgeChangesRequest{
			Consumer: w.request.GetAllSessions().GetConsumer(), ResumeToken: token,
		})
		switch {
		case err == nil, w.reasonOf(err) != "" && status.Code(err) == codes.OutOfRange:
			return nil
		case ctx.Err() != nil:
			return client.ErrClosed
		case w.reasonOf(err) != "" && w.isFinal(err):
			return w.failure(err)
		}
		select {
		case <-time.After(rand.N(w.MaxBackoff)):
		case <-ctx.Done():
		}
	}
}

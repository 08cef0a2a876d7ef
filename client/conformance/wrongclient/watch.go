package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/verification-status/client"
	"example.com/verification-status/client/conformance/program"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// watch is one watch, over one stream after the other.
type watch struct {
	*plain
	rpc             verificationv1.VerificationServiceClient
	request         *verificationv1.WatchStatusRequest
	heartbeat       time.Duration
	bookmarks       bool
	token, before   string
	session         string // of the last update
	revision        int32
	settled         bool
	begun, hasReset bool
	failures        int
}

func (p *plain) Watch(ctx context.Context, what program.Watch) iter.Seq2[client.Update, error] {
	request := &verificationv1.WatchStatusRequest{UntilSettled: what.UntilSettled, Heartbeat: durationpb.New(what.Heartbeat)}
	if p.flaw == slowBeats {
		request.Heartbeat = durationpb.New(time.Hour)
	}
	switch {
	case what.Session != "":
		request.Subject = &verificationv1.WatchStatusRequest_SessionId{SessionId: what.Session}
	case what.Reference != "":
		request.Subject = &verificationv1.WatchStatusRequest_ClientReferenceId{ClientReferenceId: what.Reference}
	default:
		request.Subject = &verificationv1.WatchStatusRequest_AllSessions{AllSessions: &verificationv1.AllSessions{}}
	}
	rpc, err := p.watchRPC()
	w := &watch{plain: p, rpc: rpc, request: request, heartbeat: what.Heartbeat, bookmarks: what.Bookmarks, token: what.ResumeFrom}
	return func(yield func(client.Update, error) bool) {
		ctx, cancel := context.WithCancel(p.authorized(ctx))
		defer cancel()
		defer context.AfterFunc(p.open, cancel)()
		if err != nil {
			yield(client.Update{}, err)
			return
		}
		if err := w.run(ctx, yield); err != nil {
			yield(client.Update{}, err)
		}
	}
}

// run follows streams until the watch ends. It returns nil at the end by until_settled.
func (w *watch) run(ctx context.Context, yield func(client.Update, error) bool) error {
	for {
		err := w.stream(ctx, yield)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF) && (w.settled || w.session == "" && w.request.GetUntilSettled()):
			return nil
		case w.isFinal(err):
			return w.failure(err)
		}
		w.begun = true
		w.failures++
		wait := rand.N(min(w.Backoff<<min(w.failures, 10), w.MaxBackoff))
		if w.flaw == noBackoff {
			wait = 0
		}
		if w.flaw != hasty {
			wait += retryInfo(err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stream follows one stream, and returns why it ended.
func (w *watch) stream(ctx context.Context, yield func(client.Update, error) bool) error {
	inner, cancel := context.WithCancel(ctx)
	if w.flaw != leavesStreams {
		defer cancel()
	} else {
		inner = w.authorized(context.Background())
		defer cancel()
	}
	silence := time.AfterFunc(w.heartbeat*5/2, cancel)
	defer silence.Stop()
	if w.flaw == deaf {
		silence.Stop()
	}
	w.request.ResumeToken = w.token
	switch {
	case w.flaw == forgetsToken && w.begun:
		w.request.ResumeToken = ""
	case w.flaw == oneBehind && w.begun:
		w.request.ResumeToken = w.before
	}
	stream, err := w.rpc.WatchStatus(inner, w.request)
	if err != nil {
		return err
	}
	recv := stream.Recv
	if w.flaw == readsAhead {
		recv = ahead(recv)
	}
	for {
		response, err := within(ctx, recv)
		if err != nil {
			return err
		}
		if w.flaw != beatsAreSilence || response.GetVerification() != nil {
			silence.Stop()
		}
		if !w.deliver(response, yield) {
			return ctx.Err()
		}
		if w.flaw != deaf && (w.flaw != beatsAreSilence || response.GetVerification() != nil) {
			silence.Reset(w.heartbeat * 5 / 2)
		}
	}
}

// within is recv, and returns at the end of ctx.
func within(ctx context.Context, recv func() (*verificationv1.WatchStatusResponse, error)) (*verificationv1.WatchStatusResponse, error) {
	type received struct {
		response *verificationv1.WatchStatusResponse
		err      error
	}
	result := make(chan received, 1)
	go func() {
		response, err := recv()
		result <- received{response, err}
	}()
	select {
	case r := <-result:
		return r.response, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ahead returns a recv that receives all that comes into memory.
func ahead(recv func() (*verificationv1.WatchStatusResponse, error)) func() (*verificationv1.WatchStatusResponse, error) {
	const unbounded = 1 << 20
	all := make(chan *verificationv1.WatchStatusResponse, unbounded)
	var last error
	go func() {
		defer close(all)
		for {
			response, err := recv()
			if err != nil {
				last = err
				return
			}
			all <- response
		}
	}()
	return func() (*verificationv1.WatchStatusResponse, error) {
		response, more := <-all
		if !more {
			return nil, last
		}
		return response, nil
	}
}

// deliver yields what a response brings. It returns false if the reader has left.
func (w *watch) deliver(response *verificationv1.WatchStatusResponse, yield func(client.Update, error) bool) bool {
	w.begun, w.failures = true, 0
	if all := w.request.GetAllSessions(); all.GetConsumer() != "" {
		all.MustExist = true // a consumer that was deleted is not made again
	}
	v := response.GetVerification()
	one := w.request.GetAllSessions() == nil
	wanted := v != nil || w.bookmarks
	if v == nil && w.flaw == beatsAreUpdates && one {
		v, wanted = &verificationv1.Verification{SessionId: w.session, Revision: w.revision}, true
	} else if v != nil && one && v.GetSessionId() == w.session && v.GetRevision() <= w.revision {
		wanted = false // a repetition
	}
	if wanted && !yield(client.Update{Verification: v, ResumeToken: response.GetResumeToken(), Reset: v != nil && w.hasReset}, nil) {
		return false
	}
	if wanted && v != nil {
		w.session, w.revision, w.settled, w.hasReset = v.GetSessionId(), v.GetRevision(), v.GetSettled(), false
	}
	if response.GetResumeToken() != w.token {
		w.before, w.token = w.token, response.GetResumeToken()
	}
	return true
}

// isFinal reports whether an error ends the watch.
func (w *watch) isFinal(err error) bool {
	isConsumer := w.request.GetAllSessions().GetConsumer() != ""
	switch code := status.Code(err); code {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.Unimplemented:
		if isConsumer && code == codes.Unimplemented {
			return false // of a server that is older than consumers
		}
		return w.flaw != tooStubborn && (w.reasonOf(err) != "" || !w.begun || w.flaw == believesProxies)
	case codes.OutOfRange:
		if isConsumer {
			w.token = "" // it continues after what was acknowledged
			return w.reasonOf(err) == "ERROR_REASON_CONSUMER_EXPIRED"
		}
		if w.request.GetAllSessions() != nil || w.flaw == endsAtLoss {
			return true
		}
		w.token, w.session, w.revision, w.hasReset = "", "", 0, w.flaw != hidesLoss
	}
	return isConsumer && w.reasonOf(err) == "ERROR_REASON_CONSUMER_NOT_FOUND" // of the stream of a consumer that is deleted
}

func (p *plain) reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && (info.GetDomain() == "verification.v1" || p.flaw == trustsAnybody) {
			return info.GetReason()
		}
	}
	return ""
}

func retryInfo(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// failure returns an error as users of the client get it.
func (p *plain) failure(err error) error {
	if err == nil {
		return nil
	}
	failed := &client.Error{Code: status.Code(err), Message: status.Convert(err).Message(), RetryAfter: retryInfo(err)}
	if p.flaw == inventsWaits {
		failed.RetryAfter = 7777 * time.Second
	}
	if p.flaw != forgetsItsErrors {
		failed.Reason = verificationv1.ErrorReason(verificationv1.ErrorReason_value[p.reasonOf(err)])
	}
	return failed
}

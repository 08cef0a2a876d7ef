package rpc

import (
	"context"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// WatchKind is what a watch is about: a small, fixed set.
type WatchKind string

// The kinds of watches.
const (
	WatchSession   WatchKind = "session"
	WatchReference WatchKind = "reference"
	WatchAll       WatchKind = "all"
)

// Observer is told what callers do. Its methods are called by many goroutines at once, and must not
// block.
type Observer interface {
	// Concerns names the session that a call turned out to be about, at least once for each call that
	// is about one. The id is of the right form.
	Concerns(ctx context.Context, sessionID string)
	// WatchOpened and WatchEnded come in pairs; code is the name of a gRPC code.
	WatchOpened(kind WatchKind, resumed bool)
	WatchEnded(kind WatchKind, code string)
	// Sending comes before a status or change is sent on a watch; what it returns is called after,
	// with the error of the send.
	Sending(ctx context.Context, kind WatchKind, sessionID string, revision int32) (sent func(error))
	// RetryGranted and RetryDenied are for RetryVerification's answers; reason is a RetryDenial's name.
	RetryGranted()
	RetryDenied(reason string)
}

// Message returns the sentence of an error that the service answered a call with.
func Message(err error) string { return status.Convert(err).Message() }

// Observed is the service with somebody who looks on, from outside: the service itself knows nothing
// of it.
func Observed(service *Service, observer Observer) verificationv1.VerificationServiceServer {
	return &observed{service, observer}
}

type observed struct {
	*Service
	observer Observer
}

// GetStatus implements the RPC.
func (o *observed) GetStatus(ctx context.Context, request *verificationv1.GetStatusRequest) (*verificationv1.GetStatusResponse, error) {
	response, err := o.Service.GetStatus(ctx, request)
	o.concerns(ctx, request.GetSessionId(), response.GetVerification())
	return response, err
}

// RetryVerification implements the RPC.
func (o *observed) RetryVerification(ctx context.Context, request *verificationv1.RetryVerificationRequest) (*verificationv1.RetryVerificationResponse, error) {
	response, err := o.Service.RetryVerification(ctx, request)
	o.concerns(ctx, request.GetSessionId(), response.GetVerification())
	if err == nil {
		o.observer.RetryGranted()
	} else if reason := denialOf(err); reason != "" {
		o.observer.RetryDenied(reason)
	}
	return response, err
}

// WatchStatus implements the RPC.
func (o *observed) WatchStatus(request *verificationv1.WatchStatusRequest, server verificationv1.VerificationService_WatchStatusServer) error {
	kind := kindOf(request)
	if kind == "" {
		return o.Service.WatchStatus(request, server)
	}
	o.concerns(server.Context(), request.GetSessionId(), nil)
	o.observer.WatchOpened(kind, request.GetResumeToken() != "")
	code := codes.Internal // what a panic becomes
	defer func() { o.observer.WatchEnded(kind, code.String()) }()
	err := o.Service.WatchStatus(request, &observedStream{server, o, kind})
	code = status.Code(err)
	return err
}

// concerns tells the session of the answer, or else the one that was asked for.
func (o *observed) concerns(ctx context.Context, asked string, answered *verificationv1.Verification) {
	if id := answered.GetSessionId(); id != "" {
		o.observer.Concerns(ctx, id)
	} else if asked != "" && checkSessionID(asked) == nil {
		o.observer.Concerns(ctx, asked)
	}
}

func kindOf(request *verificationv1.WatchStatusRequest) WatchKind {
	switch request.GetSubject().(type) {
	case *verificationv1.WatchStatusRequest_SessionId:
		return WatchSession
	case *verificationv1.WatchStatusRequest_ClientReferenceId:
		return WatchReference
	case *verificationv1.WatchStatusRequest_AllSessions:
		return WatchAll
	default:
		return ""
	}
}

// denialOf is why a retry was refused; empty for any other error.
func denialOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED.String() {
			return info.GetMetadata()["denial"]
		}
	}
	return ""
}

// observedStream sees what is sent.
type observedStream struct {
	grpc.ServerStreamingServer[verificationv1.WatchStatusResponse]
	observed *observed
	kind     WatchKind
}

// Send implements the stream.
func (s *observedStream) Send(response *verificationv1.WatchStatusResponse) error {
	v := response.GetVerification()
	if v == nil {
		return s.ServerStreamingServer.Send(response)
	}
	if s.kind == WatchReference {
		s.observed.observer.Concerns(s.Context(), v.GetSessionId())
	}
	sent := s.observed.observer.Sending(s.Context(), s.kind, v.GetSessionId(), v.GetRevision())
	err := s.ServerStreamingServer.Send(response)
	sent(err)
	return err
}

package rpc

import (
	"context"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// WatchKind is the kind of a watch's subject: a small, fixed set.
type WatchKind string

// The kinds of watches.
const (
	WatchSession   WatchKind = "session"
	WatchReference WatchKind = "reference"
	WatchAll       WatchKind = "all"
)

// Observer gets the calls and what they lead to. Its methods are called by many goroutines at once, and must not
// block.
type Observer interface {
	// Concerns names the session that a call is about, at least once for each call that is about one. The id is
	// valid.
	Concerns(ctx context.Context, sessionID string)
	// WatchOpened and WatchEnded come in pairs; code is the name of a gRPC code.
	WatchOpened(kind WatchKind, resumed bool)
	WatchEnded(kind WatchKind, code string)
	// Sending is called before a status or change is sent on a watch. The function that it returns is called after
	// the send, with its error.
	Sending(ctx context.Context, kind WatchKind, sessionID string, revision int32) (sent func(error))
	// RetryGranted and RetryDenied are for RetryVerification's answers; reason is a RetryDenial's name.
	RetryGranted()
	RetryDenied(reason string)
}

// Message returns the sentence of an error that the service answered a call with.
func Message(err error) string { return status.Convert(err).Message() }

// ObservedService is the services whose calls an Observer gets.
type ObservedService interface {
	verificationv1.VerificationServiceServer
	verificationv1.OperatorServiceServer
}

// Observed returns the service with an observer around it. The service itself does not know the observer.
func Observed(service *Service, observer Observer) ObservedService {
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

// AllowRetry implements the RPC.
func (o *observed) AllowRetry(ctx context.Context, request *verificationv1.AllowRetryRequest) (*verificationv1.AllowRetryResponse, error) {
	o.concerns(ctx, request.GetSessionId(), nil)
	return o.Service.AllowRetry(ctx, request)
}

// ResolveVerification implements the RPC.
func (o *observed) ResolveVerification(ctx context.Context, request *verificationv1.ResolveVerificationRequest) (*verificationv1.ResolveVerificationResponse, error) {
	o.concerns(ctx, request.GetSessionId(), nil)
	return o.Service.ResolveVerification(ctx, request)
}

// WatchStatus implements the RPC.
func (o *observed) WatchStatus(request *verificationv1.WatchStatusRequest, server verificationv1.VerificationService_WatchStatusServer) error {
	kind := kindOf(request)
	if kind == "" {
		return o.Service.WatchStatus(request, server)
	}
	o.concerns(server.Context(), request.GetSessionId(), nil)
	o.observer.WatchOpened(kind, request.GetResumeToken() != "")
	code := codes.Internal // of a panic
	defer func() { o.observer.WatchEnded(kind, code.String()) }()
	err := o.Service.WatchStatus(request, &observedStream{server, o, kind})
	code = status.Code(err)
	return err
}

// concerns names the session of the answer, or else the requested one.
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

// denialOf returns the denial of a refused retry. It returns "" for any other error.
func denialOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == verificationv1.ErrorReason_ERROR_REASON_RETRY_DENIED.String() {
			return info.GetMetadata()["denial"]
		}
	}
	return ""
}

// observedStream traces and reports each message that is sent.
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

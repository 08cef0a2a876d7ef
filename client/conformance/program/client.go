package program

import (
	"context"
	"errors"
	"iter"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Settings are the times of the command set.
type Settings struct {
	Backoff, MaxBackoff, Heartbeat time.Duration
}

// Target is a client of the command connect.
type Target struct {
	Settings
	Addresses []string
	Token     string // empty: none
}

// Watch says what to watch. At most one of Session and Reference is set; neither: all sessions.
type Watch struct {
	Session, Reference      string
	UntilSettled, Bookmarks bool
	ResumeFrom              string
	Heartbeat               time.Duration
}

// Client is a client under test. Its methods are safe for concurrent use. Its errors are those of package client, or have a
// gRPC status.
type Client interface {
	Watch(context.Context, Watch) iter.Seq2[client.Update, error]
	Status(ctx context.Context, session, reference string) (*verificationv1.Verification, error)
	Retry(ctx context.Context, session string) (Link, error)
	Close() error
}

// Consumer is a Client that has named consumers. Consume calls handle for each outcome, and acknowledges it then.
type Consumer interface {
	Consume(ctx context.Context, consumer string, mustExist bool, heartbeat time.Duration, handle func(client.Update)) error
}

// Link is the result of a retry.
type Link struct {
	Session, ClientSecret, URL string
	Printed                    string // what fmt shows of the client's own link
}

// errUnsupported is the error of a command for which the client has nothing.
var errUnsupported = errors.New("the client does not have this")

// failure is the end of a watch or the error of a call.
type failure struct {
	Code       string
	Reason     string
	RetryAfter int64
	Message    string
}

// failureOf returns the failure of an error; nil: OK.
func failureOf(err error) failure {
	var failed *client.Error
	switch {
	case err == nil:
		return failure{Code: code.Code_OK.String()}
	case errors.Is(err, context.Canceled), errors.Is(err, client.ErrClosed):
		return failure{Code: code.Code_CANCELLED.String(), Message: err.Error()}
	case errors.As(err, &failed):
		return failure{code.Code(failed.Code).String(), reasonName(failed.Reason), failed.RetryAfter.Milliseconds(), failed.Message}
	}
	return failure{Code: code.Code(status.Code(err)).String(), Message: err.Error()}
}

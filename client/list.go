package client

import (
	"context"
	"errors"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Filter says which sessions a list has. Make one with [ByReference], [ByStatus], [ByDenial], [InDoubt] or
// [ProcessingLongerThan]. The server refuses the zero Filter.
type Filter struct {
	set       func(*verificationv1.ListVerificationsRequest)
	reference string
}

// ByReference selects all sessions with the caller's own id for the person or case, 255 bytes at the most:
// the newest 1,000, by creation time.
func ByReference(clientReferenceID string) Filter {
	return Filter{reference: clientReferenceID, set: func(r *verificationv1.ListVerificationsRequest) {
		r.Filter = &verificationv1.ListVerificationsRequest_ClientReferenceId{ClientReferenceId: clientReferenceID}
	}}
}

// ByStatus selects the sessions of a status. Of STATUS_VERIFIED and STATUS_CANCELED the server holds about
// the newest 1,900 each.
func ByStatus(status verificationv1.Status) Filter {
	return Filter{set: func(r *verificationv1.ListVerificationsRequest) {
		r.Filter = &verificationv1.ListVerificationsRequest_Status{Status: status}
	}}
}

// ByDenial selects the open sessions for which a retry is refused: RETRY_DENIAL_LIMIT_REACHED or
// RETRY_DENIAL_NOT_RETRYABLE. The server refuses other denials: list a status instead.
func ByDenial(denial verificationv1.RetryDenial) Filter {
	return Filter{set: func(r *verificationv1.ListVerificationsRequest) {
		r.Filter = &verificationv1.ListVerificationsRequest_Denial{Denial: denial}
	}}
}

// InDoubt selects the sessions whose state can differ from Stripe's: the order of two events is ambiguous,
// and Stripe could not be asked.
func InDoubt() Filter {
	return Filter{set: func(r *verificationv1.ListVerificationsRequest) {
		r.Filter = &verificationv1.ListVerificationsRequest_InDoubt{InDoubt: &verificationv1.InDoubt{}}
	}}
}

// ProcessingLongerThan selects the sessions in processing whose update_time is at least d ago. Zero selects
// all sessions in processing.
func ProcessingLongerThan(d time.Duration) Filter {
	return Filter{set: func(r *verificationv1.ListVerificationsRequest) {
		r.Filter = &verificationv1.ListVerificationsRequest_ProcessingLongerThan{ProcessingLongerThan: durationpb.New(d)}
	}}
}

// ListOption changes one list.
type ListOption func(*verificationv1.ListVerificationsRequest)

// PageSize sets how many sessions the client asks for at a time, 1 to 200. The default is the server's, 50.
func PageSize(sessions int) ListOption {
	return func(r *verificationv1.ListVerificationsRequest) {
		r.PageSize = int32(min(max(sessions, -1), maxPageSize)) // the server refuses a negative one
	}
}

const (
	maxPageSize = 200
	// pageTimeout bounds one page, with its tries, where the caller's context has no deadline.
	pageTimeout = 10 * time.Second
)

// List is a loop over the sessions that a filter selects, the newest first: by update_time (with ByReference
// by create_time), then by session id.
//
//	for v, err := range c.List(ctx, client.ByDenial(verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(v.GetSessionId(), v.GetLastError().GetReason())
//	}
//
// List reads a page when the loop body asks for the first session of it, and holds one page at a time. A
// page that fails with [ErrUnavailable] or a conflict is asked for again, after the waits of
// [WithBackoff] and those that the server asks for, until ctx ends or, where ctx has no deadline, for 10 s.
// Sessions that the body has seen do not come again because of that. Any other error, and the last one of
// these, is the last thing that List yields: see [Error]. It is [ErrClosed] when the Client is closed.
//
// A list is not a snapshot. Each session is shown as it is when its page is read. A session that changes
// meanwhile can come twice or, if it moved to the front, not at all: to miss no change, use [Client.WatchAll].
//
// Nothing is left running when the loop is over. Ranging over the result again reads the list again.
func (c *Client) List(ctx context.Context, filter Filter, options ...ListOption) iter.Seq2[*verificationv1.Verification, error] {
	return func(yield func(*verificationv1.Verification, error) bool) {
		request := &verificationv1.ListVerificationsRequest{}
		if filter.set != nil {
			filter.set(request)
		}
		for _, option := range options {
			option(request)
		}
		if err := checkText("the reference", filter.reference); err != nil {
			yield(nil, err)
			return
		}
		for {
			page, err := c.page(ctx, request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, v := range page.GetVerifications() {
				if !yield(v, nil) {
					return
				}
			}
			switch next := page.GetNextPageToken(); next {
			case "":
				return
			case request.GetPageToken(): // without this, such a server would hold the loop for ever
				yield(nil, newError(status.Error(codes.Internal, "the server gave the token of a page for the next page, too")))
				return
			default:
				request.PageToken = next
			}
		}
	}
}

// page reads one page. It tries again while another try can succeed and there is time.
func (c *Client) page(ctx context.Context, request *verificationv1.ListVerificationsRequest) (*verificationv1.ListVerificationsResponse, error) {
	ctx, cancel := withDefaultTimeout(ctx, pageTimeout)
	defer cancel()
	ctx, closed := context.WithCancel(ctx)
	defer closed()
	defer context.AfterFunc(c.open, closed)()
	for failures := 1; ; failures++ {
		page, err := c.rpc.ListVerifications(ctx, request)
		if err == nil {
			return page, nil
		}
		err = c.pageError(ctx, err)
		wait := retryAfter(err) + c.backoff.random(failures)
		// With too little time left, the error says more than the deadline would.
		if deadline, _ := ctx.Deadline(); !passes(err) || time.Until(deadline) < wait {
			return nil, err
		}
		if !sleep(ctx, wait) {
			return nil, c.pageError(ctx, err)
		}
	}
}

// pageError is asError, or ErrClosed.
func (c *Client) pageError(ctx context.Context, err error) error {
	if c.open.Err() != nil {
		return ErrClosed
	}
	return asError(ctx, err)
}

// passes reports whether a list that failed can succeed in another try.
func passes(err error) bool {
	var failed *Error
	if !errors.As(err, &failed) {
		return false
	}
	return failed.Code == codes.Unavailable || failed.Code == codes.ResourceExhausted || failed.Code == codes.Aborted
}

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

// Filter selects the sessions of a list. Make one with [ByReference], [ByStatus], [ByDenial], [InDoubt] or
// [ProcessingLongerThan]. A list with the zero Filter fails with [ErrInvalidRequest].
type Filter struct {
	set       func(*verificationv1.ListVerificationsRequest)
	reference string
}

// ByReference selects the sessions with the caller's own id for a person or case (Stripe's client_reference_id), at most 255
// bytes. The list has the newest 1,000 of them, by creation time.
func ByReference(clientReferenceID string) Filter {
	return Filter{reference: clientReferenceID, set: func(r *verificationv1.ListVerificationsRequest) {
		r.Filter = &verificationv1.ListVerificationsRequest_ClientReferenceId{ClientReferenceId: clientReferenceID}
	}}
}

// ByStatus selects the sessions with a status. For STATUS_VERIFIED and STATUS_CANCELED the list has about the newest 1,900
// sessions.
func ByStatus(status verificationv1.Status) Filter {
	return Filter{set: func(r *verificationv1.ListVerificationsRequest) {
		r.Filter = &verificationv1.ListVerificationsRequest_Status{Status: status}
	}}
}

// ByDenial selects the open sessions for which a retry is denied, with RETRY_DENIAL_LIMIT_REACHED or
// RETRY_DENIAL_NOT_RETRYABLE. A list with another denial fails with [ErrInvalidRequest]: use ByStatus instead.
func ByDenial(denial verificationv1.RetryDenial) Filter {
	return Filter{set: func(r *verificationv1.ListVerificationsRequest) {
		r.Filter = &verificationv1.ListVerificationsRequest_Denial{Denial: denial}
	}}
}

// InDoubt selects the sessions whose state can differ from Stripe's: the order of two events is ambiguous, and Stripe could not
// be asked yet.
func InDoubt() Filter {
	return Filter{set: func(r *verificationv1.ListVerificationsRequest) {
		r.Filter = &verificationv1.ListVerificationsRequest_InDoubt{InDoubt: &verificationv1.InDoubt{}}
	}}
}

// ProcessingLongerThan selects the sessions in processing whose update_time is at least d ago. With 0 it selects all sessions in
// processing.
func ProcessingLongerThan(d time.Duration) Filter {
	return Filter{set: func(r *verificationv1.ListVerificationsRequest) {
		r.Filter = &verificationv1.ListVerificationsRequest_ProcessingLongerThan{ProcessingLongerThan: durationpb.New(d)}
	}}
}

// ListOption changes one list. Make one with [PageSize].
type ListOption func(*verificationv1.ListVerificationsRequest)

// PageSize sets how many sessions a page has, 1 to 200. The default is the service's, 50.
func PageSize(sessions int) ListOption {
	return func(r *verificationv1.ListVerificationsRequest) {
		r.PageSize = int32(min(max(sessions, -1), maxPageSize)) // the server refuses a negative one
	}
}

const (
	maxPageSize = 200
	// pageTimeout bounds one page with all its tries, if the caller's context has no deadline.
	pageTimeout = 10 * time.Second
)

// List returns a loop over the sessions that a filter selects, the newest first: by update_time (with ByReference by
// create_time), then by session id.
//
//	for v, err := range c.List(ctx, client.ByDenial(verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED)) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(v.GetSessionId(), v.GetLastError().GetReason())
//	}
//
// The loop reads a page when it needs the first session of it, and keeps one page at a time. It reads a page again that fails
// with [ErrUnavailable] or a conflict, after the waits of [WithBackoff] and those that the service asks for, until ctx ends,
// or for 10 s if ctx has no deadline. A repeated page yields no session twice. Any other error, and the last error of a
// repeated page, is the last thing that the loop yields: see [Error]. It is [ErrClosed] when the Client is closed.
//
// A list is not a snapshot. Each session is yielded as it is when its page is read. A session that changes meanwhile can come
// twice, or not at all if it moved to the front. A program that must miss no change uses [Client.WatchAll].
//
// No goroutine is left when the loop has ended. Ranging over the result again reads the list again.
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
			case request.GetPageToken(): // otherwise such a server would keep the loop for ever
				yield(nil, newError(status.Error(codes.Internal, "the server returned a page's own token as the token of the next page")))
				return
			default:
				request.PageToken = next
			}
		}
	}
}

// page reads one page. It tries again while another try can succeed before the deadline.
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
		// If the wait is longer than the time left, this error says more than DEADLINE_EXCEEDED.
		if deadline, _ := ctx.Deadline(); !isTemporary(err) || time.Until(deadline) < wait {
			return nil, err
		}
		if !sleep(ctx, wait) {
			return nil, c.pageError(ctx, err)
		}
	}
}

// pageError returns ErrClosed if the Client is closed, else asError.
func (c *Client) pageError(ctx context.Context, err error) error {
	if c.open.Err() != nil {
		return ErrClosed
	}
	return asError(ctx, err)
}

// isTemporary reports whether a page that failed with err can succeed in another try.
func isTemporary(err error) bool {
	var failed *Error
	if !errors.As(err, &failed) {
		return false
	}
	return failed.Code == codes.Unavailable || failed.Code == codes.ResourceExhausted || failed.Code == codes.Aborted
}

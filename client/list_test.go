package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// listed returns a list's sessions up to an error. It calls body for each.
func listed(ctx context.Context, c *client.Client, filter client.Filter, body func(n int), options ...client.ListOption) (ids []string, last error) {
	for v, err := range c.List(ctx, filter, options...) {
		if last = err; err == nil {
			ids = append(ids, v.GetSessionId())
			body(len(ids))
		}
	}
	return ids, last
}

func nothing(int) {}

// newList returns a server with sessions vs_1 to vs_n in processing.
func newList(t *testing.T, n int) *clienttest.Server {
	server := newServer(t)
	for i := range n {
		server.Set(person(fmt.Sprintf("vs_%d", i+1), "user-42", processing))
	}
	return server
}

// down returns vs_n to vs_m, the newest first.
func down(n, m int) (ids []string) {
	for ; n >= m; n-- {
		ids = append(ids, fmt.Sprintf("vs_%d", n))
	}
	return ids
}

func TestListHasEachFilter(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(person("vs_open", "user-1", requiresInput))
	server.Set(person("vs_checked", "user-1", processing))
	fresh := person("vs_fresh", "user-2", processing)
	fresh.UpdateTime = timestamppb.New(time.Now().Add(-time.Minute))
	server.Set(fresh)
	server.Set(session("vs_verified", verified))
	server.Set(session("vs_canceled", canceled))
	young := session("vs_young", requiresInput)
	young.LastError = &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_UNDER_SUPPORTED_AGE}
	server.Set(young)
	often := session("vs_often", requiresInput)
	often.LastError = &verificationv1.VerificationError{Code: verificationv1.ErrorCode_ERROR_CODE_DOCUMENT_EXPIRED}
	often.Retry = &verificationv1.RetryState{Denial: verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED}
	server.Set(often)
	server.SetInDoubt("vs_verified", true)
	for name, c2 := range map[string]struct {
		filter client.Filter
		want   []string
	}{
		"reference":     {client.ByReference("user-1"), []string{"vs_checked", "vs_open"}},
		"nobody":        {client.ByReference("nobody"), nil},
		"open":          {client.ByStatus(requiresInput), []string{"vs_often", "vs_young", "vs_open"}},
		"processing":    {client.ByStatus(processing), []string{"vs_fresh", "vs_checked"}},
		"verified":      {client.ByStatus(verified), []string{"vs_verified"}},
		"canceled":      {client.ByStatus(canceled), []string{"vs_canceled"}},
		"not retryable": {client.ByDenial(verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE), []string{"vs_young"}},
		"limit":         {client.ByDenial(verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED), []string{"vs_often"}},
		"in doubt":      {client.InDoubt(), []string{"vs_verified"}},
		"any time":      {client.ProcessingLongerThan(0), []string{"vs_fresh", "vs_checked"}},
		"an hour":       {client.ProcessingLongerThan(time.Hour), []string{"vs_checked"}},
	} {
		for _, size := range []int{0, 1, 1000} {
			if got, err := listed(within(t), c, c2.filter, nothing, client.PageSize(size)); err != nil || !slices.Equal(got, c2.want) {
				t.Errorf("%s in pages of %d: got %v, %v; want %v", name, size, got, err, c2.want)
			}
		}
	}
}

func TestListRefusesWhatCannotBeListed(t *testing.T) {
	c := newServer(t).Client()
	for name, filter := range map[string]client.Filter{
		"no filter": {}, "no reference": client.ByReference(""), "no UTF-8": client.ByReference("\xff"), "no status": client.ByStatus(0),
		"no list": client.ByDenial(verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN), "a time to come": client.ProcessingLongerThan(-1),
	} {
		if got, err := listed(within(t), c, filter, nothing); got != nil || !errors.Is(err, client.ErrInvalidRequest) {
			t.Errorf("%s: got %v, %v; want ErrInvalidRequest", name, got, err)
		}
	}
	if _, err := listed(within(t), c, client.InDoubt(), nothing, client.PageSize(-1)); !errors.Is(err, client.ErrInvalidRequest) {
		t.Errorf("a page of -1: %v; want ErrInvalidRequest", err)
	}
}

func TestListReadsAPageWhenItIsAskedFor(t *testing.T) {
	server := newList(t, 7)
	var calls atomic.Int32
	c := server.Client(client.WithDialOptions(grpc.WithUnaryInterceptor(
		func(ctx context.Context, method string, request, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
			calls.Add(1)
			return invoke(ctx, method, request, reply, cc, options...)
		})))
	all := c.List(within(t), client.ByStatus(processing), client.PageSize(2))
	if calls.Load() != 0 {
		t.Errorf("%d calls before the loop; want none", calls.Load())
	}
	seen := 0
	for _, err := range all {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; int(calls.Load()) != (seen+1)/2 {
			t.Errorf("%d calls at session %d; want %d", calls.Load(), seen, (seen+1)/2)
		}
		if seen == 4 {
			break
		}
	}
	if calls.Load() != 2 {
		t.Errorf("%d calls for 4 sessions; want 2", calls.Load())
	}
	seen = 0
	for range all { // again, from the beginning
		seen++
	}
	if seen != 7 {
		t.Errorf("the second loop had %d sessions; want 7", seen)
	}
}

func TestListWhileSessionsChange(t *testing.T) {
	server := newList(t, 6)
	got, err := listed(within(t), server.Client(), client.ByStatus(processing), func(n int) {
		switch n {
		case 2: // the last of its page
			server.Set(person("vs_6", "user-42", verified)) // seen already
			server.Set(person("vs_4", "user-42", verified)) // not seen, and leaves the list
			server.Set(person("vs_7", "user-42", processing))
		case 3:
			changed := person("vs_2", "user-42", processing)
			changed.LastVerificationReport = "vr_2" // moves to the front
			server.Set(changed)
		}
	}, client.PageSize(2))
	// vs_2 was read in one page with vs_3, before it changed.
	if want := []string{"vs_6", "vs_5", "vs_3", "vs_2", "vs_1"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestListContinuesWhenItsServerComesBack(t *testing.T) {
	server := newList(t, 9)
	away := clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE)
	faults := []func(){
		func() { server.FailNext(away, away, away, away, away, away) }, // more often than grpc would try
		func() { server.FailNext(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_RATE_LIMITED)) },
		func() { server.FailNext(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_CONFLICT)) },
		func() {
			server.Stop()
			time.AfterFunc(50*time.Millisecond, func() {
				if err := server.Start(); err != nil {
					t.Error(err)
				}
			})
		},
	}
	got, err := listed(within(t), server.Client(), client.ByReference("user-42"), func(n int) {
		if n%2 == 0 {
			faults[n/2-1]()
		}
	}, client.PageSize(2))
	if want := down(9, 1); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestListEndsWithTheErrorOfAnUnreachableServer(t *testing.T) {
	server := newList(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	got, err := listed(ctx, server.Client(), client.ByStatus(processing), func(n int) {
		if n == 2 {
			server.Stop()
		}
	}, client.PageSize(2))
	var failed *client.Error
	if !slices.Equal(got, down(3, 2)) || !errors.As(err, &failed) {
		t.Errorf("got %v, %v; want the first page and an *Error", got, err)
	}
	if !errors.Is(err, client.ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v; want ErrUnavailable or the deadline", err)
	}
}

func TestListDoesNotWaitLongerThanItMay(t *testing.T) {
	server := newList(t, 1)
	limited, err := status.New(codes.ResourceExhausted, "slow down").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	server.Fail(limited.Err())
	begun := time.Now()
	if _, err := listed(within(t), server.Client(), client.InDoubt(), nothing); status.Code(err) != codes.ResourceExhausted || time.Since(begun) > soon/2 {
		t.Errorf("ended with %v after %v; want the server's error at once", err, time.Since(begun))
	}
}

func TestListEndsAtOnceWithErrorsThatDoNotPass(t *testing.T) {
	server := newList(t, 3)
	c := server.Client()
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		// One failure: a list that tries again ends without an error.
		got, err := listed(within(t), c, client.ByStatus(processing), func(n int) {
			if n == 2 {
				server.FailNext(status.Error(code, "an error"))
			}
		}, client.PageSize(2))
		passes := code == codes.Unavailable || code == codes.ResourceExhausted || code == codes.Aborted
		switch {
		case passes && (err != nil || len(got) != 3):
			t.Errorf("%v: got %v, %v; want all", code, got, err)
		case !passes && (status.Code(err) != code || len(got) != 2):
			t.Errorf("%v: got %v, %v; want the first page and this error", code, got, err)
		}
	}
}

func TestListEndsWhenItsTokenIsRefused(t *testing.T) {
	server := newList(t, 3)
	c := server.Client(client.WithDialOptions(grpc.WithUnaryInterceptor(
		func(ctx context.Context, method string, request, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
			if list, ok := request.(*verificationv1.ListVerificationsRequest); ok && list.GetPageToken() != "" {
				list.PageToken = "of another time"
			}
			return invoke(ctx, method, request, reply, cc, options...)
		})))
	got, err := listed(within(t), c, client.ByStatus(processing), nothing, client.PageSize(2))
	if !slices.Equal(got, down(3, 2)) || !errors.Is(err, client.ErrInvalidRequest) {
		t.Errorf("got %v, %v; want the first page and ErrInvalidRequest", got, err)
	}
}

func TestListEndsWithAServerThatGivesOneTokenForEver(t *testing.T) {
	server := newList(t, 3)
	c := server.Client(client.WithDialOptions(grpc.WithUnaryInterceptor(
		func(ctx context.Context, method string, request, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
			list := request.(*verificationv1.ListVerificationsRequest)
			token := list.GetPageToken()
			list.PageToken = ""
			err := invoke(ctx, method, request, reply, cc, options...)
			list.PageToken = token
			return err
		})))
	if got, err := listed(within(t), c, client.ByStatus(processing), nothing, client.PageSize(2)); len(got) != 4 || status.Code(err) != codes.Internal {
		t.Errorf("got %v, %v; want two pages and INTERNAL", got, err)
	}
}

func TestListEndsWithItsContextAndItsClient(t *testing.T) {
	server := newList(t, 3)
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	if got, err := listed(ctx, server.Client(), client.InDoubt(), nothing); got != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: got %v, %v", got, err)
	}
	ctx, cancel = context.WithCancel(within(t))
	got, err := listed(ctx, server.Client(), client.ByStatus(processing), func(int) { cancel() }, client.PageSize(1))
	if len(got) != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ends: got %v, %v", got, err)
	}
	ctx, cancel = context.WithCancel(within(t))
	defer cancel()
	server.Fail(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE))
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err = listed(ctx, server.Client(), client.InDoubt(), nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ends between two tries: %v", err)
	}
	c := server.Client()
	time.AfterFunc(50*time.Millisecond, func() { _ = c.Close() })
	if _, err = listed(within(t), c, client.InDoubt(), nothing); !errors.Is(err, client.ErrClosed) {
		t.Errorf("a client that is closed between two tries: %v", err)
	}
	server.Fail(nil)
	c = server.Client()
	got, err = listed(within(t), c, client.ByStatus(processing), func(int) { _ = c.Close() }, client.PageSize(1))
	if len(got) != 1 || !errors.Is(err, client.ErrClosed) {
		t.Errorf("a client that is closed: got %v, %v", got, err)
	}
}

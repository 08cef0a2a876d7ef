package rpc

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/shares"
	"example.com/verification-status/server/internal/store"
)

// stuckLive does not answer one caller's reads of long lists until the test says so.
type stuckLive struct {
	Live
	caller string
	stuck  atomic.Int64 // reads that hang now
	over   atomic.Int64 // reads that hung beside two others
	free   chan struct{}
}

func (l *stuckLive) List(ctx context.Context, query store.ListQuery) (store.ListPage, error) {
	if shares.HolderOf(ctx).String() == l.caller && query.Limit > fewSessions {
		if l.stuck.Add(1) > 2 {
			l.over.Add(1)
		}
		defer l.stuck.Add(-1)
		select {
		case <-l.free:
		case <-ctx.Done():
			return store.ListPage{}, ctx.Err()
		}
	}
	return l.Live.List(ctx, query)
}

// newStuck returns a gateway with the callers a and b, whose store hangs for the long lists of a. Eight calls can read lists at once,
// two of one caller. The reference "p" has 20 sessions.
func newStuck(t *testing.T) (*gateway, *replica, *stuckLive) {
	f, r := newGateway(t, newBackend(t), 25, "a", "b")
	close(f.goOn)
	for n := range 20 {
		r.apply(eventOf(1, int64(n), object(fmt.Sprintf("vs_%d", n), "verified", reference("p"), created(int64(n)))))
	}
	r.apply(eventOf(1, 1, object("vs_q", "verified", reference("q"))))
	live := &stuckLive{Live: r.service.config.Live, caller: "token:a", free: make(chan struct{})}
	r.service.config.Live, r.service.lists = live, shares.NewQueue(8, 2)
	return f, r, live
}

func (f *gateway) as(ctx context.Context, name string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+f.tokens[name])
}

// longReads are the calls that read many records.
func (f *gateway) longReads() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"list": func(ctx context.Context) error {
			_, err := f.ListVerifications(ctx, &verificationv1.ListVerificationsRequest{
				Filter: &verificationv1.ListVerificationsRequest_Status{Status: verificationv1.Status_STATUS_VERIFIED}, PageSize: 200,
			})
			return err
		},
		"person": func(ctx context.Context) error {
			response, err := f.GetStatus(ctx, personRequest("p"))
			if got := response.GetPerson().GetSessions(); err == nil && got != 20 {
				return fmt.Errorf("the person has %d sessions, want 20", got)
			}
			return err
		},
	}
}

// TestG15_LongListsOfOneCallerLeaveOthersTheStore: a caller makes 128 calls that read many records while the store hangs. Few of them
// are at the store, a bounded number waits, the others are refused. Calls of another caller are answered, and so are short calls of the
// same caller. Canceled calls leave nothing behind.
func TestG15_LongListsOfOneCallerLeaveOthersTheStore(t *testing.T) {
	const calls, share = 128, slots / 4
	for _, kind := range []string{"list", "person"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f, _, live := newStuck(t)
			flood, stop := context.WithCancel(f.as(t.Context(), "a"))
			defer stop()
			var ended sync.WaitGroup
			for range calls {
				ended.Go(func() { _ = f.longReads()[kind](flood) })
			}
			eventually(t, "each call reads, waits or is refused", func() bool {
				return live.stuck.Load()+f.waited.Load()+f.refused.Load() >= calls
			})
			if reading, over := live.stuck.Load(), live.over.Load(); reading != 2 || over != 0 {
				t.Errorf("%d long reads of the caller are at the store, and %d were beyond its share; want 2 and 0", reading, over)
			}
			if waited := f.waited.Load(); waited == 0 || waited > share {
				t.Errorf("%d calls wait, want 1 to %d", waited, share)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for range 5 {
				for other, call := range f.longReads() {
					if err := call(f.as(ctx, "b")); err != nil {
						t.Errorf("%s of another caller: %v", other, err)
					}
				}
				if err := f.get("a", 0); err != nil {
					t.Errorf("a short call of the same caller: %v", err)
				}
				if _, err := f.GetStatus(f.as(ctx, "a"), personRequest("q")); err != nil {
					t.Errorf("the same caller, about a person with one session: %v", err)
				}
			}
			stop()
			ended.Wait()
			eventually(t, "no read hangs", func() bool { return live.stuck.Load() == 0 })
			close(live.free)
			for range 3 {
				if err := f.longReads()[kind](f.as(ctx, "a")); err != nil {
					t.Errorf("after the flood: %v", err)
				}
			}
		})
	}
}

// TestALongListIsWaitedForWithinTheDeadline: then the call says that the server is overloaded.
func TestALongListIsWaitedForWithinTheDeadline(t *testing.T) {
	f, r, live := newStuck(t)
	flood, stop := context.WithCancel(f.as(t.Context(), "a"))
	defer stop()
	var ended sync.WaitGroup
	for range 2 {
		ended.Go(func() { _ = f.longReads()["list"](flood) })
	}
	eventually(t, "both read", func() bool { return live.stuck.Load() == 2 })
	ctx, cancel := context.WithTimeout(shares.WithHolder(t.Context(), shares.Named("token:a")), 200*time.Millisecond)
	defer cancel()
	_, err := r.service.GetStatus(ctx, personRequest("p"))
	d := wantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_OVERLOADED)
	if got := d.retry.GetRetryDelay().AsDuration(); got != time.Second {
		t.Errorf("RetryInfo %v, want 1s", got)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- f.longReads()["person"](f.as(t.Context(), "a")) }()
	eventually(t, "a call waits", func() bool { return f.waited.Load() > 0 })
	close(live.free)
	select {
	case err := <-waiting:
		if err != nil {
			t.Errorf("the call that waited: %v", err)
		}
	case <-time.After(patience):
		t.Error("the call that waits gets no slot")
	}
	ended.Wait()
}

// TestACallRefusedAfterItsWaitReturnsItsSlot: the call got a slot to read a list, but none to continue.
func TestACallRefusedAfterItsWaitReturnsItsSlot(t *testing.T) {
	_, r, _ := newStuck(t)
	r.service.lists = shares.NewQueue(1, 0)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first, err := r.service.takeListSlot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r.service.config.Await = func(_ context.Context, wait func()) error {
		first.Release()
		wait()
		return status.Error(codes.Unavailable, "refused")
	}
	if _, err := r.service.takeListSlot(ctx); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want the refusal", err)
	}
	if _, err := r.service.lists.Take(shares.Holder{}); err != nil {
		t.Errorf("the slot was not returned: %v", err)
	}
}

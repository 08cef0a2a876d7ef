package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// TestAStandbyTakesOverWithin15Seconds: the server of the first instance's stream is killed, so that its lease ends by time.
func TestAStandbyTakesOverWithin15Seconds(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		busy := 0
		first := consume(t, server.Client(), nil)
		second := consume(t, c, nil, client.OnInterruption(func(err error, _ time.Duration) {
			if errors.Is(err, client.ErrConsumerBusy) {
				busy++
			}
		}))
		server.KeepLeases(true)
		flip(server, "vs_1", 1)
		first.want("while the first one lives", "vs_1/1")
		second.want("while the first one lives")
		time.Sleep(batched)
		synctest.Wait()
		if busy == 0 { // it asks when what is left of the lease has passed
			t.Error("the second instance was not told that the consumer is busy")
		}
		_ = first.stop()
		flip(server, "vs_1", 2)
		time.Sleep(15*time.Second + 100*time.Millisecond)
		second.want("after the lease", "vs_1/2")
	})
}

// TestAnInstanceThatLostTheConsumerStops: its handler's context ends, what it had not acknowledged is dropped, and it
// handles nothing again that it has handled.
func TestAnInstanceThatLostTheConsumerStops(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		var cause error
		once := true
		r := consume(t, c, func(ctx context.Context, u client.Update) error {
			if u.Verification.GetSessionId() != "vs_1" || !once {
				return nil
			}
			once = false
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		}, client.Workers(2))
		flip(server, "vs_1", 1)
		flip(server, "vs_2", 1)
		r.want("before", "vs_2/1")
		server.HoldConsumer("mailer", true)
		synctest.Wait()
		if !errors.Is(cause, client.ErrConsumerBusy) {
			t.Errorf("the cause of the end of the handler's context is %v; want ErrConsumerBusy", cause)
		}
		flip(server, "vs_2", 2)
		time.Sleep(time.Minute)
		r.want("while another instance has the consumer", "vs_2/1")
		server.HoldConsumer("mailer", false)
		time.Sleep(taken + batched)
		handled := r.got()
		for _, want := range []string{"vs_1/1", "vs_2/1", "vs_2/2"} {
			if n := count(handled, want); n != 1 || len(handled) != 3 {
				t.Errorf("%s was handled %d times in %q; want once", want, n, handled)
			}
		}
		wantPending(t, "afterwards", c, 0)
	})
}

// TestAFullInstanceLearnsThatAnotherOneTookOver: its stream ends behind changes for which it has no room.
func TestAFullInstanceLearnsThatAnotherOneTookOver(t *testing.T) {
	for name, options := range map[string][]client.ConsumeOption{"": nil, "with a checkpoint": {client.WithCheckpoint(&ledger{})}} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, server *clienttest.Server) {
				var cause atomic.Value
				consume(t, server.Client(), func(ctx context.Context, _ client.Update) error {
					<-ctx.Done()
					cause.Store(context.Cause(ctx))
					return ctx.Err()
				}, append(options, client.MaxHeld(2))...)
				for i := range 100 {
					flip(server, fmt.Sprint("vs_", i), 1)
				}
				synctest.Wait()
				server.HoldConsumer("mailer", true)
				time.Sleep(5 * time.Second)
				if err, _ := cause.Load().(error); !errors.Is(err, client.ErrConsumerBusy) {
					t.Errorf("the cause of the end of the handler's context is %v; want ErrConsumerBusy", err)
				}
			})
		})
	}
}

// TestSkippedChangesAreReadAgain: each change is handled once, in order, and the instance keeps the consumer while it is full.
func TestSkippedChangesAreReadAgain(t *testing.T) {
	for name, options := range map[string][]client.ConsumeOption{"": nil, "with a checkpoint": {client.WithCheckpoint(&ledger{})}} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, server *clienttest.Server) {
				c := server.Client()
				release := make(chan struct{})
				r := consume(t, c, func(ctx context.Context, _ client.Update) error {
					select {
					case <-release:
					case <-ctx.Done():
					}
					time.Sleep(time.Second)
					if ctx.Err() != nil && name != "" {
						t.Error("a handler was interrupted, because there was room again")
					}
					return ctx.Err()
				}, append(options, client.MaxHeld(4))...)
				standby := consume(t, server.Client(), nil)
				for n := range 30 {
					flip(server, "vs_1", n)
				}
				time.Sleep(time.Hour)
				flip(server, "vs_1", 30)
				r.want("while the first change is not handled")
				standby.want("while the first instance is full")
				close(release)
				time.Sleep(5 * time.Minute)
				wantOrder(t, append(r.got(), standby.got()...), "vs_1", 31)
				wantPending(t, "in the end", c, 0)
			})
		})
	}
}

// TestABrokenStreamDisturbsNoHandler: the next stream continues after what was received.
func TestABrokenStreamDisturbsNoHandler(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		calls := map[string]int{}
		var mu sync.Mutex
		r := consume(t, c, func(ctx context.Context, u client.Update) error {
			mu.Lock()
			calls[nameOf(u.Verification)]++
			mu.Unlock()
			time.Sleep(10 * time.Second)
			return ctx.Err()
		}, client.Workers(4))
		for i := range 4 {
			flip(server, fmt.Sprint("vs_", i), 1)
			time.Sleep(time.Second)
			server.CutStreams(nil)
		}
		time.Sleep(time.Minute)
		r.want("in the end", "vs_0/1", "vs_1/1", "vs_2/1", "vs_3/1")
		for name, n := range calls {
			if n != 1 {
				t.Errorf("%s: the handler was called %d times; want once", name, n)
			}
		}
		wantPending(t, "in the end", c, 0)
	})
}

func TestG14_ALostConsumerIsTold(t *testing.T) {
	type step func(t *testing.T, server *clienttest.Server)
	remove := func(_ *testing.T, server *clienttest.Server) { server.DeleteConsumer("mailer") }
	for name, test := range map[string]struct {
		then step
		want error
	}{
		"deleted while its stream is open": {remove, client.ErrConsumerNotFound},
		"deleted between two streams": {func(_ *testing.T, server *clienttest.Server) {
			server.Stop()
			server.DeleteConsumer("mailer")
			_ = server.Start()
		}, client.ErrConsumerNotFound},
		"deleted and made again between two streams": {func(t *testing.T, server *clienttest.Server) {
			server.CutStreams(nil) // the next stream comes after a millisecond
			server.DeleteConsumer("mailer")
			makeMailer(t, server, time.Millisecond/2)
		}, client.ErrConsumerNotFound},
		"deleted and made again while it stands by": {func(t *testing.T, server *clienttest.Server) {
			server.HoldConsumer("mailer", true)
			synctest.Wait() // it asks again after 10 s
			server.DeleteConsumer("mailer")
			makeMailer(t, server, time.Second)
		}, client.ErrConsumerNotFound},
		"deleted while it stands by": {func(t *testing.T, server *clienttest.Server) {
			server.HoldConsumer("mailer", true)
			time.Sleep(time.Minute)
			server.DeleteConsumer("mailer")
		}, client.ErrConsumerNotFound},
		"expired": {func(t *testing.T, server *clienttest.Server) {
			server.ExpireConsumer("mailer")
			server.HoldConsumer("mailer", true)
			time.Sleep(time.Minute)
			server.HoldConsumer("mailer", false)
		}, client.ErrConsumerExpired},
		"no permission": {func(_ *testing.T, server *clienttest.Server) {
			server.Fail(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED))
		}, client.ErrPermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, server *clienttest.Server) {
				r := consume(t, server.Client(), nil)
				flip(server, "vs_1", 1)
				time.Sleep(batched)
				test.then(t, server)
				time.Sleep(time.Minute)
				r.wantEnd(test.want)
				if got := matching(r.err); len(got) != 1 {
					t.Errorf("the error %v is %v; want one sentinel only", r.err, got)
				}
				var e *client.Error
				if !errors.As(r.err, &e) || status.Code(r.err) != e.Code {
					t.Errorf("the error %v of code %v wraps %v; want the service's error", r.err, status.Code(r.err), e)
				}
				r.want("before it was lost", "vs_1/1")
			})
		})
	}
}

// TestAStandbyIsToldThatTheConsumerIsLost: no stream of it was ever served, but it knows that the consumer existed.
func TestAStandbyIsToldThatTheConsumerIsLost(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		makeMailer(t, server, time.Second)
		server.HoldConsumer("mailer", true)
		r := consume(t, server.Client(), nil)
		server.DeleteConsumer("mailer")
		time.Sleep(taken)
		r.wantEnd(client.ErrConsumerNotFound)
	})
}

// makeMailer makes the consumer, by a stream that ends again.
func makeMailer(t *testing.T, server *clienttest.Server, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c := server.Client()
	if err := c.Consume(ctx, "mailer", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a run of %v ended with %v", within, err)
	}
	if mailerState(t, c).GetPendingChanges() != 0 {
		t.Error("the consumer was not made again")
	}
}

// TestAnAcknowledgementThatCannotSucceedEndsConsume: the stream itself is not ended.
func TestAnAcknowledgementThatCannotSucceedEndsConsume(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		r := consume(t, server.Client(), nil)
		server.FailNext(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_CONSUMER_NOT_FOUND))
		flip(server, "vs_1", 1)
		time.Sleep(batched)
		r.wantEnd(client.ErrConsumerNotFound)
	})
}

func TestAnAcknowledgementIsRepeated(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		var told []error
		r := consume(t, c, nil, client.OnInterruption(func(err error, _ time.Duration) { told = append(told, err) }))
		server.FailNext(
			clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE),
			status.Error(codes.Unimplemented, "a server of before"),
			status.Error(codes.PermissionDenied, "a proxy"),
		)
		flip(server, "vs_1", 1)
		time.Sleep(batched)
		wantPending(t, "after three failures", c, 0)
		synctest.Wait()
		if len(told) != 3 {
			t.Errorf("OnInterruption was told %v; want three failures", told)
		}
		r.want("once", "vs_1/1")
	})
}

func TestConsumeNeedsAConsumerThatMustExist(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		consume(t, server.Client(), nil, client.MustExist()).wantEnd(client.ErrConsumerNotFound)
		first := consume(t, server.Client(), nil)
		_ = first.stop()
		r := consume(t, server.Client(), nil, client.MustExist())
		flip(server, "vs_1", 1)
		r.want("it exists", "vs_1/1")
	})
}

// TestPositionsThatTheStoreLost: Consume begins again after what was acknowledged, so that nothing is missed.
func TestPositionsThatTheStoreLost(t *testing.T) {
	for name, notice := range map[string]func(*clienttest.Server){
		"noticed by a stream":           func(server *clienttest.Server) { server.CutStreams(nil) },
		"noticed by an acknowledgement": func(server *clienttest.Server) { flip(server, "vs_2", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, server *clienttest.Server) {
				c := server.Client()
				var fails atomic.Bool
				fails.Store(true)
				r := consume(t, c, func(_ context.Context, u client.Update) error {
					if fails.Load() && u.Verification.GetSessionId() == "vs_1" {
						return errors.New("not yet")
					}
					return nil
				})
				flip(server, "vs_0", 1)
				flip(server, "vs_1", 1)
				synctest.Wait()
				server.ExpireTokens() // those of vs_0 and vs_1
				notice(server)
				time.Sleep(batched)
				fails.Store(false)
				time.Sleep(2 * time.Minute)
				flip(server, "vs_3", 1)
				time.Sleep(batched)
				handled := r.got()
				for _, want := range []string{"vs_0/1", "vs_1/1", "vs_3/1"} {
					if n := count(handled, want); n != 1 {
						t.Errorf("%s was handled %d times in %q; want once", want, n, handled)
					}
				}
				wantPending(t, "in the end", c, 0)
			})
		})
	}
}

// TestAnAcknowledgementOfALostPositionBeginsAgain: no other change comes whose acknowledgement would stand for the lost one.
func TestAnAcknowledgementOfALostPositionBeginsAgain(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		var told []error
		r := consume(t, c, nil, client.OnInterruption(func(err error, _ time.Duration) { told = append(told, err) }))
		flip(server, "vs_1", 1)
		synctest.Wait()
		server.ExpireTokens()
		time.Sleep(taken + batched)
		r.want("once", "vs_1/1")
		wantPending(t, "in the end", c, 0)
		if len(told) != 1 || !errors.Is(told[0], client.ErrResumeTokenExpired) {
			t.Errorf("OnInterruption was told %v; want ErrResumeTokenExpired once", told)
		}
	})
}

func count(names []string, name string) (n int) {
	for _, other := range names {
		if other == name {
			n++
		}
	}
	return n
}

// TestACrashRepeatsAtMostWhatIsHeld: the changes behind one that fails are handled, but they cannot be acknowledged.
func TestACrashRepeatsAtMostWhatIsHeld(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		first := consume(t, server.Client(), func(_ context.Context, u client.Update) error {
			if u.Verification.GetSessionId() == "vs_0" {
				return errors.New("not yet")
			}
			return nil
		}, client.AcknowledgeEach(), client.MaxHeld(10))
		for i := range 50 {
			flip(server, fmt.Sprint("vs_", i), 1)
		}
		time.Sleep(time.Minute)
		_ = first.stop()
		second := consume(t, server.Client(), nil)
		all := second.got()
		repeated := 0
		for _, name := range first.got() {
			repeated += count(all, name)
		}
		if len(all) != 50 || repeated != 9 {
			t.Errorf("the next run handled %d changes, %d of them again; want 50 and 9", len(all), repeated)
		}
	})
}

func TestAcknowledgeEach(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		left := int64(20)
		r := consume(t, c, func(context.Context, client.Update) error {
			wantPending(t, "in a handler", c, left)
			left--
			return nil
		}, client.AcknowledgeEach())
		server.Silence(true)
		for i := range 20 {
			flip(server, fmt.Sprint("vs_", i%3), i/3+1)
		}
		server.Silence(false)
		time.Sleep(taken)
		if n := len(r.got()); n != 20 {
			t.Errorf("handled %d changes; want 20", n)
		}
		wantPending(t, "in the end", c, 0)
	})
}

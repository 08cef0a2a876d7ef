package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// holdAcknowledgements returns an option that keeps each acknowledgement from its server until release is closed.
func holdAcknowledgements(asked chan<- struct{}, release <-chan struct{}) client.Option {
	return client.WithDialOptions(grpc.WithUnaryInterceptor(
		func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
			if strings.HasSuffix(method, "/AcknowledgeChanges") {
				select {
				case asked <- struct{}{}:
				default:
				}
				select {
				case <-release:
				case <-ctx.Done():
				}
			}
			return invoke(ctx, method, request, reply, conn, options...)
		}))
}

// TestWhatIsHandledDuringAnAcknowledgementIsAcknowledged: no later change comes whose token would stand for it.
func TestWhatIsHandledDuringAnAcknowledgementIsAcknowledged(t *testing.T) {
	for name, wait := range map[string]func(*consumerRun){
		"by the next one": func(*consumerRun) { time.Sleep(batched) },
		"at the end":      func(r *consumerRun) { _ = r.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, server *clienttest.Server) {
				asked, release := make(chan struct{}, 1), make(chan struct{})
				r := consume(t, server.Client(holdAcknowledgements(asked, release)), nil)
				flip(server, "vs_1", 1)
				<-asked
				flip(server, "vs_2", 1)
				r.want("while an acknowledgement is on its way", "vs_1/1", "vs_2/1")
				close(release)
				wait(r)
				wantPending(t, "in the end", server.Client(), 0)
			})
		})
	}
}

// TestAConsumerThatWasReplacedIsToldWithoutAnAcknowledgement: this instance was served, has acknowledged nothing, and stands by while
// the consumer is deleted and made again.
func TestAConsumerThatWasReplacedIsToldWithoutAnAcknowledgement(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		r := consume(t, server.Client(), nil)
		server.HoldConsumer("mailer", true)
		synctest.Wait() // it asks again after 10 s
		server.DeleteConsumer("mailer")
		makeMailer(t, server, time.Second)
		time.Sleep(time.Minute)
		r.wantEnd(client.ErrConsumerNotFound)
	})
}

// TestALostPositionIsAcknowledgedOnce: its acknowledgement was refused, and the instance stands by, so that no other change comes. At
// its end it has nothing to acknowledge, and returns no error of an acknowledgement.
func TestALostPositionIsAcknowledgedOnce(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		r := consume(t, server.Client(), nil)
		flip(server, "vs_1", 1)
		r.want("before", "vs_1/1")
		server.ExpireTokens()
		server.HoldConsumer("mailer", true) // what is handled is acknowledged at once
		time.Sleep(taken)
		if err := r.stop(); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrResumeTokenExpired) {
			t.Errorf("Consume returned %v; want the error of its context only", err)
		}
	})
}

// TestAStandbyNeverWaitsLongerThanALease: whatever the backoff is, and however much of the lease is left.
func TestAStandbyNeverWaitsLongerThanALease(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		makeMailer(t, server, time.Second)
		server.HoldConsumer("mailer", true)
		waits := 0
		consume(t, server.Client(client.WithBackoff(time.Hour, time.Hour)), nil, client.OnInterruption(func(err error, wait time.Duration) {
			waits++
			if !errors.Is(err, client.ErrConsumerBusy) || wait > 15*time.Second {
				t.Errorf("wait %d is %v after %v; want at most 15 s after ErrConsumerBusy", waits, wait, err)
			}
		}))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if waits < 10*60/15 {
			t.Errorf("%d tries in 10 minutes; want one in 15 s at least", waits)
		}
	})
}

// TestABrokenStreamAcknowledgesAtOnce: the instance that takes over must not repeat what is handled.
func TestABrokenStreamAcknowledgesAtOnce(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		r := consume(t, c, nil)
		flip(server, "vs_1", 1)
		r.want("before the break", "vs_1/1")
		wantPending(t, "before the break", c, 1)
		server.CutStreams(nil)
		synctest.Wait()
		wantPending(t, "after the break", c, 0)
	})
}

// TestTheNextChangeOfASessionBeginsWithAShortWait: the failures of the change before it do not count.
func TestTheNextChangeOfASessionBeginsWithAShortWait(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		calls := map[string]int{}
		waits := map[string]time.Duration{}
		r := consume(t, server.Client(), func(_ context.Context, u client.Update) error {
			name := nameOf(u.Verification)
			if calls[name]++; name == "vs_1/1" && calls[name] <= 6 || calls[name] <= 1 {
				return errors.New("not yet")
			}
			return nil
		}, client.OnFailure(func(u client.Update, _ error, wait time.Duration) { waits[nameOf(u.Verification)] = wait }))
		flip(server, "vs_1", 1)
		flip(server, "vs_1", 2)
		time.Sleep(5 * time.Minute)
		r.want("in the end", "vs_1/1", "vs_1/2")
		if got := fmt.Sprint(waits["vs_1/1"] >= 16*time.Second, waits["vs_1/2"] <= time.Second); got != "true true" {
			t.Errorf("the last wait of the first change is %v, and the first one of the second %v; want 16 s at least and 1 s at most",
				waits["vs_1/1"], waits["vs_1/2"])
		}
	})
}

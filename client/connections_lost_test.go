package client

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// pickUnary begins a unary call.
func (f *fakeConn) pickUnary() (balancer.PickResult, error) {
	return f.state.Picker.Pick(balancer.PickInfo{FullMethodName: verificationv1.VerificationService_GetStatus_FullMethodName, Ctx: f.t.Context()})
}

// answerUnary makes a unary call that is answered.
func (f *fakeConn) answerUnary() {
	f.t.Helper()
	result, err := f.pickUnary()
	if err != nil {
		f.t.Fatal(err)
	}
	result.Done(balancer.DoneInfo{BytesReceived: true})
}

// loseAtOnce is a connection that a proxy ends as soon as it is open.
func (f *fakeConn) loseAtOnce(b *connections) {
	f.ready(b, 0)
	f.subs[0].becomes(connectivity.Idle)
}

// TestAConnectionOfUseIsReplacedAtOnce: a unary call that needs a connection does not wait if the lost one was of use. It waits
// for the random moment if the connection was lost within a second, before it has answered a call.
func TestAConnectionOfUseIsReplacedAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		use  func(f *fakeConn, b *connections)
		want int // attempts after a unary call: the first one, and perhaps a second
	}{
		"it has answered a call": {func(f *fakeConn, b *connections) {
			f.ready(b, 0)
			f.answerUnary()
			f.subs[0].becomes(connectivity.Idle)
		}, 2},
		"it was open for a second": {func(f *fakeConn, b *connections) {
			f.ready(b, 0)
			time.Sleep(provenAfter)
			f.subs[0].becomes(connectivity.Idle)
		}, 2},
		"it has answered a call, which ends after the loss": {func(f *fakeConn, b *connections) {
			f.ready(b, 0)
			result, err := f.pickUnary()
			if err != nil {
				f.t.Fatal(err)
			}
			f.subs[0].becomes(connectivity.Idle)
			result.Done(balancer.DoneInfo{BytesReceived: true})
		}, 2},
		"it has answered no call": {func(f *fakeConn, b *connections) {
			f.ready(b, 0)
			result, err := f.pickUnary()
			if err != nil {
				f.t.Fatal(err)
			}
			f.subs[0].becomes(connectivity.Idle)
			result.Done(balancer.DoneInfo{})
		}, 1},
		"it was never ready": {func(f *fakeConn, _ *connections) {
			f.subs[0].becomes(connectivity.Connecting)
			f.subs[0].becomes(connectivity.Idle)
		}, 1},
		"it was of use after failures": {func(f *fakeConn, b *connections) {
			for range 5 {
				f.loseAtOnce(b)
			}
			f.ready(b, 0)
			f.answerUnary()
			f.subs[0].becomes(connectivity.Idle)
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, b := newFake(t)
				defer b.Close()
				test.use(f, b)
				if _, err := f.pickUnary(); err == nil {
					t.Fatal("the call got a connection that was lost")
				}
				if n := f.subs[0].connects; n != test.want {
					t.Errorf("%d attempts; want %d", n, test.want)
				}
			})
		})
	}
}

// TestAConnectionThatIsAlwaysLostAtOnceIsTriedSeldom: for a minute, a proxy ends each connection at once, while unary calls
// wait. The longest wait doubles up to ReconnectMax and stays there, so that calls have a connection within that time when the
// proxy works again. Other calls fail with a reason meanwhile.
func TestAConnectionThatIsAlwaysLostAtOnceIsTriedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := newFake(t)
		defer b.Close()
		f.loseAtOnce(b)
		begun, tried, gap := time.Now(), 1, time.Duration(0)
		for last := begun; time.Since(begun) < time.Minute; {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if _, err := f.pickUnary(); err != balancer.ErrNoSubConnAvailable && f.state.ConnectivityState != connectivity.TransientFailure {
				t.Fatalf("%v in the state %v; want a wait or TRANSIENT_FAILURE", err, f.state.ConnectivityState)
			}
			b.mu.Lock()
			connects := f.subs[0].connects
			b.mu.Unlock()
			if connects > tried {
				tried, gap, last = connects, max(gap, time.Since(last)), time.Now()
				f.loseAtOnce(b)
			}
		}
		// On average, a wait of 1.5 s.
		if tried < 20 || tried > 80 || gap < time.Second || gap > 3*time.Second+2*time.Millisecond {
			t.Errorf("%d attempts in a minute, at most %v apart; want 20 to 80, at most 1 s to 3 s apart", tried, gap)
		}
		if _, err := f.pick(); err == nil || err == balancer.ErrNoSubConnAvailable {
			t.Errorf("a watch: %v; want the reason", err)
		}
	})
}

package rpc

import (
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// stallTimeout is how long one response may wait for a caller who does not read: about a hundred
// kilobytes are on their way to it then.
const stallTimeout = 30 * time.Second

// respond sends one response. It waits as long as the caller does not read, but no longer than the
// stream's patience: whoever has stopped reading must not hold a stream, a wake-up and a record for
// ever.
//
// A send that waits can be ended only by the end of its handler, so it has a goroutine of its own;
// that one ends when the handler has returned errStalled. A panic in it is the handler's: there it is
// recovered from, here it would end the process.
func (st *stream) respond(v *verificationv1.Verification, token string) error {
	type outcome struct {
		err      error
		panicked any
	}
	sent := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			o.panicked = recover()
			sent <- o
		}()
		o.err = st.send(&verificationv1.WatchStatusResponse{Verification: v, ResumeToken: token})
	}()
	stalled := time.NewTimer(st.patience)
	defer stalled.Stop()
	select {
	case o := <-sent:
		if o.panicked != nil {
			panic(o.panicked)
		}
		st.sent = time.Now()
		return o.err
	case <-stalled.C:
		return errStalled
	}
}

package rpc

import (
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/offstack"
)

// stallTimeout is the default of Config.StallTimeout. About a hundred kilobytes are on their way to the caller by
// then.
const stallTimeout = 30 * time.Second

// loaded is the start of the times of sends. It has a monotonic clock: the wall clock can be set during a send, and
// would end a stream too soon or too late.
var loaded = time.Now()

// do runs a step of the watch, a read and the sends that follow, off the handler's stack (see package offstack), and
// waits for its end. A send that waits for a caller that does not read cannot be canceled, but the handler can
// return: its end ends the stream, and so the send.
func (st *stream) do(step func() error) error {
	ended := offstack.Go(step)
	for {
		st.setAlarm(st.sendDeadline())
		select {
		case t := <-ended:
			return t.Err()
		case <-st.woken.C(): // a topic, which stays pending; or the alarm
			if interrupt := st.interrupt.Load(); interrupt != nil && st.woken.Pending() {
				(*interrupt)(errWoken)
			}
			if st.sending.Load() != 0 && !time.Now().Before(st.sendDeadline()) {
				return errStalled
			}
		}
	}
}

// respond sends one response. Call it in a step of do.
func (st *stream) respond(v *verificationv1.Verification, token string) error {
	return st.sendResponse(&verificationv1.WatchStatusResponse{Verification: v, ResumeToken: token})
}

// sendResponse is respond for any response.
func (st *stream) sendResponse(response *verificationv1.WatchStatusResponse) error {
	st.sending.Store(int64(time.Since(loaded)))
	err := st.send(response)
	st.sending.Store(0)
	st.sent = time.Now()
	return err
}

// sendDeadline returns when the send that is under way must have ended, or one that begins now.
func (st *stream) sendDeadline() time.Time {
	if since := st.sending.Load(); since != 0 {
		return loaded.Add(time.Duration(since)).Add(st.stallTimeout)
	}
	return time.Now().Add(st.stallTimeout)
}

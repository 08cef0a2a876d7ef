package rpc

import (
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/offstack"
)

// stallTimeout is how long one response may wait for a caller who does not read: about a hundred
// kilobytes are on their way to it then.
const stallTimeout = 30 * time.Second

// loaded is what sends are timed from: the wall clock may be set meanwhile, and would end a stream too soon
// or too late.
var loaded = time.Now()

// do takes a turn, a look and the sends that follow, and waits for its end; see package offstack for what it
// saves. So a send that waits for a caller who does not read holds no handler: only the handler's end can
// end it.
func (st *stream) do(take func() error) error {
	ended := offstack.Go(take)
	for {
		st.setAlarm(st.patienceEnds())
		select {
		case t := <-ended:
			return t.Err()
		case <-st.woken.C(): // the topics are remembered; or it is the alarm
			if interrupt := st.interrupt.Load(); interrupt != nil && st.woken.Pending() {
				(*interrupt)(errWoken)
			}
			if st.sending.Load() != 0 && !time.Now().Before(st.patienceEnds()) {
				return errStalled
			}
		}
	}
}

// respond sends one response, in a turn.
func (st *stream) respond(v *verificationv1.Verification, token string) error {
	st.sending.Store(int64(time.Since(loaded)))
	err := st.send(&verificationv1.WatchStatusResponse{Verification: v, ResumeToken: token})
	st.sending.Store(0)
	st.sent = time.Now()
	return err
}

// patienceEnds is when a send that is under way has waited for as long as it may; or one that begins now.
func (st *stream) patienceEnds() time.Time {
	if since := st.sending.Load(); since != 0 {
		return loaded.Add(time.Duration(since)).Add(st.patience)
	}
	return time.Now().Add(st.patience)
}

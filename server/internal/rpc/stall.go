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
// that one ends when the handler has returned errStalled.
func (st *stream) respond(v *verificationv1.Verification, token string) error {
	sent := make(chan error, 1)
	go func() { sent <- st.send(&verificationv1.WatchStatusResponse{Verification: v, ResumeToken: token}) }()
	stalled := time.NewTimer(st.patience)
	defer stalled.Stop()
	select {
	case err := <-sent:
		st.sent = time.Now()
		return err
	case <-stalled.C:
		return errStalled
	}
}

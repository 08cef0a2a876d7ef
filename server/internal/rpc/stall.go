package rpc

import (
	"runtime/debug"
	"time"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// stallTimeout is how long one response may wait for a caller who does not read: about a hundred
// kilobytes are on their way to it then.
const stallTimeout = 30 * time.Second

// loaded is what sends are timed from: the wall clock may be set meanwhile, and would end a stream too soon
// or too late.
var loaded = time.Now()

// turn is what became of one turn of a watch.
type turn struct {
	err      error
	panicked *turnPanic
}

// turnPanic is a panic of a turn, on its way to whoever recovers from those of handlers: the stack there
// would not say where it was.
type turnPanic struct {
	value any
	stack []byte
}

// Panicked is the panic as it was, and its stack.
func (p *turnPanic) Panicked() (value any, stack []byte) { return p.value, p.stack }

// do takes a turn, a look and the sends that follow, in a goroutine of its own, and waits for its end.
//
// So a send that waits for a caller who does not read holds no handler: only the handler's end can end
// it. And the goroutine of a watch, which is there for as long as the watch is, never needs the stack that
// reading and sending take: 4 KiB instead of 16 were more than half of what an idle watch costs. A panic is
// the handler's: there it is recovered from, here it would end the process.
func (st *stream) do(take func() error) error {
	ended := make(chan turn, 1)
	go func() {
		var t turn
		defer func() {
			if p := recover(); p != nil {
				t.panicked = &turnPanic{p, debug.Stack()}
			}
			ended <- t
		}()
		t.err = take()
	}()
	for {
		st.setAlarm(st.patienceEnds())
		select {
		case t := <-ended:
			if t.panicked != nil {
				panic(t.panicked)
			}
			return t.err
		case <-st.woken.C(): // the topics are remembered; or it is the alarm
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

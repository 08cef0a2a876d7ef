package client

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Update is one turn of a watch.
type Update struct {
	// Verification is the session as of one revision. Nil in a bookmark (see [Bookmarks]).
	Verification *verificationv1.Verification
	// ResumeToken lets another watch of the same subject go on after this update: store it once the
	// update is handled, and pass it to [ResumeFrom]. Opaque, URL-safe, 2 KiB at the most.
	ResumeToken string
	// Reset says that the server no longer held what followed the last update: this is the current
	// status, and revisions before it may be missing, or be lower than ones already seen. Drop what
	// was remembered of the subject. Never set by WatchAll, which ends with [ErrResumeTokenExpired]
	// instead: there, a whole snapshot is not to be had.
	Reset bool
}

// WatchOption changes one watch.
type WatchOption func(*watch)

// ResumeFrom goes on after the update that had this token. Empty is as without it: a watch of one
// subject begins with the current status, WatchAll with what comes next.
func ResumeFrom(token string) WatchOption { return func(w *watch) { w.token = token } }

// Bookmarks yields the updates without a verification too, which only move the resume token: one at
// the start of WatchAll, and one whenever nothing happened for a heartbeat. Who stores tokens wants
// them: a token that stays young does not expire.
func Bookmarks() WatchOption { return func(w *watch) { w.bookmarks = true } }

// The server's bounds of a heartbeat, and its default here.
const (
	minHeartbeat     = 5 * time.Second
	maxHeartbeat     = 5 * time.Minute
	defaultHeartbeat = 30 * time.Second
)

// Heartbeat is how often the server shows that it is there while nothing changes: 5 s to 5 min, by
// default 30 s. Let it be less than what proxies on the way allow a silent stream. A stream that is
// silent for two and a half times as long is given up and resumed.
func Heartbeat(d time.Duration) WatchOption {
	return func(w *watch) {
		d = min(max(d, minHeartbeat), maxHeartbeat)
		w.request.Heartbeat = durationpb.New(d)
		w.patience = d * 5 / 2
	}
}

// OnInterruption is called whenever the watch has lost its stream and will go on by itself: with the
// error, which wraps an *Error where a server sent it, and the longest wait before the next try. For logs and
// metrics. It is called from the loop's goroutine.
func OnInterruption(f func(err error, wait time.Duration)) WatchOption {
	return func(w *watch) { w.onInterruption = f }
}

// UntilSettled ends the watch of a subject, without an error, once it is settled: after the update that
// says so, or at once where the token was at it already. Not with WatchAll.
func UntilSettled() WatchOption { return func(w *watch) { w.request.UntilSettled = true } }

package client

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// Update is one step of a watch: a change, or a bookmark.
type Update struct {
	// Verification is the session at one revision. Nil in a bookmark (see [Bookmarks]).
	Verification *verificationv1.Verification
	// ResumeToken lets a later watch of the same subject continue after this update. Store it when the update is handled,
	// and pass it to [ResumeFrom]. It is opaque, URL-safe, and has at most 2 KiB.
	ResumeToken string
	// Reset means that the service no longer had the changes after the last update. Verification is the current status.
	// Revisions before it can be missing, and its revision can be lower than one already seen: drop all state that is kept
	// of the subject. WatchAll never sets it. It ends with [ErrResumeTokenExpired] instead, because the service cannot send
	// the status of all sessions.
	Reset bool
}

// WatchOption changes one watch. Make one with [ResumeFrom], [Bookmarks], [Heartbeat], [OnInterruption] or [UntilSettled].
type WatchOption func(*watch)

// ResumeFrom makes a watch begin after the update that had this token. With an empty token, a watch of one subject begins
// with the current status, and WatchAll with the next change.
func ResumeFrom(token string) WatchOption { return func(w *watch) { w.token = token } }

// Bookmarks makes a watch also yield updates without a verification, which have a new resume token: one at the start of
// WatchAll, and one at each heartbeat. Use it in a program that stores tokens: a token that is renewed does not expire.
func Bookmarks() WatchOption { return func(w *watch) { w.bookmarks = true } }

// The contract's limits of a heartbeat, and the default of this package.
const (
	minHeartbeat     = 5 * time.Second
	maxHeartbeat     = 5 * time.Minute
	defaultHeartbeat = 30 * time.Second
)

// Heartbeat sets the interval at which the service sends a heartbeat while nothing changes: 5 s to 5 min. The default is
// 30 s. Choose less than the idle timeout of the proxies in between. A stream that is silent for two and a half times the
// interval is closed and resumed.
func Heartbeat(d time.Duration) WatchOption {
	return func(w *watch) {
		d = min(max(d, minHeartbeat), maxHeartbeat)
		w.request.Heartbeat = durationpb.New(d)
		w.silenceTimeout = d * 5 / 2
	}
}

// OnInterruption sets a function that the watch calls each time it has lost its stream and will resume, for logs and metrics.
// err wraps an [*Error] if it came from a server or a proxy. wait is the longest wait before the next try. The function runs
// in the goroutine of the loop.
func OnInterruption(f func(err error, wait time.Duration)) WatchOption {
	return func(w *watch) { w.onInterruption = f }
}

// UntilSettled ends the watch of a subject without an error once the subject is settled: after the update that says so, or at
// once if the resume token is that of such an update. It cannot be used with WatchAll.
func UntilSettled() WatchOption { return func(w *watch) { w.request.UntilSettled = true } }

package client

import (
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// WatchOption changes one watch. Make one with [ResumeFrom], [Bookmarks], [Heartbeat], [OnInterruption], [UntilSettled],
// [OutcomesOnly] or [Statuses].
type WatchOption interface{ changeWatch(*watch) }

type watchOption func(*watch)

func (o watchOption) changeWatch(w *watch) { o(w) }

// StreamOption is an option of watches and of Consume. Make one with [Heartbeat], [OnInterruption] or [Statuses].
type StreamOption struct{ set func(*watch) }

func (o StreamOption) changeWatch(w *watch) { o.set(w) }

func (o StreamOption) changeConsume(c *consumption) { o.set(c.watch) }

// ResumeFrom makes a watch begin after the update that had this token. With an empty token, a watch of one subject begins
// with the current status, and WatchAll with the next change.
func ResumeFrom(token string) WatchOption { return watchOption(func(w *watch) { w.token = token }) }

// Bookmarks makes a watch also yield updates without a verification, which have a new resume token: one at the start of
// WatchAll, and one at each heartbeat. Use it in a program that stores tokens: a token that is renewed does not expire.
func Bookmarks() WatchOption { return watchOption(func(w *watch) { w.bookmarks = true }) }

// The contract's longest heartbeat, and the default of this package. The shortest one is [minHeartbeat].
const (
	maxHeartbeat     = 5 * time.Minute
	defaultHeartbeat = 30 * time.Second
)

// Heartbeat sets the interval at which the service sends a heartbeat while nothing changes: 5 s to 5 min. The default is
// 30 s. Choose less than the idle timeout of the proxies in between. A stream that is silent for two and a half times the
// interval is closed and resumed.
func Heartbeat(d time.Duration) StreamOption {
	return StreamOption{func(w *watch) {
		d = min(max(d, minHeartbeat), maxHeartbeat)
		w.request.Heartbeat = durationpb.New(d)
		w.silenceTimeout = d * 5 / 2
	}}
}

// OnInterruption sets a function that the watch calls each time it has lost its stream and will resume, for logs and metrics.
// err wraps an [*Error] if it came from a server or a proxy. wait is the longest wait before the next try. A watch calls the
// function in the goroutine of the loop. Consume calls it in goroutines of its own, also for an acknowledgement that failed
// and will be repeated, and with [ErrConsumerBusy] while it stands by.
func OnInterruption(f func(err error, wait time.Duration)) StreamOption {
	return StreamOption{func(w *watch) { w.onInterruption = f }}
}

// UntilSettled ends the watch of a subject without an error once the subject is settled: after the update that says so, or at
// once if the resume token is that of such an update. It cannot be used with WatchAll.
func UntilSettled() WatchOption {
	return watchOption(func(w *watch) { w.request.UntilSettled = true })
}

// OutcomesOnly makes WatchAll yield only changes that brought a new outcome: another status, error or report. A grant of a
// retry, a redaction, a late count or a corrected reference is passed over. If the revision that brought an outcome can no
// longer be told (it was redacted or archived), the oldest revision that can be told comes in its place. Its
// outcome_revision and outcome_id name the outcome.
func OutcomesOnly() WatchOption {
	return watchOption(func(w *watch) {
		w.filter(func(all *verificationv1.AllSessions) { all.OutcomesOnly = true })
	})
}

// Statuses makes WatchAll or Consume pass over changes after which the status is none of these. Without statuses it selects
// all.
func Statuses(statuses ...verificationv1.Status) StreamOption {
	statuses = slices.Clone(statuses)
	return StreamOption{func(w *watch) {
		w.filter(func(all *verificationv1.AllSessions) { all.Statuses = statuses })
	}}
}

// filter changes the filter of a watch of all sessions. Any other watch ends with an error.
func (w *watch) filter(set func(*verificationv1.AllSessions)) {
	if all := w.request.GetAllSessions(); all != nil {
		set(all)
		return
	}
	w.problem = newError(status.Error(codes.InvalidArgument, "OutcomesOnly and Statuses need a watch of all sessions"))
}

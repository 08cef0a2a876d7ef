package main

import (
	"context"
	"log/slog"
)

// result is what became of an act.
type result string

const (
	done          result = "done"
	notNeeded     result = "not needed" // the call succeeded and changed nothing
	refusedResult result = "refused"    // nothing was changed
	unknown       result = "unknown"    // there is no answer: the act can have been done
)

// auditLog logs one act: a line before its calls, and one after them. If the desk has one token for all, the service's history names the
// desk, and these lines name the person. A desk that is killed between the two leaves the first one. Neither has a link or a reference.
type auditLog struct{ logger *slog.Logger }

func (d deed) audit(ctx context.Context, kind string) auditLog {
	logger := d.logger.With("person", personOf(ctx).name, "session_id", d.session, "act", d.act.name, "outcome_revision", d.seen)
	if kind != "" {
		logger = logger.With("kind", kind)
	}
	logger.InfoContext(ctx, "an act at the desk was asked for")
	return auditLog{logger}
}

func (l auditLog) ended(ctx context.Context, r result, err error) {
	switch {
	case err == nil:
		l.logger.InfoContext(ctx, "an act at the desk", "result", string(r))
	case r == unknown:
		l.logger.WarnContext(ctx, "it is not known whether an act at the desk was done", "result", string(r), "error", err)
	default:
		l.logger.WarnContext(ctx, "an act at the desk failed", "result", string(r), "error", err)
	}
}

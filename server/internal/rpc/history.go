package rpc

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/verification"
)

// history returns the inputs of a session for the caller of the call with this context. It is empty after a redaction, and for an
// archived session.
func (c *Config) history(ctx context.Context, session *verification.Session) []*verificationv1.HistoryEntry {
	if session.Tombstone() || session.IsArchived() {
		return nil
	}
	named := c.MayNameOperators(ctx)
	entries := make([]*verificationv1.HistoryEntry, len(session.History))
	before := state{}
	for i, entry := range session.History {
		shown := &verificationv1.HistoryEntry{
			Revision:       entry.Revision,
			EventId:        entry.EventID,
			EventType:      entry.EventType,
			Source:         verificationv1.Source(entry.Source),
			Effect:         verificationv1.Effect(entry.Effect),
			EventTime:      seconds(entry.EventTime),
			RecordTime:     timestamppb.New(time.UnixMilli(entry.RecordTime)),
			Status:         statusOf(entry.Status),
			Error:          errorOf(entry.Error),
			Principal:      entry.Principal,
			ComparedFields: comparedFields(entry.Compared),
			Operation:      before.operation(entry),
		}
		if entry.Source == verification.SourceOperator && !named {
			shown.Principal = ""
		}
		entries[i] = shown
		before = before.after(entry)
	}
	return entries
}

// state is the state before an entry of a history. It is not known before the first revision of a history that was cut.
type state struct {
	verification.State
	known bool
}

func (s state) after(entry verification.Entry) state {
	if entry.Revision == 0 {
		return s
	}
	return state{entry.Result, true}
}

// operation returns what the operator of an entry did. It is unspecified if the entry does not tell it without the state before.
func (s state) operation(entry verification.Entry) verificationv1.Operation {
	cut := !s.known && entry.Revision > 1
	if cut && entry.Result.Resolution.Kind == verification.ResolutionNone && entry.Result.Allowance.Given {
		return verificationv1.Operation_OPERATION_UNSPECIFIED // an allowance that is new, or a resolution that was taken back beside it
	}
	if cut && entry.Result.Resolution.Kind == verification.ResolutionNone {
		s.Resolution.Kind = verification.ResolutionClosed // of any kind: no allowance is new
	}
	return verificationv1.Operation(entry.Operation(s.State))
}

// comparedFields returns the names of the compared fields in the request of CompareVerifiedOutputs.
func comparedFields(compared verification.ComparedFields) (names []string) {
	if compared == 0 {
		return nil
	}
	fields := (*verificationv1.CompareVerifiedOutputsRequest)(nil).ProtoReflect().Descriptor().Fields()
	for n := range fields.Len() {
		if number := fields.Get(n).Number(); number >= 2 && compared&(1<<(number-2)) != 0 {
			names = append(names, string(fields.Get(n).Name()))
		}
	}
	return names
}

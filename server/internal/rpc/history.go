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
			Operation:      verificationv1.Operation(entry.Operation),
		}
		if entry.Source == verification.SourceOperator && !named {
			shown.Principal = ""
		}
		entries[i] = shown
	}
	return entries
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

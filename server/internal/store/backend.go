package store

import (
	"context"
	"errors"

	"example.com/verification-status/server/internal/verification"
)

// Backend is all that a server needs of a store. Another database can be put in by an adapter that implements it.
type Backend interface {
	Store
	CatchUp
	ListRepairs
	Consumers

	// Walk calls visit at least once for every session that is stored from the beginning to the end of the walk, in no
	// order, and returns visit's first error. It is for rare work on all sessions. A record that cannot be read is logged
	// and left out.
	Walk(ctx context.Context, visit func(context.Context, verification.Session) error) error

	// Prepare checks that the store can be used, over new connections as a process that starts makes them, and creates
	// what is missing in it. It returns ErrUnavailable if the store cannot be reached, and an error with a Refusal
	// (see RefusalOf) if somebody must correct something. Call it at the start and every few seconds, one call at a time.
	Prepare(ctx context.Context) error
	// Ping returns nil if the store answers over the connections that calls are made on.
	Ping(ctx context.Context) error
	// Suspect reports whether an answer since the last call of Suspect is a reason to call Prepare.
	Suspect() bool
	// Close ends every call, also Follow, and closes the connections.
	Close() error
}

// Refusal says that a store answers, but that it does not let this service work. The zero value is no refusal.
type Refusal struct {
	// Reason says in one word what must be corrected, for a metric. It is empty if there is no refusal.
	Reason string
	// Misconfigured is true if waiting does not help: somebody must change a configuration. If it is false, the
	// refusal can pass by itself.
	Misconfigured bool
	// NewConnectionsOnly is true if open connections can still be used.
	NewConnectionsOnly bool
}

// RefusalOf returns the refusal that err stands for, the first one if err joins several; the zero Refusal if none. An
// adapter's error has a method Refusal for it.
func RefusalOf(err error) Refusal {
	var refused interface{ Refusal() Refusal }
	if !errors.As(err, &refused) {
		return Refusal{}
	}
	return refused.Refusal()
}

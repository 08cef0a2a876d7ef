package main

import (
	"context"
	"time"
)

// Bounds of what a paused reader may take.
const (
	// maxTaken is above what flow control lets pass: windows of gRPC and of HTTP/2 grow up to 16 MiB in some libraries.
	maxTaken = 24 << 20
	// standstill is how long no more may be taken before the kit counts.
	standstill = 300 * time.Millisecond
)

// flood makes large changes while the readers are paused, until no more is taken.
func (p *player) flood(ctx context.Context, st step, before []*watched) error {
	if err := p.set(ctx, st, before); err != nil {
		return err
	}
	for last := -1; ; {
		taken := 0
		p.control.each(func(t *tap) { t.set(func() { taken = max(taken, t.updates) }) })
		if taken == last {
			break
		}
		last = taken
		select {
		case <-time.After(standstill):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	most := 0
	p.control.each(func(t *tap) { t.set(func() { most = max(most, t.updates*largeBytes) }) })
	if most > maxTaken {
		p.ledger.fault("a reader was paused, and its client took %d MiB; it must stop reading from the connection (at most %d MiB)", most>>20, maxTaken>>20)
	}
	return nil
}

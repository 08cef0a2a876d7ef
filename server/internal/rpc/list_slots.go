package rpc

import (
	"context"

	"example.com/verification-status/server/internal/shares"
)

// takeListSlot returns a slot for a call that reads a list of records from the store. Such a call costs Redis and the processor as
// much as a hundred other calls, so few of them are under way at once, and each caller has a share of the slots. The slot must be
// released.
func (s *Service) takeListSlot(ctx context.Context) (shares.QueueUnit, error) {
	slot, err := s.lists.Take(shares.HolderOf(ctx))
	if err != nil {
		return s.awaitListSlot(ctx)
	}
	return slot, nil
}

// awaitListSlot waits for such a slot until the context ends. Meanwhile the call holds no other slot. Config.Await bounds the number
// of calls that wait. The errors are its own and errListsBusy.
func (s *Service) awaitListSlot(ctx context.Context) (slot shares.QueueUnit, err error) {
	refused := s.config.Await(ctx, func() { slot, err = s.lists.Wait(ctx, shares.HolderOf(ctx)) })
	switch {
	case refused != nil:
		slot.Release()
		return shares.QueueUnit{}, refused
	case err != nil:
		return shares.QueueUnit{}, errListsBusy
	}
	return slot, nil
}

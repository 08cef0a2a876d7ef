package client

import "time"

// ConsumeOption changes one run of Consume. Make one with [Workers], [EveryChange], [MustExist], [WithCheckpoint],
// [AcknowledgeEach], [MaxHeld], [DrainWithin], [OnFailure], [Heartbeat], [OnInterruption] or [Statuses].
type ConsumeOption interface{ changeConsume(*consumption) }

type consumeOption func(*consumption)

func (o consumeOption) changeConsume(c *consumption) { o(c) }

// Workers sets how many handlers run side by side, each for another session. The default is 1. A handler that waits for its
// next try is not counted.
func Workers(n int) ConsumeOption {
	return consumeOption(func(c *consumption) { c.workers = n })
}

// EveryChange makes Consume also handle changes that brought no outcome, such as the grant of a retry and a redaction.
func EveryChange() ConsumeOption {
	return consumeOption(func(c *consumption) { c.all.OutcomesOnly = false })
}

// MustExist makes Consume end with [ErrConsumerNotFound] if the consumer does not exist. Without it a consumer that the store
// has lost is made again, and begins with the next outcome. With a checkpoint, it also requires that the checkpoint has a token.
func MustExist() ConsumeOption {
	return consumeOption(func(c *consumption) { c.all.MustExist = true })
}

// AcknowledgeEach makes a worker acknowledge after each change, before it handles another one. Without it, Consume acknowledges
// a second after the first change, or after 100.
//
// Only the longest finished beginning is acknowledged. While no change waits for its next try or is slow, a crash repeats at
// most one change of each worker with AcknowledgeEach. Changes that were handled behind an unfinished one are repeated too: a
// crash repeats at most as many changes as [MaxHeld] allows, and one of each worker. Without AcknowledgeEach, a crash repeats
// also those that were handled since the last acknowledgement that succeeded.
func AcknowledgeEach() ConsumeOption {
	return consumeOption(func(c *consumption) { c.each = true })
}

// MaxHeld sets how many changes Consume holds, from the first one that is not handled on: 1 to 1,000,000. The default is 1,000. If
// it has no room for a second, it skips what the stream sends, 100 changes a second: so it keeps the consumer, and sees if another
// instance takes over. When half of the room is free, it opens a stream that sends the skipped changes again.
func MaxHeld(changes int) ConsumeOption {
	return consumeOption(func(c *consumption) { c.limit = changes })
}

// DrainWithin sets how long Consume waits for running handlers at its end. The default is 10 s.
func DrainWithin(d time.Duration) ConsumeOption {
	return consumeOption(func(c *consumption) { c.drainWithin = d })
}

// OnFailure sets a function that Consume calls each time a handler has failed, for logs and metrics. wait is the time until the
// handler is called again for this update. The function must be safe for concurrent use if there are several workers.
func OnFailure(f func(update Update, err error, wait time.Duration)) ConsumeOption {
	return consumeOption(func(c *consumption) { c.onFailure = f })
}

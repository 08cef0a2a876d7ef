package redisstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// batchLanes is how many batches are under way at once: with one, Redis would wait for this process
	// between two of them.
	batchLanes = 2
	// maxBatch bounds a batch, so that no commit waits for hundreds of others.
	maxBatch = 64
	// batchTimeout bounds a batch. It is for all in it: nobody's own context may end the others' commits.
	batchTimeout = 5 * time.Second
)

// batches send commits that come at the same time together: most of what a commit costs are the system
// calls of both ends. Nobody is waited for: where a lane is free a commit leaves at once, and those that
// come while all are busy are the next batch. So a quiet server is as fast as without, and a busy one
// makes batches as large as it is busy. It is safe for concurrent use.
type batches struct {
	client redis.UniversalClient
	lanes  chan struct{} // holds a value for each batch under way

	mu      sync.Mutex
	waiting []*batched
}

// batched is one commit.
type batched struct {
	ctx  context.Context // of who waits
	keys []string
	args []any
	done chan struct{} // closed when cmd has the answer
	cmd  *redis.Cmd
}

// newBatches makes one, and on a Cluster one for each partition: a batch for several nodes ends when the
// slowest has answered, and a node that hangs would hold up the commits of all others.
func newBatches(client redis.UniversalClient, mode Mode) []*batches {
	made := make([]*batches, 1)
	if mode == Cluster {
		made = make([]*batches, partitions)
	}
	for n := range made {
		made[n] = &batches{client: client, lanes: make(chan struct{}, batchLanes)}
	}
	return made
}

// batchesOf are those that a session's commits go with.
func (s *Store) batchesOf(id string) *batches {
	return s.batches[partitionOf(id)%len(s.batches)]
}

// run runs the commit script. Where ctx ends first the commit may still be made. Batches are sent by
// goroutines of their own: who waits for one waits no longer than it may, and no commit of others depends on
// who waits.
func (b *batches) run(ctx context.Context, keys []string, args []any) ([]string, error) {
	commit := &batched{ctx: ctx, keys: keys, args: args, done: make(chan struct{})}
	b.mu.Lock()
	b.waiting = append(b.waiting, commit)
	b.mu.Unlock()
	select {
	case b.lanes <- struct{}{}:
		go b.serve()
	case <-commit.done:
	case <-ctx.Done():
	}
	select {
	case <-commit.done:
		return b.answer(ctx, commit)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve sends batches in a lane until nobody waits. Who comes just then finds the lane free.
func (b *batches) serve() {
	defer func() { <-b.lanes }()
	for b.send() {
	}
}

// close waits for the batches that are under way; the client must be closed, so that they end, and nobody
// may come any more.
func (b *batches) close() {
	for range batchLanes {
		b.lanes <- struct{}{}
	}
}

// answer is that of a commit which was sent. One that failed is made again alone, with all that the
// driver does for a single command: the script knows a commit that was made already.
func (b *batches) answer(ctx context.Context, commit *batched) ([]string, error) {
	if err := commit.cmd.Err(); err != nil {
		return commitScript.Run(ctx, b.client, commit.keys, commit.args...).StringSlice()
	}
	return commit.cmd.StringSlice()
}

// take takes those who have waited the longest. Who does not wait any more is left out: while Redis hangs
// nothing may pile up.
func (b *batches) take() []*batched {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting := slices.DeleteFunc(b.waiting, func(commit *batched) bool { return commit.ctx.Err() != nil })
	batch := slices.Clone(waiting[:min(len(waiting), maxBatch)])
	b.waiting = slices.Delete(waiting, 0, len(batch))
	return batch
}

// send sends a batch of those who wait; false: nobody does.
func (b *batches) send() bool {
	batch := b.take()
	if len(batch) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	pipe := b.client.Pipeline()
	for _, commit := range batch {
		commit.cmd = commitScript.EvalSha(ctx, pipe, commit.keys, commit.args...)
	}
	_, _ = pipe.Exec(ctx) // each has its own answer
	for _, commit := range batch {
		close(commit.done)
	}
	return true
}

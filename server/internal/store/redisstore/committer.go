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

// A committer sends commits that come at the same time together: most of what a commit costs are the system
// calls of both ends. Nobody is waited for: where a lane is free a commit leaves at once, and those that
// come while all are busy are the next batch. So a quiet server is as fast as without, and a busy one
// makes batches as large as it is busy. It is safe for concurrent use.
type committer struct {
	client redis.UniversalClient
	lanes  chan struct{} // holds a value for each batch under way

	mu      sync.Mutex
	waiting []*commitRequest
}

// commitRequest is one commit.
type commitRequest struct {
	ctx  context.Context // of who waits
	keys []string
	args []any
	done chan struct{} // closed when cmd has the answer
	cmd  *redis.Cmd
}

// newCommitters makes one, and on a Cluster one for each partition: a batch for several nodes ends when the
// slowest has answered, and a node that hangs would hold up the commits of all others.
func newCommitters(client redis.UniversalClient, mode Mode) []*committer {
	made := make([]*committer, 1)
	if mode == Cluster {
		made = make([]*committer, partitions)
	}
	for n := range made {
		made[n] = &committer{client: client, lanes: make(chan struct{}, batchLanes)}
	}
	return made
}

// committerOf returns the committer of a session.
func (s *Store) committerOf(id string) *committer {
	return s.committers[partitionOf(id)%len(s.committers)]
}

// run runs the commit script. Where ctx ends first the commit may still be made. Batches are sent by
// goroutines of their own: who waits for one waits no longer than it may, and no commit of others depends on
// who waits.
func (c *committer) run(ctx context.Context, keys []string, args []any) ([]string, error) {
	request := &commitRequest{ctx: ctx, keys: keys, args: args, done: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, request)
	c.mu.Unlock()
	select {
	case c.lanes <- struct{}{}:
		go c.serve()
	case <-request.done:
	case <-ctx.Done():
	}
	select {
	case <-request.done:
		return c.answer(ctx, request)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve sends batches in a lane until nobody waits. Who comes just then finds the lane free.
func (c *committer) serve() {
	defer func() { <-c.lanes }()
	for c.send() {
	}
}

// close waits for the batches that are under way; the client must be closed, so that they end, and nobody
// may come any more.
func (c *committer) close() {
	for range batchLanes {
		c.lanes <- struct{}{}
	}
}

// answer is that of a commit which was sent. One that failed is made again alone, with all that the
// driver does for a single command: the script knows a commit that was made already.
func (c *committer) answer(ctx context.Context, request *commitRequest) ([]string, error) {
	if err := request.cmd.Err(); err != nil {
		return commitScript.Run(ctx, c.client, request.keys, request.args...).StringSlice()
	}
	return request.cmd.StringSlice()
}

// take takes those who have waited the longest. Who does not wait any more is left out: while Redis hangs
// nothing may pile up.
func (c *committer) take() []*commitRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := slices.DeleteFunc(c.waiting, func(request *commitRequest) bool { return request.ctx.Err() != nil })
	batch := slices.Clone(waiting[:min(len(waiting), maxBatch)])
	c.waiting = slices.Delete(waiting, 0, len(batch))
	return batch
}

// send sends a batch of those who wait; false: nobody does.
func (c *committer) send() bool {
	batch := c.take()
	if len(batch) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	pipe := c.client.Pipeline()
	for _, request := range batch {
		request.cmd = commitScript.EvalSha(ctx, pipe, request.keys, request.args...)
	}
	_, _ = pipe.Exec(ctx) // each has its own answer
	for _, request := range batch {
		close(request.done)
	}
	return true
}

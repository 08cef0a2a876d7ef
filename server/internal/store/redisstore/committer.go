package redisstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// batchLanes is how many batches are in progress at the same time. With one, Redis would wait for this process
	// between two batches.
	batchLanes = 2
	// maxBatch bounds the commits of a batch, so that no commit waits for hundreds of others.
	maxBatch = 64
	// batchTimeout bounds a batch. The contexts of its requests do not: the context of one request must not end the
	// commits of the others.
	batchTimeout = 5 * time.Second
)

// committer sends commits that come at the same time in one call of the script: a batch. A large part of the cost of a commit are the
// system calls at both ends and the call of the script. No commit waits for others: it leaves at once if a lane is free. The commits that come while all
// lanes are busy form the next batch. So batches make a quiet server no slower, and grow with the load. It is safe for
// concurrent use.
type committer struct {
	client redis.UniversalClient
	script *redis.Script // lua/commit.lua
	lanes  chan struct{} // holds a value for each batch in progress
	closed chan struct{} // closed by close

	mu      sync.Mutex
	waiting []*commitRequest
}

// commitRequest is one commit that waits for its batch or for the answer.
type commitRequest struct {
	ctx  context.Context // the context of the caller
	keys []string
	args []any
	last bool          // see beginsWithRemoval
	done chan struct{} // closed when answer is set

	answer []string // nil if the commit failed or its answer was lost
}

// newCommitters returns one committer or, on a Cluster, one for each partition. A batch for several nodes would end when the
// slowest node has answered, so one hanging node would delay the commits of all others.
func newCommitters(client redis.UniversalClient, script *redis.Script, mode Mode) []*committer {
	made := make([]*committer, 1)
	if mode == Cluster {
		made = make([]*committer, partitions)
	}
	for n := range made {
		made[n] = &committer{client: client, script: script, lanes: make(chan struct{}, batchLanes), closed: make(chan struct{})}
	}
	return made
}

// committerOf returns the committer for a session.
func (s *Store) committerOf(id string) *committer {
	return s.committers[partitionOf(id)%len(s.committers)]
}

// run runs the commit script and returns its answer. If ctx ends before, the commit can still be made. A separate goroutine
// sends the batch. So a caller never waits longer than its context, and no commit depends on the caller of another one. After
// close it returns redis.ErrClosed.
func (c *committer) run(ctx context.Context, keys []string, args []any) ([]string, error) {
	request := &commitRequest{ctx: ctx, keys: keys, args: args, last: beginsWithRemoval(args), done: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, request)
	c.mu.Unlock()
	select {
	case c.lanes <- struct{}{}:
		go c.serve()
	case <-request.done:
	case <-ctx.Done():
	case <-c.closed:
		return nil, redis.ErrClosed
	}
	select {
	case <-request.done:
		return c.answer(ctx, request)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve sends batches in a lane until no request waits, and then frees the lane.
func (c *committer) serve() {
	defer func() { <-c.lanes }()
	for c.send() {
	}
}

// close ends the calls of run that wait for a lane, and waits for the batches in progress. Close the client before, so that
// these end.
func (c *committer) close() {
	close(c.closed)
	for range batchLanes {
		c.lanes <- struct{}{}
	}
}

// answer returns the answer to a commit that was sent. If the commit failed, answer sends it again alone, with the driver's
// retries for a single command. The script recognizes a commit that was already made.
func (c *committer) answer(ctx context.Context, request *commitRequest) ([]string, error) {
	if request.answer != nil {
		return request.answer, nil
	}
	return runAlone(c.script.Run(ctx, c.client, request.keys, request.args...))
}

// runAlone returns the answer to a single commit.
func runAlone(cmd *redis.Cmd) ([]string, error) {
	answers, err := cmd.Slice()
	if err != nil {
		return nil, err
	}
	if len(answers) != 1 {
		return nil, fmt.Errorf("the commit script's answer to 1 commit has %d parts", len(answers))
	}
	if answer := commitAnswer(answers[0]); answer != nil {
		return answer, nil
	}
	return nil, fmt.Errorf("the commit script's answer is a %T", answers[0])
}

// commitAnswer returns a part of the script's answer: "ok", or "conflict" with the record if there is one. It returns nil if the
// commit failed.
func commitAnswer(part any) []string {
	switch part := part.(type) {
	case string:
		if part == "ok" {
			return []string{part}
		}
	case []any:
		texts := make([]string, 0, 2)
		for _, value := range part {
			text, ok := value.(string)
			if !ok {
				return nil
			}
			texts = append(texts, text)
		}
		return texts
	}
	return nil
}

// take removes the next batch from the waiting requests, the oldest ones. It drops the requests whose context has ended, so
// that they do not pile up while Redis hangs.
//
// Within the batch the commits that begin with a removal come last. If its memory is full (maxmemory), Redis refuses a write
// that can take more of it, but in a script it judges only the first write. A removal passes, and after it all other writes of
// the call. So if such a commit came first, a full Redis would keep every commit behind it, new sessions too, and grow until
// the kernel kills it. In this order it refuses what it refuses in calls of single commits.
func (c *committer) take() []*commitRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := slices.DeleteFunc(c.waiting, func(request *commitRequest) bool { return request.ctx.Err() != nil })
	batch := slices.Clone(waiting[:min(len(waiting), maxBatch)])
	slices.SortStableFunc(batch, func(a, b *commitRequest) int {
		switch {
		case a.last == b.last:
			return 0
		case a.last:
			return 1
		}
		return -1
	})
	c.waiting = slices.Delete(waiting, 0, len(batch))
	return batch
}

// send sends one batch. It returns false if no request waits.
func (c *committer) send() bool {
	batch := c.take()
	if len(batch) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	keys, args := batch[0].keys, batch[0].args
	if len(batch) > 1 {
		most := 0
		for _, request := range batch {
			most += len(request.args) // which are more than the keys
		}
		keys, args = make([]string, 0, most), make([]any, 0, most)
		for _, request := range batch {
			keys, args = append(keys, request.keys...), append(args, request.args...)
		}
	}
	// If the call fails, each request finds its own error: see answer.
	if answers, err := c.script.EvalSha(ctx, c.client, keys, args...).Slice(); err == nil && len(answers) == len(batch) {
		for n, request := range batch {
			request.answer = commitAnswer(answers[n])
		}
	}
	for _, request := range batch {
		close(request.done)
	}
	return true
}

package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

// comparing is one instance's checkpoint in a row that several instances share. As in the recipe with SQL, a token is stored only in
// place of the one that this instance has loaded or stored last.
type comparing struct {
	*ledger
	moved  error // what another token in the row is answered with
	mine   string
	loaded func() // called after the row was read
}

func (c *comparing) Load(ctx context.Context) (string, error) {
	token, err := c.ledger.Load(ctx)
	c.mine = token
	c.loaded()
	return token, err
}

// Save stores the token of a bookmark. The handler stores that of a change.
func (c *comparing) Save(ctx context.Context, u client.Update) error {
	if u.Verification != nil {
		return nil
	}
	return c.move(ctx, u)
}

func (c *comparing) move(ctx context.Context, u client.Update) error {
	if token, _ := c.saved(); token != c.mine && token != u.ResumeToken {
		return c.moved
	}
	c.mine = u.ResumeToken
	return c.ledger.Save(ctx, u)
}

// TestG14_ACheckpointThatMovedBeforeTheLeaseIsFollowed: the other instance stores a change and gives the consumer back after this one
// has loaded the token, and before its stream is open.
func TestG14_ACheckpointThatMovedBeforeTheLeaseIsFollowed(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		row, loading := &ledger{}, make(chan struct{})
		one := &comparing{ledger: row, moved: errors.New("moved"), loaded: func() {}}
		var first atomic.Bool
		first.Store(true)
		two := &comparing{ledger: row, moved: one.moved, loaded: func() {
			if first.CompareAndSwap(true, false) {
				close(loading)
				time.Sleep(time.Minute / 4)
			}
		}}
		a := consume(t, server.Client(), one.move, client.WithCheckpoint(one))
		b := consume(t, server.Client(), two.move, client.WithCheckpoint(two), client.OnFailure(func(_ client.Update, err error, _ time.Duration) {
			t.Errorf("the second instance failed: %v", err)
		}))
		<-loading
		flip(server, "vs_1", 1)
		a.want("the first instance", "vs_1/1")
		_ = a.stop()
		time.Sleep(time.Minute)
		flip(server, "vs_2", 1)
		b.want("the second instance", "vs_2/1")
	})
}

// TestAHandlerBeginsAgain: the database has lost commits, or an instance that hung has stored a token. Without the end of a stream,
// only the statement that compares the token finds out.
func TestAHandlerBeginsAgain(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		position := &comparing{ledger: &ledger{}, moved: fmt.Errorf("moved: %w", client.ErrBeginAgain), loaded: func() {}}
		var told []error
		r := consume(t, c, position.move, client.WithCheckpoint(position), client.Heartbeat(5*time.Minute),
			client.OnInterruption(func(err error, _ time.Duration) { told = append(told, err) }))
		flip(server, "vs_1", 1)
		r.want("before", "vs_1/1")
		before, _ := position.saved()
		flip(server, "vs_2", 1)
		flip(server, "vs_3", 1)
		r.want("before the loss", "vs_1/1", "vs_2/1", "vs_3/1")
		position.set(before)
		flip(server, "vs_1", 2)
		time.Sleep(taken)
		r.want("after the loss", "vs_1/1", "vs_2/1", "vs_3/1", "vs_2/1", "vs_3/1", "vs_1/2")
		if len(told) != 1 || !errors.Is(told[0], client.ErrBeginAgain) {
			t.Errorf("OnInterruption was told %v; want the handler's error", told)
		}
		time.Sleep(batched)
		wantPending(t, "in the end", c, 0)

		last, _ := position.saved()
		position.set(before)
		server.Heartbeat()
		time.Sleep(taken)
		if got, _ := position.saved(); got != last {
			t.Errorf("after a bookmark that could not be saved the position is %q; want %q", got, last)
		}
	})
}

// TestAHandlerWithoutACheckpointBeginsAgain after what was acknowledged.
func TestAHandlerWithoutACheckpointBeginsAgain(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c, failures := server.Client(), 0
		r := consume(t, c, func(_ context.Context, u client.Update) error {
			if nameOf(u.Verification) == "vs_2/1" && failures < 3 {
				failures++
				return client.ErrBeginAgain
			}
			return nil
		})
		flip(server, "vs_1", 1)
		flip(server, "vs_2", 1)
		flip(server, "vs_3", 1)
		time.Sleep(time.Minute)
		r.want("in the end", "vs_1/1", "vs_2/1", "vs_3/1")
		wantPending(t, "in the end", c, 0)
	})
}

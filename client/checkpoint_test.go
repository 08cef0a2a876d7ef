package client_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestAFileCheckpoint(t *testing.T) {
	leavesNothing(t)
	path := filepath.Join(t.TempDir(), "position")
	checkpoint := client.FileCheckpoint(path)
	want := func(token string) {
		t.Helper()
		if got, err := checkpoint.Load(t.Context()); got != token || err != nil {
			t.Errorf("Load returned %q, %v; want %q", got, err, token)
		}
	}
	want("")
	if err := os.WriteFile(path+".new", []byte("a longer text of a program that was killed while it saved\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("")
	for _, token := range []string{"first", "second"} {
		if err := checkpoint.Save(t.Context(), client.Update{ResumeToken: token}); err != nil {
			t.Fatal(err)
		}
		want(token)
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("the folder has %v, %v; want one file", files, err)
	}
	if err := client.FileCheckpoint(filepath.Join(path, "none")).Save(t.Context(), client.Update{}); err == nil {
		t.Error("Save into a folder that does not exist succeeded")
	}
}

// ledger is a Checkpoint in memory.
type ledger struct {
	mu    sync.Mutex
	token string
	loads int
	fail  error
}

func (l *ledger) Load(context.Context) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loads++
	return l.token, l.fail
}

func (l *ledger) Save(_ context.Context, u client.Update) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail == nil {
		l.token = u.ResumeToken
	}
	return l.fail
}

// saved returns the token, and how often it was loaded.
func (l *ledger) saved() (token string, loads int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token, l.loads
}

// set replaces the token, as a restored backup does.
func (l *ledger) set(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token = token
}

func (l *ledger) setFailure(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// TestConsumeWithACheckpoint: the position is the checkpoint's, from before the first change on, and a change that fails
// holds up all others.
func TestConsumeWithACheckpoint(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		position := &ledger{}
		r := consume(t, c, nil, client.WithCheckpoint(position))
		if token, _ := position.saved(); token == "" {
			t.Fatal("the first position was not saved before the first change")
		}
		_ = r.stop()
		flip(server, "vs_1", 1)
		var fails atomic.Bool
		fails.Store(true)
		var calls atomic.Int32
		r = consume(t, c, func(_ context.Context, u client.Update) error {
			if calls.Add(1); fails.Load() && u.Verification.GetSessionId() == "vs_1" {
				return errors.New("not yet")
			}
			return nil
		}, client.WithCheckpoint(position))
		flip(server, "vs_2", 1)
		time.Sleep(time.Minute)
		r.want("while the first change fails")
		fails.Store(false)
		position.setFailure(errors.New("the disk is full"))
		time.Sleep(2 * time.Minute)
		r.want("while the position cannot be saved", "vs_1/1")
		called := calls.Load()
		position.setFailure(nil)
		time.Sleep(2 * time.Minute)
		r.want("in the end", "vs_1/1", "vs_2/1")
		if n := calls.Load() - called; n != 1 {
			t.Errorf("%d calls after the save of vs_1 succeeded; want one, for vs_2", n)
		}
		wantPending(t, "in the end", c, 0)
		_ = r.stop()

		flip(server, "vs_3", 1)
		before, _ := position.saved()
		r = consume(t, c, nil, client.WithCheckpoint(position))
		r.want("the next run", "vs_3/1")
		time.Sleep(batched)
		_ = r.stop()
		restored := &ledger{token: before} // as a database from a backup
		consume(t, c, nil, client.WithCheckpoint(restored)).want("from the checkpoint, not from what was acknowledged", "vs_3/1")
	})
}

// TestACheckpointThatLostCommitsIsFollowed: the effects of these changes are lost too.
func TestACheckpointThatLostCommitsIsFollowed(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c, position := server.Client(), &ledger{}
		r := consume(t, c, nil, client.WithCheckpoint(position))
		before, _ := position.saved()
		flip(server, "vs_1", 1)
		flip(server, "vs_2", 1)
		r.want("before the loss", "vs_1/1", "vs_2/1")
		position.set(before)
		server.CutStreams(nil)
		time.Sleep(taken)
		flip(server, "vs_3", 1)
		r.want("after the loss", "vs_1/1", "vs_2/1", "vs_1/1", "vs_2/1", "vs_3/1")
		time.Sleep(batched)
		wantPending(t, "in the end", c, 0)
	})
}

// TestACheckpointIsLoadedAtEachTakeover: another instance has moved the position meanwhile.
func TestACheckpointIsLoadedAtEachTakeover(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		position := &ledger{}
		first := consume(t, server.Client(), nil, client.WithCheckpoint(position))
		second := consume(t, server.Client(), nil, client.WithCheckpoint(position))
		flip(server, "vs_1", 1)
		first.want("the first instance", "vs_1/1")
		_ = first.stop()
		time.Sleep(taken)
		flip(server, "vs_2", 1)
		second.want("the second instance", "vs_2/1")
	})
}

// TestACheckpointWhosePositionIsLostEndsConsume: the program must look at the sessions, because its own store says that it
// has seen what the service no longer knows.
func TestACheckpointWhosePositionIsLostEndsConsume(t *testing.T) {
	for name, lose := range map[string]func(*clienttest.Server){
		"by a stream":           func(server *clienttest.Server) { server.ExpireTokens(); server.CutStreams(nil) },
		"by an acknowledgement": func(server *clienttest.Server) { flip(server, "vs_1", 1); synctest.Wait(); server.ExpireTokens() },
		"by a call": func(server *clienttest.Server) {
			server.CutStreams(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_RESUME_TOKEN_EXPIRED))
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, server *clienttest.Server) {
				r := consume(t, server.Client(), nil, client.WithCheckpoint(&ledger{}))
				lose(server)
				time.Sleep(batched)
				r.wantEnd(client.ErrResumeTokenExpired)
			})
		})
	}
}

// TestACheckpointNeedsItsConsumer: a position without a consumer is of one that was lost.
func TestACheckpointNeedsItsConsumer(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		position := &ledger{}
		r := consume(t, server.Client(), nil, client.WithCheckpoint(position))
		_ = r.stop()
		server.DeleteConsumer("mailer")
		consume(t, server.Client(), nil, client.WithCheckpoint(position)).wantEnd(client.ErrConsumerNotFound)
		other := consume(t, server.Client(), nil)
		_ = other.stop()
		consume(t, server.Client(), nil, client.WithCheckpoint(position)).wantEnd(client.ErrConsumerNotFound)
	})
}

// TestACheckpointIsLoadedWhenNoHandlerRuns: after a break, another instance can have moved the position.
func TestACheckpointIsLoadedWhenNoHandlerRuns(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		position := &ledger{}
		r := consume(t, server.Client(), func(ctx context.Context, u client.Update) error {
			if u.Verification.GetOutcomeRevision() > 1 {
				return nil
			}
			_, before := position.saved()
			<-ctx.Done()
			time.Sleep(time.Minute)
			if _, now := position.saved(); now != before {
				t.Error("the position was loaded while a handler ran")
			}
			return nil
		}, client.WithCheckpoint(position))
		flip(server, "vs_1", 1)
		synctest.Wait()
		_, before := position.saved()
		server.CutStreams(nil)
		time.Sleep(2 * time.Minute)
		r.want("after the break", "vs_1/1")
		if _, loads := position.saved(); loads != before+2 {
			t.Errorf("%d loads after the break; want 2: before the stream, and when it has the consumer", loads-before)
		}
		flip(server, "vs_1", 2)
		r.want("in the end", "vs_1/1", "vs_1/2")
	})
}

// TestASlowHandlerIsNoSilence: the next stream waits for the handler, and no error says that it fell silent.
func TestASlowHandlerIsNoSilence(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		var told []error
		r := consume(t, server.Client(), func(_ context.Context, u client.Update) error {
			if u.Verification.GetOutcomeRevision() == 1 {
				time.Sleep(10 * time.Minute)
			}
			return nil
		}, client.WithCheckpoint(&ledger{}), client.OnInterruption(func(err error, _ time.Duration) { told = append(told, err) }))
		flip(server, "vs_1", 1)
		synctest.Wait()
		server.CutStreams(nil)
		time.Sleep(11 * time.Minute)
		flip(server, "vs_1", 2)
		r.want("after the slow handler", "vs_1/1", "vs_1/2")
		if len(told) != 1 {
			t.Errorf("OnInterruption was told %v; want the broken stream only", told)
		}
	})
}

// TestALoadIsBounded: a database that hangs is asked again.
func TestALoadIsBounded(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		position := &hangingLedger{}
		r := consume(t, server.Client(), nil, client.WithCheckpoint(position))
		time.Sleep(time.Minute)
		flip(server, "vs_1", 1)
		r.want("after a load that hung", "vs_1/1")
	})
}

// hangingLedger is a ledger whose first load hangs.
type hangingLedger struct {
	ledger
	hung bool
}

func (l *hangingLedger) Load(ctx context.Context) (string, error) {
	if !l.hung {
		l.hung = true
		<-ctx.Done()
		return "", ctx.Err()
	}
	return l.ledger.Load(ctx)
}

func TestALoadThatFailsIsRepeated(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		position := &ledger{fail: errors.New("the database is away")}
		r := consume(t, server.Client(), nil, client.WithCheckpoint(position), client.OnInterruption(func(err error, _ time.Duration) {
			if _, loads := position.saved(); loads == 3 {
				position.setFailure(nil)
			}
		}))
		flip(server, "vs_1", 1)
		r.want("when the load works", "vs_1/1")
		if _, loads := position.saved(); loads != 5 {
			t.Errorf("Load was called %d times; want 3 failures, and 2 calls for the stream", loads)
		}
	})
}

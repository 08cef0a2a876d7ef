package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// taken is longer than the consumer of a run that has ended stays busy.
const taken = 12 * time.Second

// consumerRun is one run of Consume of the consumer "mailer".
type consumerRun struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan struct{}
	err    error

	mu      sync.Mutex
	handled []string // "session/outcome_revision" for each success
}

// consume starts a run. before is called for each change, and can be nil. The run ends with the test at the latest.
func consume(t *testing.T, c *client.Client, before func(context.Context, client.Update) error, options ...client.ConsumeOption) *consumerRun {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &consumerRun{t: t, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = c.Consume(ctx, "mailer", func(ctx context.Context, u client.Update) error {
			if before != nil {
				if err := before(ctx, u); err != nil {
					return err
				}
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.handled = append(r.handled, nameOf(u.Verification))
			return nil
		}, options...)
	}()
	t.Cleanup(func() { cancel(); <-r.ended })
	time.Sleep(taken)
	return r
}

func nameOf(v *verificationv1.Verification) string {
	return fmt.Sprintf("%s/%d", v.GetSessionId(), v.GetOutcomeRevision())
}

// stop cancels the run and waits for its end.
func (r *consumerRun) stop() error {
	r.cancel()
	<-r.ended
	return r.err
}

// got returns what was handled so far.
func (r *consumerRun) got() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.handled)
}

func (r *consumerRun) want(what string, want ...string) {
	r.t.Helper()
	if got := r.got(); !slices.Equal(got, want) {
		r.t.Errorf("%s: handled %q; want %q", what, got, want)
	}
}

// wantEnd fails the test unless the run has ended with an error that is target.
func (r *consumerRun) wantEnd(target error) {
	r.t.Helper()
	synctest.Wait()
	select {
	case <-r.ended:
		if !errors.Is(r.err, target) {
			r.t.Errorf("ended with %v; want %v", r.err, target)
		}
	default:
		r.t.Errorf("the run continues; want the error %v", target)
	}
}

// mailerState returns what the service shows of the consumer.
func mailerState(t *testing.T, c *client.Client) *verificationv1.Consumer {
	t.Helper()
	all, err := c.ListConsumers(t.Context())
	if err != nil || len(all) != 1 || all[0].GetName() != "mailer" {
		t.Fatalf("the consumers are %v, %v; want mailer", all, err)
	}
	return all[0]
}

func wantPending(t *testing.T, what string, c *client.Client, want int64) {
	t.Helper()
	if got := mailerState(t, c).GetPendingChanges(); got != want {
		t.Errorf("%s: %d changes are pending; want %d", what, got, want)
	}
}

// virtually runs a test in a bubble, with a server in it.
func virtually(t *testing.T, test func(*testing.T, *clienttest.Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, clienttest.NewVirtual(t)) })
}

// batched is longer than Consume waits before it acknowledges.
const batched = 2 * time.Second

func TestConsumeHandlesOutcomesAndAcknowledges(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		server.Set(session("vs_1", requiresInput)) // before the consumer exists
		r := consume(t, c, nil)
		failure := failed()
		server.Set(failure)
		if _, err := c.Retry(t.Context(), "vs_1"); err != nil { // a grant is no outcome
			t.Fatal(err)
		}
		server.Set(person("vs_1", "user-42", verified))
		server.Set(session("vs_2", processing))
		r.want("two sessions", "vs_1/2", "vs_1/4", "vs_2/1")
		time.Sleep(batched)
		wantPending(t, "after the batch", c, 0)
		if err := r.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Consume returned %v; want context.Canceled", err)
		}
		server.Set(session("vs_3", processing))
		consume(t, c, nil, client.MustExist()).want("the next run", "vs_3/1")
	})
}

func TestConsumeEveryChangeAndStatuses(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		var revisions []int32
		r := consume(t, c, func(_ context.Context, u client.Update) error {
			revisions = append(revisions, u.Verification.GetRevision())
			return nil
		}, client.EveryChange())
		server.Set(failed())
		if _, err := c.Retry(t.Context(), "vs_1"); err != nil {
			t.Fatal(err)
		}
		r.want("every change", "vs_1/1", "vs_1/1")
		if !slices.Equal(revisions, []int32{1, 2}) {
			t.Errorf("handled revisions %d; want 1 and 2", revisions)
		}
		_ = r.stop()
		r = consume(t, c, nil, client.Statuses(verified, canceled))
		server.Set(person("vs_1", "user-42", processing))
		server.Set(person("vs_1", "user-42", verified))
		r.want("verified only", "vs_1/4")
	})
}

// TestAHandlerThatFailsHoldsUpItsOwnSession: also with one worker, which others use during the waits.
func TestAHandlerThatFailsHoldsUpItsOwnSession(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		var broken atomic.Bool
		broken.Store(true)
		var waits []time.Duration
		r := consume(t, c, func(_ context.Context, u client.Update) error {
			if broken.Load() && u.Verification.GetSessionId() == "vs_1" {
				return errors.New("the mail server is away")
			}
			return nil
		}, client.OnFailure(func(u client.Update, err error, wait time.Duration) {
			if nameOf(u.Verification) != "vs_1/1" || err.Error() != "the mail server is away" {
				t.Errorf("OnFailure got %s, %v", nameOf(u.Verification), err)
			}
			waits = append(waits, wait)
		}))
		flip(server, "vs_1", 1)
		flip(server, "vs_1", 2)
		flip(server, "vs_2", 1)
		time.Sleep(5 * time.Minute)
		r.want("while vs_1 fails", "vs_2/1")
		wantPending(t, "while the first change fails", c, 3)
		synctest.Wait()
		if len(waits) < 8 || len(waits) > 20 {
			t.Fatalf("%d failures in 5 minutes: %v; want 8 to 20", len(waits), waits)
		}
		for i, wait := range waits {
			if ceiling := min(time.Second<<i, time.Minute); wait < ceiling/2 || wait > ceiling {
				t.Errorf("wait %d is %v; want %v to %v", i+1, wait, ceiling/2, ceiling)
			}
		}
		broken.Store(false)
		time.Sleep(time.Minute + batched)
		r.want("when it works again", "vs_2/1", "vs_1/1", "vs_1/2")
		wantPending(t, "when it works again", c, 0)
	})
}

func TestWorkersRunSideBySideOverSessions(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		var mu sync.Mutex
		running, most := map[string]bool{}, 0
		r := consume(t, server.Client(), func(_ context.Context, u client.Update) error {
			id := u.Verification.GetSessionId()
			mu.Lock()
			if running[id] {
				t.Errorf("two handlers of %s run at once", id)
			}
			running[id] = true
			most = max(most, len(running))
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			delete(running, id)
			return nil
		}, client.Workers(3))
		for n := 1; n <= 4; n++ {
			for s := range 5 {
				flip(server, fmt.Sprint("vs_", s), n)
			}
		}
		time.Sleep(8 * time.Second) // 20 changes by 3 workers take 7 s at least
		handled := r.got()
		if most != 3 {
			t.Errorf("%d handlers ran at once; want 3", most)
		}
		if len(handled) != 20 {
			t.Errorf("handled %d changes in 8 s: %q; want 20", len(handled), handled)
		}
		for s := range 5 {
			wantOrder(t, handled, fmt.Sprint("vs_", s), 4)
		}
	})
}

// wantOrder: the first n outcomes of a session were handled, in order.
func wantOrder(t *testing.T, handled []string, id string, n int) {
	t.Helper()
	var got, want []string
	for _, name := range handled {
		if strings.HasPrefix(name, id+"/") {
			got = append(got, name)
		}
	}
	for i := range n {
		want = append(want, fmt.Sprint(id, "/", i+1))
	}
	if !slices.Equal(got, want) {
		t.Errorf("handled %q of %s; want %q", got, id, want)
	}
}

func TestConsumeHoldsABoundedNumberOfChanges(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		release := make(chan struct{})
		r := consume(t, server.Client(), func(_ context.Context, u client.Update) error {
			if u.Verification.GetSessionId() == "vs_0" {
				<-release
			}
			return nil
		}, client.Workers(2), client.MaxHeld(10))
		for i := range 30 {
			flip(server, fmt.Sprint("vs_", i), 1)
		}
		if n := len(r.got()); n != 9 {
			t.Errorf("handled %d changes behind the one that hangs; want 9", n)
		}
		close(release)
		if n := len(r.got()); n != 30 {
			t.Errorf("handled %d changes in the end; want 30", n)
		}
	})
}

// TestConsumeDrains: the running handler finishes and is acknowledged, and no other one starts.
func TestConsumeDrains(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		var ended error
		r := consume(t, c, func(ctx context.Context, _ client.Update) error {
			time.Sleep(5 * time.Second)
			ended = ctx.Err()
			return nil
		})
		flip(server, "vs_1", 1)
		flip(server, "vs_1", 2)
		flip(server, "vs_2", 1)
		synctest.Wait()
		begun := time.Now()
		if err := r.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Consume returned %v; want context.Canceled", err)
		}
		if passed := time.Since(begun); passed != 5*time.Second {
			t.Errorf("the drain took %v; want 5 s", passed)
		}
		r.want("the handler that ran", "vs_1/1")
		if ended != nil {
			t.Errorf("the context of the handler ended with %v during the drain", ended)
		}
		synctest.Wait()
		if state := mailerState(t, c); state.GetPendingChanges() != 2 || state.GetActive() {
			t.Errorf("after the drain: %v; want 2 pending changes, not active", state)
		}
	})
}

// TestOnlyTheConsumersInstanceWorksUntilItsDrainIsOver: another instance must not repeat what the drain will acknowledge.
func TestOnlyTheConsumersInstanceWorksUntilItsDrainIsOver(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		slow := func(context.Context, client.Update) error { time.Sleep(5 * time.Second); return nil }
		first := consume(t, server.Client(), slow)
		second := consume(t, server.Client(), nil)
		flip(server, "vs_1", 1)
		flip(server, "vs_2", 1)
		synctest.Wait()
		_ = first.stop()
		time.Sleep(taken)
		first.want("the first instance", "vs_1/1")
		second.want("the second instance", "vs_2/1")
	})
}

func TestTheDrainIsBounded(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		for _, obeys := range []bool{true, false} {
			hang, cause := make(chan struct{}), make(chan error, 1)
			r := consume(t, server.Client(), func(ctx context.Context, _ client.Update) error {
				<-ctx.Done()
				cause <- context.Cause(ctx)
				if !obeys {
					<-hang
				}
				return ctx.Err()
			}, client.DrainWithin(3*time.Second))
			flip(server, fmt.Sprint("vs_", obeys), 1)
			synctest.Wait()
			begun, want := time.Now(), 3*time.Second
			if !obeys {
				want += time.Second
			}
			_ = r.stop()
			if passed := time.Since(begun); passed != want {
				t.Errorf("obeys %v: the drain took %v; want %v", obeys, passed, want)
			}
			if err := <-cause; err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("obeys %v: the cause of the end is %v; want one that names the drain", obeys, err)
			}
			close(hang)
		}
	})
}

func TestAHandlerThatEndsItsGoroutineHasFailed(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		calls, failures := 0, 0
		r := consume(t, server.Client(), func(context.Context, client.Update) error {
			if calls++; calls == 1 {
				runtime.Goexit() // as t.FailNow does
			}
			return nil
		}, client.OnFailure(func(client.Update, error, time.Duration) { failures++ }))
		flip(server, "vs_1", 1)
		time.Sleep(batched)
		r.want("the second try", "vs_1/1")
		if failures != 1 {
			t.Errorf("OnFailure was called %d times; want once", failures)
		}
	})
}

// TestAPanicOfAHandlerEndsTheProgram: nothing recovers it, and the change is not acknowledged. The test runs itself as the program
// that panics.
func TestAPanicOfAHandlerEndsTheProgram(t *testing.T) {
	leavesNothing(t)
	const child = "CONSUME_PANICS_AT"
	if target := os.Getenv(child); target != "" {
		c, err := client.Dial(target, client.WithPlaintext())
		if err != nil {
			t.Fatal(err)
		}
		err = c.Consume(within(t), "mailer", func(context.Context, client.Update) error { panic("no such template") }, client.AcknowledgeEach())
		t.Fatalf("Consume returned %v", err)
	}
	server := clienttest.New(t)
	c := server.Client()
	ctx, cancel := context.WithCancel(within(t))
	var makes sync.WaitGroup
	makes.Go(func() { _ = c.Consume(ctx, "mailer", nil) })
	if err := server.AwaitStreams(within(t), 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	makes.Wait()
	flip(server, "vs_1", 1)
	program := exec.CommandContext(within(t), os.Args[0], "-test.run=^TestAPanicOfAHandlerEndsTheProgram$")
	program.Env = append(os.Environ(), child+"="+server.Target())
	output, err := program.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(output), "panic: no such template") {
		t.Errorf("the program ended with %v and\n%s\nwant a panic", err, output)
	}
	wantPending(t, "after the panic", c, 1)
}

func TestConsumeEndsWithItsClient(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		idle := consume(t, c, nil)
		standing := consume(t, c, nil)
		_ = c.Close()
		idle.wantEnd(client.ErrClosed)
		standing.wantEnd(client.ErrClosed)

		c = server.Client()
		full := consume(t, c, func(ctx context.Context, _ client.Update) error { <-ctx.Done(); return ctx.Err() }, client.MaxHeld(1))
		flip(server, "vs_1", 1)
		flip(server, "vs_2", 1)
		synctest.Wait()
		_ = c.Close()
		full.wantEnd(client.ErrClosed)
	})
}

func TestConsumeRefusesOptionsThatCannotBe(t *testing.T) {
	leavesNothing(t)
	server := clienttest.New(t)
	for name, options := range map[string][]client.ConsumeOption{
		"no worker":                    {client.Workers(0)},
		"no room":                      {client.MaxHeld(0)},
		"a negative drain":             {client.DrainWithin(-1)},
		"a checkpoint and two workers": {client.WithCheckpoint(client.FileCheckpoint("unused")), client.Workers(2)},
	} {
		if err := server.Client().Consume(within(t), "mailer", nil, options...); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: Consume returned %v; want an error at once", name, err)
		}
	}
	for _, name := range []string{"", "\xff", "Upper"} {
		if err := server.Client().Consume(within(t), name, nil); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("name %q: Consume returned %v; want an error at once", name, err)
		}
	}
}

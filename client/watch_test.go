package client_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.com/verification-status/client"
)

// soon bounds waits that would otherwise hang. None takes nearly as long.
const soon = 30 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	t.Cleanup(cancel)
	return ctx
}

func TestTheTokenMovesWhenTheBodyIsDone(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	flip(server, "vs_1", 1)
	var token string
	for update, err := range c.Watch(within(t), client.Session("vs_1")) {
		if err != nil {
			t.Fatal(err)
		}
		if update.Verification.GetRevision() == 3 {
			break // not handled: another watch must bring it again
		}
		token = update.ResumeToken
		flip(server, "vs_1", int(update.Verification.GetRevision())+1)
	}
	for update, err := range c.Watch(within(t), client.Session("vs_1"), client.ResumeFrom(token)) {
		if err != nil || update.Verification.GetRevision() != 3 {
			t.Fatalf("revision %d, %v; want 3", update.Verification.GetRevision(), err)
		}
		break
	}
}

func TestAnUpdateMayBeChangedByTheBody(t *testing.T) {
	server := newServer(t)
	flip(server, "vs_1", 1)
	var seen []int32
	for update, err := range server.Client().Watch(within(t), client.Session("vs_1")) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, update.Verification.GetRevision())
		update.Verification.Reset()
		update.ResumeToken = ""
		if len(seen) == 3 {
			break
		}
		server.CutStreams(nil)
		flip(server, "vs_1", len(seen)+1)
	}
	if !slices.Equal(seen, countTo(3)) {
		t.Errorf("saw %v", seen)
	}
}

func TestWatchStartsAgainWhenItsTokenExpired(t *testing.T) {
	server := newServer(t)
	flip(server, "vs_1", 1)
	var resets []bool
	for update, err := range server.Client().Watch(within(t), client.Session("vs_1")) {
		if err != nil {
			t.Fatal(err)
		}
		resets = append(resets, update.Reset)
		switch len(resets) {
		case 1:
			server.ExpireTokens()
			server.CutStreams(nil)
			continue // nothing changed: the snapshot comes all the same
		case 2:
			flip(server, "vs_1", 2)
			continue
		}
		break
	}
	if !slices.Equal(resets, []bool{false, true, false}) {
		t.Errorf("resets %v; want one, in the middle", resets)
	}
}

func TestWatchByReferenceContinuesWithTheNewSession(t *testing.T) {
	server := newServer(t)
	server.Set(person("vs_1", "user-42", requiresInput))
	server.Set(person("vs_1", "user-42", canceled))
	var seen []string
	for update, err := range server.Client().Watch(within(t), client.Reference("user-42")) {
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, update.Verification.GetSessionId())
		if len(seen) == 2 {
			break
		}
		server.Set(person("vs_2", "user-42", requiresInput)) // at revision 1, where vs_1 was at 2
	}
	if !slices.Equal(seen, []string{"vs_1", "vs_2"}) {
		t.Errorf("saw %v", seen)
	}
}

func TestWatchLeavesNoGoroutineWhileTheClientLives(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_1", verified))
	if _, err := c.Status(within(t), client.Session("vs_1")); err != nil {
		t.Fatal(err) // connected now
	}
	connected := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	for range c.Watch(ctx, client.Session("vs_1")) {
		break
	}
	for _, err := range c.Watch(ctx, client.Session("vs_1")) {
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	func() {
		defer func() { _ = recover() }()
		for range c.Watch(within(t), client.Session("vs_1")) {
			panic("the body's")
		}
	}()
	goleak.VerifyNone(t, connected)
}

func TestWatchEndsWithItsClient(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_1", verified))
	var last error
	for _, err := range c.Watch(within(t), client.Session("vs_1")) {
		if last = err; err == nil {
			_ = c.Close()
		}
	}
	if !errors.Is(last, client.ErrClosed) {
		t.Errorf("ended with %v", last)
	}
}

func TestWatchAllResumesWhereItWas(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_before", verified))
	var token string
	var seen []string
	for update, err := range c.WatchAll(within(t), client.Bookmarks()) {
		if err != nil {
			t.Fatal(err)
		}
		if token = update.ResumeToken; update.Verification == nil {
			server.CutStreams(nil)
			server.Set(session("vs_1", processing))
			continue
		}
		seen = append(seen, update.Verification.GetSessionId())
		break
	}
	server.Set(session("vs_2", processing))
	server.Set(session("vs_1", verified))
	for update, err := range c.WatchAll(within(t), client.ResumeFrom(token)) {
		if err != nil {
			t.Fatal(err)
		}
		if seen = append(seen, update.Verification.GetSessionId()); len(seen) == 3 {
			break
		}
	}
	if !slices.Equal(seen, []string{"vs_1", "vs_2", "vs_1"}) {
		t.Errorf("saw %v", seen)
	}
	server.ExpireTokens()
	for update, err := range c.WatchAll(within(t), client.ResumeFrom(token)) {
		if !errors.Is(err, client.ErrResumeTokenExpired) {
			t.Errorf("%v, %v; want the end of a token that expired", update, err)
		}
	}
}

func TestWaitSettled(t *testing.T) {
	server := newServer(t)
	c := server.Client()
	server.Set(session("vs_1", processing))
	var setting sync.WaitGroup
	setting.Go(func() {
		_ = server.AwaitStreams(t.Context(), 1)
		server.CutStreams(nil)
		server.Set(session("vs_1", verified))
	})
	v, err := c.WaitSettled(within(t), client.Session("vs_1"))
	setting.Wait()
	if err != nil || v.GetStatus() != verified {
		t.Errorf("%v, %v", v, err)
	}
	server.Set(session("vs_2", processing))
	_, opened := server.Streams()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	setting.Go(func() {
		_ = server.AwaitStreams(t.Context(), opened+1)
		cancel()
	})
	if _, err = c.WaitSettled(ctx, client.Session("vs_2")); !errors.Is(err, context.Canceled) {
		t.Errorf("ended early with %v", err)
	}
	setting.Wait()
}

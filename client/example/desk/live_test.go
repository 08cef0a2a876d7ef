package main

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

// liveStream is an open stream of the queue.
type liveStream struct {
	*colleague
	lines *bufio.Scanner
	end   context.CancelFunc
}

// watchQueue opens a stream. It ends after 20 s.
func (c *colleague) watchQueue() *liveStream {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.web.URL+"/live/queue", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header = c.headers.Clone()
	response, err := c.browser.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		cancel()
		_ = response.Body.Close()
	})
	return &liveStream{c, bufio.NewScanner(response.Body), cancel}
}

// until reads up to a line that begins with a text, and returns it.
func (s *liveStream) until(want string) string {
	s.t.Helper()
	for s.lines.Scan() {
		if strings.HasPrefix(s.lines.Text(), want) {
			return s.lines.Text()
		}
	}
	s.t.Fatalf("the stream ends without %q: %v", want, s.lines.Err())
	return ""
}

// ended reports whether the stream ends by itself.
func (s *liveStream) ended() bool {
	for s.lines.Scan() {
	}
	return s.lines.Err() == nil
}

// awaitStreams waits until the service has this many open watches.
func (rig *deskRig) awaitStreams(want int) {
	rig.t.Helper()
	stopped, stop := context.WithTimeout(rig.t.Context(), 20*time.Second)
	defer stop()
	for open, _ := rig.backend.Streams(); open != want; open, _ = rig.backend.Streams() {
		select {
		case <-stopped.Done():
			rig.t.Fatalf("%d watches are open, want %d", open, want)
		case <-time.After(time.Millisecond):
		}
	}
}

// logOf returns the default logger's text from now on.
func logOf(t *testing.T) *lockedBuffer {
	log, before := new(lockedBuffer), slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return log
}

// TestLiveQueue: a page of the queue hears of changes. The watch ends with the last page.
func TestLiveQueue(t *testing.T) {
	rig := newRig(t, settings{})
	stream := rig.colleague("Rosa").watchQueue()
	stream.until("event: live") // the watch has begun
	rig.underAge("vs_1")
	stream.until("event: changed")
	stream.end()
	rig.awaitStreams(0)
}

// TestLiveQueueLoadsAfterTheGap: what changed before the stream began is on no stream. The page loads itself when the stream begins.
func TestLiveQueueLoadsAfterTheGap(t *testing.T) {
	rig := newRig(t, settings{})
	rosa := rig.colleague("Rosa")
	rig.see(rosa.get("/", http.StatusOK), "Nobody waits for help.")
	rig.underAge("vs_1")
	rosa.watchQueue().until("event: changed")
}

// TestLiveQueueWithoutTheRight: page and log say why the queue is not live. A colleague with the right is not disturbed.
func TestLiveQueueWithoutTheRight(t *testing.T) {
	log := logOf(t)
	s := proxied()
	s.tokenHeader = "Authorization"
	rig := newRig(t, s)
	person := func(name string) *colleague {
		c := rig.visitor()
		c.headers = http.Header{secretHeader: {testKey}, "X-Forwarded-Email": {name}, "Authorization": {"Bearer vst_" + name}}
		return c
	}
	rosa := person("rosa").watchQueue()
	rosa.until("event: live")
	rig.backend.FailNext(clienttest.Error(verificationv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED))
	sam := person("sam").watchQueue()
	sam.until("event: trouble")
	if data := sam.until("data: "); !strings.Contains(data, "that right is missing") {
		t.Errorf("the event does not say why: %s", data)
	}
	if !sam.ended() {
		t.Error("the stream goes on without a watch")
	}
	if text := log.String(); !strings.Contains(text, "the live queue has ended") || !strings.Contains(text, "PERMISSION_DENIED") || strings.Contains(text, "vst_") {
		t.Errorf("the log does not say why, or has a token: %s", text)
	}
	rig.underAge("vs_1")
	rosa.until("event: changed")
	rig.awaitStreams(1)
}

// TestLiveQueueIsBounded: a person's ninth stream ends the oldest one.
func TestLiveQueueIsBounded(t *testing.T) {
	rig := newRig(t, settings{})
	rosa, sam := rig.colleague("Rosa"), rig.colleague("Sam").watchQueue()
	sam.until("event: live")
	var streams []*liveStream
	for range maxPages {
		streams = append(streams, rosa.watchQueue())
		streams[len(streams)-1].until("retry:")
	}
	rosa.watchQueue().until("retry:")
	if streams[0].until("event: trouble"); !streams[0].ended() {
		t.Error("the oldest stream goes on")
	}
	rig.underAge("vs_1")
	streams[1].until("event: changed")
	sam.until("event: changed")
}

// TestLiveQueueEndsWithTheServer: a server that stops does not wait for browsers.
func TestLiveQueueEndsWithTheServer(t *testing.T) {
	rig := newRig(t, settings{})
	stream := rig.colleague("Rosa").watchQueue()
	stream.until("event: live")
	stopping, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := rig.web.Config.Shutdown(stopping); err != nil {
		t.Errorf("the server waits for a stream: %v", err)
	}
	if !stream.ended() {
		t.Error("the stream goes on")
	}
}

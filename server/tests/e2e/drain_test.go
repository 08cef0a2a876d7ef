package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestG12_DrainAnswersEverything: on SIGTERM every accepted webhook is answered, every open stream ends with a reason, new
// streams are refused, and the process ends with 0 within its limit.
func TestG12_DrainAnswersEverything(t *testing.T) {
	const webhooks, streams, limit = 40, 50, 10 * time.Second
	redis := redistest.Start(t)
	p := rig.Serve(t, rig.Settings(redis.Addr, "DRAIN_TIMEOUT="+limit.String()))
	client := rig.ClientOf(t, p)
	first := rig.Tries("vs_Drained", 2)
	rig.Deliver(t, rig.NewHTTPClient(t), p.Webhook, first[0])

	ends := make([]<-chan error, streams)
	for n := range streams {
		request := rig.WatchSessionRequest("vs_Drained", "")
		if n%3 == 0 {
			request = rig.WatchAllRequest("")
		}
		stream, err := client.WatchStatus(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		revisions, end := receive(stream)
		wantRevision(t, revisions, int32(min(1, n%3)))
		ends[n] = end
	}
	// Redis stands still, so that the webhooks are under way for as long as the test wants.
	redis.Pause()
	answers := sendUnderWay(t, p, webhooks)
	p.Signal(syscall.SIGTERM)
	began := time.Now()
	p.Await("the drain", func() bool { return strings.Contains(p.Stderr.String(), `"stopping"`) })
	p.AwaitReady(http.StatusServiceUnavailable) // nobody new is to be sent here
	redis.Resume()

	kept, err := answers()
	if err != nil {
		t.Error(err)
	}
	for n, end := range ends {
		select {
		case err := <-end:
			rig.WantError(t, err, codes.Unavailable, verificationv1.ErrorReason_ERROR_REASON_DRAINING)
		case <-time.After(limit):
			t.Fatalf("stream %d does not end", n)
		}
	}
	if code := p.Exit(limit - time.Since(began)); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("%d of %d webhooks kept; ended in %v", len(kept), webhooks, time.Since(began).Round(time.Millisecond))
	other := rig.ClientOf(t, rig.Serve(t, rig.Settings(redis.Addr)))
	for _, e := range kept {
		rig.CheckHistory(t, rig.GetStatus(t, other, e.Session), []string{e.ID})
	}
}

// sendUnderWay posts webhooks and returns once the server works at each: it has asked for the body.
// The function returned waits for the answers, and says which events were acknowledged.
func sendUnderWay(t *testing.T, p *rig.Process, n int) func() ([]rig.Event, error) {
	t.Helper()
	accepted, acknowledged := make(chan struct{}, n), make(chan rig.Event, n)
	var group errgroup.Group
	for i := range n {
		e := rig.Tries(fmt.Sprintf("vs_Flying%d", i), 1)[0]
		group.Go(func() error {
			client := rig.NewHTTPClient(t)
			client.Transport.(*http.Transport).ExpectContinueTimeout = rig.Soon
			request, err := http.NewRequest(http.MethodPost, p.Webhook, strings.NewReader(string(e.Body)))
			if err != nil {
				return err
			}
			request.Header.Set("Stripe-Signature", rig.Sign(time.Now(), rig.WebhookSecret, e.Body))
			request.Header.Set("Expect", "100-continue")
			request = request.WithContext(httptrace.WithClientTrace(request.Context(), &httptrace.ClientTrace{
				Got100Continue: func() { accepted <- struct{}{} },
			}))
			response, err := client.Do(request)
			if err != nil {
				return fmt.Errorf("webhook %s was accepted and not answered: %w", e.ID, err)
			}
			text, err := rig.ReadAll(response)
			switch {
			case err != nil:
				return err
			case response.StatusCode == http.StatusOK:
				acknowledged <- e
			case response.StatusCode != http.StatusServiceUnavailable:
				return fmt.Errorf("webhook %s: %s %q", e.ID, response.Status, text)
			}
			return nil
		})
	}
	for range n {
		select {
		case <-accepted:
		case <-time.After(rig.Soon):
			t.Fatal("a webhook is not accepted")
		}
	}
	return func() (kept []rig.Event, err error) {
		err = group.Wait()
		close(acknowledged)
		for e := range acknowledged {
			kept = append(kept, e)
		}
		return kept, err
	}
}

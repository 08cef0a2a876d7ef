//go:build load

package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/verification-status/client"
	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/webhook"
	"example.com/verification-status/server/tests/rig"
)

// What became of a webhook.
const (
	webhookKept    = "acknowledged"
	webhookRefused = "refused connections"
	webhookBroken  = "connections that broke"
)

// ingress gives each webhook to the next slot. It repeats none: it answers 502 if a slot cannot be reached, and Stripe repeats.
type ingress struct {
	u      *upgrade
	url    string
	client *http.Client
	next   atomic.Uint64
	counts tallies
}

func startIngress(u *upgrade) *ingress {
	u.t.Helper()
	g := &ingress{u: u, client: rig.NewHTTPClient(u.t)}
	server := httptest.NewServer(g)
	u.t.Cleanup(server.Close)
	g.url = server.URL + webhook.Path
	return g
}

func (g *ingress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	slots := g.u.slots
	target := "http://" + slots[g.next.Add(1)%uint64(len(slots))].webhook + webhook.Path
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	request.Header = r.Header.Clone()
	response, err := g.client.Do(request)
	if err != nil {
		what := webhookBroken
		if errors.Is(err, syscall.ECONNREFUSED) {
			what = webhookRefused
		}
		g.counts.add(what)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_, _ = rig.ReadAll(response)
	if response.StatusCode == http.StatusOK {
		g.counts.add(webhookKept)
		g.looks(body)
	} else {
		g.counts.add("answered " + response.Status)
	}
	w.WriteHeader(response.StatusCode)
}

// awaitMore waits until more webhooks were acknowledged.
func (g *ingress) awaitMore(n int) {
	g.u.t.Helper()
	from := g.counts.count(webhookKept)
	rig.Await(g.u.t, "webhooks are acknowledged", func() bool { return g.counts.count(webhookKept) >= from+n })
}

// looks checks, after a third of the acknowledgements, that any server shows the event in the session's history, before a catch-up of
// a new server can repair anything.
func (g *ingress) looks(body []byte) {
	if rand.IntN(3) > 0 { // which events are looked at changes nothing
		return
	}
	var event struct {
		ID            string
		Data          struct{ Object struct{ ID string } }
		RelatedObject struct{ ID string } `json:"related_object"`
	}
	_ = json.Unmarshal(body, &event)
	session := event.Data.Object.ID + event.RelatedObject.ID // one of the two is empty
	g.u.watches.Go(func() {
		v, history, err := g.u.history(session)
		if err != nil {
			if g.u.watching.Err() == nil {
				g.u.wrong("the history of %s: %v", session, err)
			}
			return
		}
		if !g.u.hasEvent(v, history, session, event.ID) {
			g.u.wrong("%s: event %s was acknowledged and is not in the record", session, event.ID)
		}
	})
}

// history reads a session with its history, and repeats a call that no server has answered.
func (u *upgrade) history(session string) (v *verificationv1.Verification, history []*verificationv1.HistoryEntry, err error) {
	for over := time.Now().Add(rig.Soon); time.Now().Before(over); _ = pauseFor(u.watching, 100*time.Millisecond) {
		ctx, cancel := context.WithTimeout(u.watching, 5*time.Second)
		v, history, err = u.reader.History(ctx, client.Session(session))
		cancel()
		if !u.repeats("GetStatus", err) {
			return v, history, err
		}
	}
	return nil, nil, err
}

// hasEvent returns whether a history has an event, in either of its styles. A redaction erases histories.
func (u *upgrade) hasEvent(v *verificationv1.Verification, history []*verificationv1.HistoryEntry, session, event string) bool {
	if v.GetRedaction() != verificationv1.Redaction_REDACTION_UNSPECIFIED {
		return true
	}
	partner := event
	for _, e := range u.stripe.Events() {
		if e.SessionID == session && (e.ID == event || e.ThinID == event) {
			partner = e.ID
			if e.ID == event {
				partner = e.ThinID
			}
		}
	}
	for _, entry := range history {
		if id := entry.GetEventId(); id != "" && (id == event || id == partner) {
			return true
		}
	}
	return false
}

// repeats returns whether a call that failed must be repeated: no server has answered it, or the server ends. It counts these.
func (u *upgrade) repeats(call string, err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Aborted, codes.DeadlineExceeded:
		var failure *client.Error
		reason := verificationv1.ErrorReason_ERROR_REASON_UNSPECIFIED
		if errors.As(err, &failure) {
			reason = failure.Reason
		}
		u.calls.add(call + " " + status.Code(err).String() + " " + reason.String())
		return true
	case codes.Unimplemented: // an operator's call, at a server that writes the format before
		u.calls.add(call + " UNIMPLEMENTED")
		return call == "AllowRetry"
	}
	return false
}

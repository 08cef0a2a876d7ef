package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

// TestOverload: Redis answers a hundred milliseconds late, and ten times as many callers come as GRPC_MAX_IN_FLIGHT and
// WEBHOOK_MAX_IN_FLIGHT let in. Each call is served, or refused at once with when to come again. Memory stays near its
// value with exactly as many callers as there are slots. When Redis is fast again no call is refused. Streams stay open and
// show all changes.
func TestOverload(t *testing.T) {
	const inFlight, streams = 16, 100
	redis := redistest.Start(t)
	lag := newSlowProxy(t, redis.Addr)
	p := rig.Serve(t, rig.Settings(lag.addr(), fmt.Sprintf("GRPC_MAX_IN_FLIGHT=%d", inFlight), fmt.Sprintf("WEBHOOK_MAX_IN_FLIGHT=%d", inFlight)))
	o := &overload{t: t, p: p, http: rig.NewHTTPClient(t), client: rig.ClientOf(t, p)}
	for n, kind := range []string{"processing", "requires_input"} {
		o.events = append(o.events, rig.NewEvent(fmt.Sprintf("evt_Load_%d", n), kind, "vs_Load", time.Now().Unix()-100+int64(n), nil, rig.Fields{"status": kind, "client_reference_id": "person-Load"}))
	}
	rig.Deliver(t, o.http, p.Webhook, o.events[0])
	var revisions []<-chan int32
	for range streams {
		stream, err := o.client.WatchStatus(t.Context(), rig.WatchSessionRequest("vs_Load", ""))
		if err != nil {
			t.Fatal(err)
		}
		seen, _ := receive(stream)
		wantRevision(t, seen, 1)
		revisions = append(revisions, seen)
	}
	o.callFor(time.Second, inFlight).log(t, "quick Redis, as many as may be")
	lag.set(100 * time.Millisecond)
	full := o.callFor(3*time.Second, inFlight)
	full.log(t, "slow Redis, as many as may be")
	over := o.callFor(5*time.Second, 10*inFlight)
	over.log(t, "slow Redis, ten times as many")
	for kind, seen := range over.kinds {
		if len(seen.served) == 0 || len(seen.refused) == 0 {
			t.Errorf("%s: %d served, %d refused; want some of both", kind, len(seen.served), len(seen.refused))
		}
	}
	counted := scrape(t, o.http, p)
	for _, what := range []string{`limit="GRPC_MAX_IN_FLIGHT",what="GetStatus"`, `limit="WEBHOOK_MAX_IN_FLIGHT",what="webhook"`} {
		if counted["verification_shed_total{"+what+"}"] == 0 {
			t.Errorf("no call was counted as refused by %s", what)
		}
	}
	if warnings := strings.Count(p.Stderr.String(), "limit reached, refusing"); warnings < 2 || warnings > 4 {
		t.Errorf("%d warnings of two limits, want one a minute of each", warnings)
	}
	if over.memory.Used > full.memory.Used+64<<20 {
		t.Errorf("memory %v, and %v with ten times the callers", full.memory, over.memory)
	}

	lag.set(0)
	rig.Deliver(t, o.http, p.Webhook, o.events[1]) // at once
	for _, seen := range revisions {
		wantRevision(t, seen, 2)
	}
	after := o.callFor(time.Second, inFlight/2)
	after.log(t, "quick Redis again")
	for kind, seen := range after.kinds {
		if len(seen.refused) != 0 {
			t.Errorf("%s: %d refused although Redis is quick again", kind, len(seen.refused))
		}
	}
}

// overload is a load of more callers than the server has slots for.
type overload struct {
	t      *testing.T
	p      *rig.Process
	http   *http.Client
	client verificationv1.VerificationServiceClient
	events []rig.Event
}

// answers are how long the answers of one kind of call took.
type answers struct{ served, refused []time.Duration }

// loadResult has the outcomes of the calls of one period.
type loadResult struct {
	kinds  map[string]*answers
	memory rig.MemoryUse // the most
}

// callFor makes so many callers of each kind call for that long, each a little after its last answer.
func (o *overload) callFor(d time.Duration, callers int) loadResult {
	o.t.Helper()
	result := loadResult{kinds: map[string]*answers{"GetStatus": {}, "webhook": {}}}
	over := time.Now().Add(d)
	var calling sync.WaitGroup
	var mu sync.Mutex // guards result
	repeat := func(kind string, call func() (refused bool, err error)) {
		calling.Go(func() {
			pace := time.NewTicker(50 * time.Millisecond)
			defer pace.Stop()
			for ; time.Now().Before(over); <-pace.C {
				began := time.Now()
				refused, err := call()
				took := time.Since(began)
				if err != nil {
					o.t.Errorf("%s: %v", kind, err)
					return
				}
				mu.Lock()
				if seen := result.kinds[kind]; refused {
					seen.refused = append(seen.refused, took)
				} else {
					seen.served = append(seen.served, took)
				}
				mu.Unlock()
			}
		})
	}
	for range callers {
		repeat("GetStatus", o.status)
		repeat("webhook", o.post)
	}
	result.memory = o.p.MemoryUntil(o.http, over)
	calling.Wait()
	return result
}

// status asks by reference, which needs Redis each time; it is served, or refused as the contract says.
func (o *overload) status() (refused bool, err error) {
	ctx, cancel := context.WithTimeout(o.t.Context(), rig.Soon)
	defer cancel()
	_, err = o.client.GetStatus(ctx, &verificationv1.GetStatusRequest{
		Subject: &verificationv1.GetStatusRequest_ClientReferenceId{ClientReferenceId: "person-Load"},
	}, grpc.WaitForReady(true))
	got := status.Convert(err)
	if got.Code() == codes.Unavailable && rig.Detail[*errdetails.RetryInfo](got).GetRetryDelay() != nil &&
		rig.Detail[*errdetails.ErrorInfo](got).GetReason() == verificationv1.ErrorReason_ERROR_REASON_OVERLOADED.String() {
		return true, nil
	}
	return false, err
}

// post sends an event again: it is taken, or to be sent again.
func (o *overload) post() (refused bool, err error) {
	e := o.events[0]
	response, text, err := rig.Post(o.http, o.p.Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
	switch {
	case err != nil:
		return false, err
	case response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != "":
		return true, nil
	case response.StatusCode != http.StatusOK:
		return false, fmt.Errorf("%s %q", response.Status, text)
	}
	return false, nil
}

func (r loadResult) log(t *testing.T, when string) {
	t.Helper()
	for kind, seen := range r.kinds {
		t.Logf("%s: %s: %d served (%s), %d refused (%s); memory %v", when, kind,
			len(seen.served), rig.Quantiles(seen.served), len(seen.refused), rig.Quantiles(seen.refused), r.memory)
	}
}

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/tests/rig"
)

const (
	outage = 10 * time.Second
	// callLimit is the deadline of the calls made meanwhile.
	callLimit = 2 * time.Second
	// Callers and streams of the load: enough to see a leak of one goroutine or buffer a call.
	loadCallers, loadStreams = 4, 40
)

// TestG3_OutageOfTenSeconds keeps webhooks, calls and streams coming while Redis is down for ten seconds. Each call is
// refused within its deadline, with what to do next. When Redis is back, all calls are served again, and the process keeps
// nothing of the outage.
func TestG3_OutageOfTenSeconds(t *testing.T) {
	for _, test := range []struct {
		name       string
		begin, end func(*redistest.Server)
		start      bool // the server starts during the outage
	}{
		{"gone in the middle", (*redistest.Server).Stop, (*redistest.Server).Start, false},
		{"silent in the middle", (*redistest.Server).Pause, (*redistest.Server).Resume, false},
		{"gone at the start", (*redistest.Server).Stop, (*redistest.Server).Start, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			redis := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
			env := rig.Settings(redis.Addr, "STRIPE_API_KEY="+rig.APIKey, "STRIPE_API_BASE=http://127.0.0.1:1")
			if test.start {
				test.begin(redis)
			}
			p := rig.Launch(t, env, "serve")
			p.AwaitListening()
			o := &outageLoad{t: t, p: p, http: rig.NewHTTPClient(t), client: rig.ClientOf(t, p), events: rig.Tries("vs_Load", 3)}
			if !test.start {
				p.AwaitReady(http.StatusOK)
				rig.Deliver(t, o.http, p.Webhook, o.events[0])
				o.openStreams()
			} else {
				o.status() // connects
			}
			goroutines, heap := o.inUse()
			if !test.start {
				test.begin(redis)
			}
			calls := o.callFor(outage)
			test.end(redis)
			o.awaitServed()
			for _, e := range o.events {
				rig.Deliver(t, o.http, p.Webhook, e)
			}
			o.checkStreams()
			t.Logf("%d calls and webhooks refused in %v; served again %v after the return of Redis", calls, outage, o.served.Round(time.Millisecond))
			o.checkLeft(goroutines, heap)
		})
	}
}

// outageLoad are the callers during an outage.
type outageLoad struct {
	t      *testing.T
	p      *rig.Process
	http   *http.Client
	client verificationv1.VerificationServiceClient
	events []rig.Event

	revisions []<-chan int32
	ends      []<-chan error
	served    time.Duration // how long after the end of the outage all was served again
}

func (o *outageLoad) openStreams() {
	for range loadStreams {
		stream, err := o.client.WatchStatus(o.t.Context(), rig.WatchSessionRequest("vs_Load", ""))
		if err != nil {
			o.t.Fatal(err)
		}
		revisions, end := receive(stream)
		wantRevision(o.t, revisions, 1)
		o.revisions, o.ends = append(o.revisions, revisions), append(o.ends, end)
	}
}

func (o *outageLoad) status() error {
	ctx, cancel := context.WithTimeout(o.t.Context(), callLimit)
	defer cancel()
	_, err := o.client.GetStatus(ctx, &verificationv1.GetStatusRequest{
		Subject:        &verificationv1.GetStatusRequest_SessionId{SessionId: "vs_Load"},
		IncludeHistory: true, // else it may be answered from memory, for a second
	})
	return err
}

func (o *outageLoad) retry() error {
	ctx, cancel := context.WithTimeout(o.t.Context(), callLimit)
	defer cancel()
	_, err := o.client.RetryVerification(ctx, &verificationv1.RetryVerificationRequest{SessionId: "vs_Load"})
	return err
}

// callFor calls and posts for that long, and checks each answer.
func (o *outageLoad) callFor(d time.Duration) (calls int) {
	var callers sync.WaitGroup
	var mu sync.Mutex // guards calls
	over := time.Now().Add(d)
	repeat := func(call func()) {
		callers.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			for ; time.Now().Before(over) && !o.t.Failed(); <-pace.C {
				call()
				mu.Lock()
				calls++
				mu.Unlock()
			}
		})
	}
	refused := func(what string, err error) {
		got := status.Convert(err)
		info, again := rig.Detail[*errdetails.ErrorInfo](got), rig.Detail[*errdetails.RetryInfo](got)
		if got.Code() != codes.Unavailable || again.GetRetryDelay() == nil ||
			info.GetReason() != verificationv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE.String() {
			o.t.Errorf("%s during the outage: %v, %v", what, got, info)
		}
	}
	for range loadCallers {
		repeat(func() { refused("GetStatus", o.status()) })
		repeat(func() { refused("RetryVerification", o.retry()) })
		repeat(func() {
			e := o.events[1]
			response, text, err := rig.Post(o.http, o.p.Webhook, rig.Sign(time.Now(), rig.WebhookSecret, e.Body), e.Body)
			if err != nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
				o.t.Errorf("a webhook during the outage: %v, %q, %v", response, text, err)
			}
		})
	}
	callers.Wait()
	return calls
}

// awaitServed waits until status and webhooks are served again.
func (o *outageLoad) awaitServed() {
	began := time.Now()
	o.p.AwaitReady(http.StatusOK)
	rig.Deliver(o.t, o.http, o.p.Webhook, o.events[0])
	rig.Await(o.t, "the status is served", func() bool { return o.status() == nil })
	o.served = time.Since(began)
}

// checkStreams checks that the streams have lasted through the outage and show what came after it.
func (o *outageLoad) checkStreams() {
	for i, revisions := range o.revisions {
		select {
		case err := <-o.ends[i]:
			o.t.Fatalf("a stream has ended: %v", err)
		default:
		}
		wantRevision(o.t, revisions, 2)
		wantRevision(o.t, revisions, 3)
	}
}

// checkLeft checks that goroutines and memory are back at their values of before, apart from idle ones.
func (o *outageLoad) checkLeft(goroutines, heap int) {
	o.t.Helper()
	const moreGoroutines, moreHeap = 15, 8 << 20
	var now, bytes int
	rig.Await(o.t, "goroutines and memory are back", func() bool {
		now, bytes = o.inUse()
		return now <= goroutines+moreGoroutines && bytes <= heap+moreHeap
	})
	o.t.Logf("goroutines %d before, %d after; heap %d KiB before, %d KiB after", goroutines, now, heap>>10, bytes>>10)
}

// inUse are the goroutines and the bytes of the heap that the server uses, after a collection.
func (o *outageLoad) inUse() (goroutines, heap int) {
	o.t.Helper()
	o.http.CloseIdleConnections()
	if _, err := rig.ReadAll(o.get("/debug/pprof/heap?gc=1")); err != nil {
		o.t.Fatal(err)
	}
	text, err := rig.ReadAll(o.get("/metrics"))
	if err != nil {
		o.t.Fatal(err)
	}
	value := func(name string) int {
		for line := range strings.Lines(text) {
			if number, found := strings.CutPrefix(strings.TrimSpace(line), name+" "); found {
				v, err := strconv.ParseFloat(number, 64)
				if err != nil {
					o.t.Fatal(err)
				}
				return int(v)
			}
		}
		o.t.Fatal(fmt.Errorf("no metric %s", name))
		return 0
	}
	return value("go_goroutines"), value("go_memstats_heap_alloc_bytes")
}

func (o *outageLoad) get(path string) *http.Response {
	o.t.Helper()
	response, err := o.http.Get(o.p.Admin + path)
	if err != nil {
		o.t.Fatal(err)
	}
	return response
}

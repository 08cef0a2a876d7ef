package stripesim

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/verification-status/server/internal/testing/await"
)

// try is a GET that may get no answer: status 0.
func (b *bench) try(ctx context.Context, path string) (status int, header http.Header) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+path, nil)
	must(b.t, err)
	req.Header.Set("Authorization", "Bearer "+testKey)
	req.Close = true // on a connection used before, Go's client repeats a GET by itself
	res, err := b.http.Do(req)
	if err != nil {
		return 0, nil
	}
	_ = res.Body.Close()
	return res.StatusCode, res.Header
}

func TestAPIFaultsWithALimit(t *testing.T) {
	for name, tc := range map[string]struct {
		faults APIFaults
		status int
		kind   string // of Stripe's error
	}{
		"429":    {APIFaults{RateLimited: 1}, 429, typeInvalidRequest},
		"500":    {APIFaults{ServerError: 1}, 500, "api_error"},
		"503":    {APIFaults{Unavailable: 1}, 503, ""},
		"closed": {APIFaults{Closed: 1}, 0, ""},
		"hung":   {APIFaults{Hang: 1, HangFor: time.Millisecond}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{})
			id := b.life() // not by an API call: its connection would be used again
			tc.faults.Limit = 3
			must(t, b.SetAPIFaults(tc.faults))
			for i := range 5 {
				status, header := b.try(t.Context(), sessionsPath+"/"+id)
				want := tc.status
				if i >= 3 {
					want = 200
				}
				if status != want {
					t.Errorf("request %d: %d, want %d", i, status, want)
				}
				if reason := header.Get("Stripe-Rate-Limited-Reason"); (status == 429) != slices.Contains(limitReasons, reason) {
					t.Errorf("request %d: reason %q", i, reason)
				}
			}
			if n := b.Stats().APIFaults; n != 3 {
				t.Errorf("%d faults are counted", n)
			}
			if tc.kind == "" {
				return
			}
			must(t, b.SetAPIFaults(tc.faults)) // the limit begins again
			if a := b.call("GET", eventsPath, nil); a.errorOf(t).Type != tc.kind || a.errorOf(t).Message == "" {
				t.Errorf("body %s", a.body)
			}
		})
	}
}

func TestAPIFaultsSpareTheHostedPageAndOtherPaths(t *testing.T) {
	b := newBench(t, Config{})
	sess := b.create()
	must(t, b.SetAPIFaults(APIFaults{ServerError: 1}))
	if a := b.call("GET", *sess.URL, nil); a.status != 200 {
		t.Errorf("the hosted page: %d", a.status)
	}
	must(t, b.SetAPIFaults(APIFaults{ServerError: 1, Path: eventsPath}))
	if a := b.call("GET", sessionsPath+"/"+sess.ID, nil); a.status != 200 {
		t.Errorf("a session: %d", a.status)
	}
	if a := b.call("GET", eventsPath, nil); a.status != 500 {
		t.Errorf("events: %d", a.status)
	}
	must(t, b.SetAPIFaults(APIFaults{}))
	if a := b.call("GET", eventsPath, nil); a.status != 200 {
		t.Errorf("events on a quiet day: %d", a.status)
	}
}

func TestAPIFaultsAreSharesAndFollowTheSeed(t *testing.T) {
	fates := func(seed uint64) (out []int) {
		b := newBench(t, Config{Seed: seed})
		must(t, b.SetAPIFaults(APIFaults{RateLimited: 0.25, ServerError: 0.25, Unavailable: 0.25}))
		for range 80 {
			status, _ := b.try(t.Context(), eventsPath)
			out = append(out, status)
		}
		return out
	}
	first, same, other := fates(5), fates(5), fates(6)
	if !slices.Equal(first, same) || slices.Equal(first, other) {
		t.Errorf("%v\n%v\n%v", first, same, other)
	}
	counts := map[int]int{}
	for _, status := range first {
		counts[status]++
	}
	for _, status := range []int{200, 429, 500, 503} {
		if counts[status] < 8 || counts[status] > 36 {
			t.Errorf("of 80 requests: %v", counts)
		}
	}
}

// A slow answer tells what was true when the state was read, and is dated when it is sent.
func TestASlowAnswerTellsAnOldTruth(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(1_790_000_000)
	b := newBench(t, Config{Now: func() time.Time { return time.Unix(clock.Load(), 0) }})
	type state struct {
		links  uint32
		faults int
	}
	look := func(id string) state {
		b.mu.Lock()
		defer b.mu.Unlock()
		return state{b.sessions[id].links, b.stats.APIFaults}
	}
	for name, tc := range map[string]struct {
		faults APIFaults
		begun  func(before, now state) bool
		want   string
	}{
		"after the read":  {APIFaults{DelayAfter: time.Second}, func(before, now state) bool { return now.links > before.links }, statusRequiresInput},
		"before the read": {APIFaults{DelayBefore: time.Second}, func(before, now state) bool { return now.faults > before.faults }, statusVerified},
	} {
		t.Run(name, func(t *testing.T) {
			id := b.create().ID
			before := look(id)
			tc.faults.Slow = 1
			must(t, b.SetAPIFaults(tc.faults))
			answered := make(chan answer, 1)
			go func() { answered <- b.call("GET", sessionsPath+"/"+id, nil) }()
			deadline := time.After(patient)
			for tick := time.NewTicker(time.Millisecond); !tc.begun(before, look(id)); {
				select {
				case <-tick.C:
				case <-deadline:
					t.Fatal("the request did not come")
				}
			}
			must(t, b.Submit(id, OutcomeVerified))
			now := clock.Add(100)
			got := await.One(t, answered)
			if got.session(t).Status != tc.want {
				t.Errorf("status %s, want %s", got.session(t).Status, tc.want)
			}
			if want := time.Unix(now, 0).UTC().Format(http.TimeFormat); got.header.Get("Date") != want {
				t.Errorf("Date %s, want %s", got.header.Get("Date"), want)
			}
		})
	}
}

func TestAHungRequestEndsWithItsClient(t *testing.T) {
	b := newBench(t, Config{})
	must(t, b.SetAPIFaults(APIFaults{Hang: 1, HangFor: time.Hour}))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if status, _ := b.try(ctx, eventsPath); status != 0 {
		t.Errorf("answered %d", status)
	}
	// The server's Close, at the end of the test, waits for its handlers.
}

// Of calls whose connection is closed, some were carried out: only the key saves from doing it twice.
func TestAPOSTCanTakeEffectAlthoughTheConnectionCloses(t *testing.T) {
	b := newBench(t, Config{})
	must(t, b.SetAPIFaults(APIFaults{Closed: 1}))
	done := 0
	for range 20 {
		req, err := http.NewRequest(http.MethodPost, b.url+sessionsPath, strings.NewReader(url.Values{"type": {"document"}}.Encode()))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+testKey)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if res, err := b.http.Do(req); err == nil {
			_ = res.Body.Close()
			t.Errorf("answered %d", res.StatusCode)
		}
		done = len(b.Sessions())
	}
	if done < 3 || done > 17 {
		t.Errorf("%d of 20 calls were carried out", done)
	}
}

func TestAPIFaultsAreChecked(t *testing.T) {
	b := newBench(t, Config{})
	nan := 0.0
	nan /= nan
	for name, f := range map[string]APIFaults{
		"negative":     {Hang: -0.1},
		"no number":    {Closed: nan},
		"together":     {RateLimited: 0.6, ServerError: 0.6},
		"slow":         {Slow: 1.1},
		"delay":        {DelayAfter: -1},
		"long":         {DelayBefore: 2 * time.Hour},
		"long hang":    {HangFor: 2 * time.Hour},
		"limit":        {Limit: -1},
		"slow, no num": {Slow: nan},
	} {
		if b.SetAPIFaults(f) == nil {
			t.Errorf("%s: %+v was taken", name, f)
		}
	}
}

package stripesim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// past is a simulator with a history of a year.
func past(t *testing.T, sessions int) (b *bench, now time.Time) {
	t.Helper()
	now = time.Unix(1_790_000_000, 0)
	b = newBench(t, Config{Now: func() time.Time { return now }, Endpoints: hookless, ProcessingDelay: OnDemand})
	must(t, b.CreateHistory(History{Sessions: sessions, From: now.AddDate(-1, 0, 0), To: now}))
	return b, now
}

func sessionsOf(t *testing.T, a answer) (page listObject) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	must(t, json.Unmarshal([]byte(a.body), &page))
	return page
}

// A history has every state that a session can be in, and its times are those of the past.
func TestAHistoryHasEveryState(t *testing.T) {
	b, now := past(t, 3000)
	states := map[string]int{}
	for _, sess := range b.Sessions() {
		state := sess.Status
		if sess.LastErrorCode != "" {
			state += " failed"
		}
		states[state+" "+sess.Redaction]++
		if sess.Flow != "" {
			states["flow"]++
		}
		if sess.Created < now.AddDate(-1, 0, 0).Unix() || sess.Created > now.Unix() {
			t.Fatalf("created at %d", sess.Created)
		}
	}
	for _, state := range []string{"requires_input ", "requires_input failed ", "processing ", "verified ", "canceled ", "verified redacted",
		"verified processing", "canceled redacted", "flow"} {
		if states[state] == 0 {
			t.Errorf("no session is %q: %v", state, states)
		}
	}
	if b.Stats().Attempts != 0 || b.queue.pending != 0 {
		t.Errorf("a history sends webhooks: %+v, %d", b.Stats(), b.queue.pending)
	}
}

// The list has each session of a history once, the newest first, by pages and by windows of time alike.
func TestAHistoryIsListed(t *testing.T) {
	b, now := past(t, 1000)
	recent, err := b.Create(NewSession{})
	must(t, err)
	var want []string
	for _, sess := range b.Sessions() {
		want = append([]string{sess.ID}, want...)
	}
	var paged []string
	for after := ""; ; {
		page := sessionsOf(t, b.call("GET", sessionsPath+"?limit=100"+after, nil))
		for _, sess := range page.Data {
			paged = append(paged, sess.ID)
		}
		if !page.HasMore {
			break
		}
		after = "&starting_after=" + paged[len(paged)-1]
	}
	if diff := cmp.Diff(want, paged); diff != "" || paged[0] != recent.ID {
		t.Errorf("by pages: %s", diff)
	}
	var windows []string
	const days = 10 * 24 * 3600
	for to := now.Unix() + 1; to > now.AddDate(-1, 0, 0).Unix(); to -= days {
		query := "?limit=100&created%5Bgte%5D=" + strconv.FormatInt(to-days, 10) + "&created%5Blt%5D=" + strconv.FormatInt(to, 10)
		page := sessionsOf(t, b.call("GET", sessionsPath+query, nil))
		if page.HasMore {
			t.Fatal("a window of ten days has more than a hundred sessions")
		}
		for _, sess := range page.Data {
			windows = append(windows, sess.ID)
		}
	}
	if diff := cmp.Diff(want, windows); diff != "" {
		t.Errorf("by windows: %s", diff)
	}
}

// The list of events has those of 30 days, in order of time, and the newest one of a session shows the session as it is.
func TestAHistoryHasEventsOf30Days(t *testing.T) {
	b, now := past(t, 1000)
	// Lives that overlap: events of one session come between those of another.
	must(t, b.CreateHistory(History{Sessions: 200, From: now.Add(-time.Hour), To: now}))
	events := b.Events()
	if !slices.IsSortedFunc(events, func(a, b Event) int { return int(a.Created - b.Created) }) || len(events) < 50 {
		t.Errorf("%d events, or they are not in order", len(events))
	}
	newest := map[string]Event{}
	for _, e := range events {
		if age := now.Unix() - e.Created; age < 0 || age > 30*24*3600 {
			t.Fatalf("an event is %d s old", age)
		}
		newest[e.SessionID] = e
	}
	for id, e := range newest {
		if sess := b.truth(id); sess.Status != e.Status {
			t.Errorf("%s is %s, and its newest event says %s", id, sess.Status, e.Status)
		}
		a := b.call("GET", eventsPath+"/"+e.ID, nil)
		if a.status != 200 || !strings.Contains(a.body, id) || !strings.Contains(a.body, e.ID) {
			t.Errorf("GET of event %s: %d", e.ID, a.status)
		}
	}
}

func TestAHistoryFollowsTheSeed(t *testing.T) {
	first, _ := past(t, 200)
	second, _ := past(t, 200)
	if diff := cmp.Diff(first.Sessions(), second.Sessions()); diff != "" {
		t.Error(diff)
	}
}

func TestHistoriesThatCannotBe(t *testing.T) {
	now := time.Unix(1_790_000_000, 0)
	b := newBench(t, Config{Now: func() time.Time { return now }, MaxSessions: 10})
	for name, h := range map[string]History{
		"of the future":     {Sessions: 1, From: now, To: now.Add(time.Second)},
		"backwards":         {Sessions: 1, From: now, To: now.Add(-time.Second)},
		"less than nothing": {Sessions: -1, From: now, To: now},
		"over the limit":    {Sessions: 11, From: now.Add(-time.Hour), To: now},
		"of nobody":         {Sessions: 1, From: now.Add(-time.Hour), To: now, Account: "nobody"},
	} {
		if b.CreateHistory(h) == nil || len(b.Sessions()) != 0 {
			t.Errorf("%s: taken", name)
		}
	}
}

// BenchmarkHistory is what a history of 100,000 sessions costs.
func BenchmarkHistory(b *testing.B) {
	now := time.Now()
	for b.Loop() {
		s, err := New(Config{APIKeys: []string{testKey}, Seed: 7})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.CreateHistory(History{Sessions: 100_000, From: now.AddDate(-1, 0, 0), To: now}); err != nil {
			b.Fatal(err)
		}
	}
}

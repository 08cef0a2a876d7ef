package sse

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
	verificationv1 "example.com/verification-status/gen/verification/v1"
)

func TestG18_LiveOnlyWhileTheServiceAnswers(t *testing.T) {
	s := newSite(t, func(s *site) { s.times.live = time.Hour }) // nothing but the watch says stale
	s.set(requiresInput)
	b := s.browser(t)
	b.connect()
	b.want("status", `"revision":1`)
	b.wantLive()
	s.backend.Heartbeat()
	b.wantLive()
	s.backend.Stop()
	b.want("stale")
	s.set(processing)
	if err := s.backend.Start(); err != nil {
		t.Fatal(err)
	}
	b.wantNotStale("status")
	b.wantLive()
}

// wantNotStale reads up to the next event that is not "stale" and checks its name.
func (b *browser) wantNotStale(name string) {
	b.t.Helper()
	lives := b.lives
	event, ok := b.next()
	for event.name == "stale" {
		event, ok = b.next()
	}
	if !ok || event.name != name || b.lives != lives {
		b.t.Fatalf("event %+v, open %v, live %d times; want %s behind stale alone", event, ok, b.lives-lives, name)
	}
}

func TestG18_AServiceThatFallsSilentIsStale(t *testing.T) {
	s := newSite(t, func(s *site) { s.times.live = 50 * time.Millisecond })
	s.set(requiresInput)
	b := s.browser(t)
	b.connect()
	b.want("status")
	s.backend.Silence(true)
	b.want("stale")
	b.want("stale") // again and again: the page knows from it that this program is there
	s.backend.Silence(false)
	s.set(processing)
	b.wantNotStale("status")
	b.wantLive()
}

// TestG18_AServiceThatIsAwayIsStaleAndLoggedOnce: a new stream does not begin with "live", and many streams make one log line.
func TestG18_AServiceThatIsAwayIsStaleAndLoggedOnce(t *testing.T) {
	s := newSite(t, func(s *site) { s.MaxStreams = 30; s.times.live = 50 * time.Millisecond })
	s.set(requiresInput)
	s.backend.Stop()
	for range 20 {
		b := s.browser(t)
		b.connect()
		b.want("stale")
		if b.lives > 0 {
			t.Fatal("live without the service")
		}
		defer b.close()
	}
	last := s.browser(t)
	last.connect()
	last.want("stale")
	last.want("stale")
	s.web.CloseClientConnections()
	s.web.Close()
	if logged := s.logged.String(); strings.Count(logged, "level=WARN") != 1 {
		t.Errorf("logged %s\nwant one line at level WARN", logged)
	}
}

// TestNothingBegunSharesOneQuestion: users without a session share one call, which reads no session.
func TestNothingBegunSharesOneQuestion(t *testing.T) {
	var calls, others atomic.Int32
	unary := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		calls.Add(1)
		if asked, ok := request.(*verificationv1.GetStatusRequest); !ok || asked.GetSubject() != nil {
			others.Add(1)
		}
		return next(ctx, request)
	}
	stream := func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if info.FullMethod == verificationv1.VerificationService_WatchStatus_FullMethodName {
			others.Add(1)
		}
		return next(srv, ss)
	}
	s := newSite(t, func(s *site) {
		s.backend = clienttest.New(t, grpc.UnaryInterceptor(unary), grpc.StreamInterceptor(stream))
		s.Client = s.backend.Client()
		s.times.live = time.Hour
		s.Authorize = func(r *http.Request) (Viewer, error) { return Viewer{User: r.URL.Query().Get("user")}, nil }
	})
	for _, user := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		b := s.browser(t)
		b.url += "?user=" + user
		b.connect()
		b.want("unknown")
		b.wantLive()
		b.wantEnd()
		if b.retry < retryUnknown {
			t.Errorf("retry %v; want at least %v", b.retry, retryUnknown)
		}
	}
	if calls.Load() != 1 || others.Load() != 0 {
		t.Errorf("%d calls, and %d that look up or watch; want 1 and 0", calls.Load(), others.Load())
	}
}

func TestG18_NothingBegunIsStaleWithoutTheService(t *testing.T) {
	s := newSite(t, func(s *site) {
		s.times = times{live: 10 * time.Millisecond, reach: 300 * time.Millisecond}
		s.Authorize = func(*http.Request) (Viewer, error) { return Viewer{User: "ada"}, nil }
	})
	s.backend.Stop()
	b := s.browser(t)
	for range 2 { // the second time nothing is logged
		b.connect()
		b.want("unknown")
		b.want("stale")
		b.wantEnd()
	}
	if err := s.backend.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for lives := b.lives; b.lives == lives && ctx.Err() == nil; {
		b.connect()
		b.want("unknown")
		b.next()
	}
	s.web.Close()
	if logged := s.logged.String(); ctx.Err() != nil || strings.Count(logged, "level=WARN") != 1 || strings.Count(logged, "level=INFO") != 1 {
		t.Errorf("logged %s\nwant one line when the service went and one when it was back", logged)
	}
}

// TestG18_NothingBegunIsStaleBehindADeadService: the connection is open, and nothing answers on it.
func TestG18_NothingBegunIsStaleBehindADeadService(t *testing.T) {
	var dead atomic.Bool
	s := newSite(t, func(s *site) {
		s.backend = clienttest.New(t, grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if dead.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return next(ctx, request)
		}))
		s.Client = s.backend.Client()
		s.times = times{live: time.Nanosecond, reach: 300 * time.Millisecond} // no answer is fresh at the next connection
		s.Authorize = func(*http.Request) (Viewer, error) { return Viewer{User: "ada"}, nil }
	})
	b := s.browser(t)
	b.connect()
	b.want("unknown")
	b.wantLive()
	dead.Store(true)
	b.connect()
	b.want("unknown")
	b.want("stale")
}

func TestAStreamHasAGreatestAge(t *testing.T) {
	s := newSite(t, func(s *site) { s.times.age = 50 * time.Millisecond })
	s.set(requiresInput)
	b := s.browser(t)
	b.connect()
	b.want("status", `"revision":1`)
	b.wantEnd()
	if b.retry < retryAged || b.retry >= retryBreak {
		t.Errorf("retry %v; want a short one", b.retry)
	}
	s.set(processing)
	b.connect()
	b.want("status", `"revision":2`) // from where it was
}

// slotsSite returns a site that takes user and address from the request.
func slotsSite(t *testing.T, change func(*site)) (*site, func(user, address string) *browser) {
	s := newSite(t, change, func(s *site) {
		s.Authorize = func(r *http.Request) (Viewer, error) {
			query := r.URL.Query()
			return Viewer{User: query.Get("user"), Address: query.Get("address"), Subject: client.Session("vs_1")}, nil
		}
	})
	s.set(requiresInput)
	return s, func(user, address string) *browser {
		b := s.browser(t)
		b.url += "?user=" + user + "&address=" + address
		b.connect()
		return b
	}
}

// TestTheNewestStreamReplacesTheOldest: the oldest can be that of a phone that is gone.
func TestTheNewestStreamReplacesTheOldest(t *testing.T) {
	_, open := slotsSite(t, func(s *site) { s.MaxStreams = 2 })
	first := open("ada", "")
	first.want("status") // before the second stream is opened: else that one can be the older
	second := open("ada", "")
	second.want("status")
	third := open("ada", "")
	third.want("status")
	first.want("busy")
	first.wantEnd()
	if first.response.StatusCode != http.StatusOK || first.retry < retryLong {
		t.Errorf("answered %d, retry %v", first.response.StatusCode, first.retry)
	}
	open("bob", "").want("status") // another user's
	open("ada", "").want("status")
	second.want("busy")
}

// TestNobodyIsShutOut: at the limit of an address, or of all, the user with the most streams loses their oldest.
func TestNobodyIsShutOut(t *testing.T) {
	_, open := slotsSite(t, func(s *site) { s.MaxStreams = 2; s.MaxStreamsPerAddress = 3; s.MaxStreamsTotal = 5 })
	served := func(user, address string) *browser {
		t.Helper()
		b := open(user, address)
		b.want("status")
		return b
	}
	displaced := func(b *browser) {
		t.Helper()
		b.want("busy")
		b.wantEnd()
	}
	a1, a2, b1 := served("a", "one"), served("a", "one"), served("b", "one")
	c1 := served("c", "one")
	displaced(a1)
	d1 := served("d", "one") // one stream each: the oldest
	displaced(a2)
	served("e", "two")
	served("f", "")      // an address that is not known is not bounded
	served("g", "three") // all are five: the oldest
	displaced(b1)
	served("c", "one") // c has the most with the new one
	displaced(c1)
	served("h", "four")
	displaced(d1)
}

// TestACallerWithoutCallsIsNotBusy: a site at its limit does not keep a person from beginning, and the person displaces no stream.
func TestACallerWithoutCallsIsNotBusy(t *testing.T) {
	s, open := slotsSite(t, func(s *site) { s.MaxStreamsTotal = 1 })
	authorize := s.Authorize
	s.Authorize = func(r *http.Request) (Viewer, error) {
		viewer, err := authorize(r)
		if viewer.User == "new" {
			viewer.Subject = client.Subject{}
		}
		return viewer, err
	}
	ada := open("ada", "")
	ada.want("status", `"revision":1`)
	fresh := open("new", "")
	fresh.want("unknown")
	fresh.wantLive()
	s.set(processing)
	ada.want("status", `"revision":2`)
}

func TestSeatsAreCountedExactly(t *testing.T) {
	var s slots
	most := limits{user: 2, address: 3, all: 4}
	var open []*slot
	for _, user := range []string{"a", "a", "a", "b", "c"} {
		open = append(open, s.take(user, "x", most))
	}
	if s.all != 3 || s.addresses["x"] != 3 {
		t.Errorf("%d slots, %v; want 3 at the address", s.all, s.addresses)
	}
	open = append(open, s.take("d", "y", most), s.take("e", "z", most))
	if s.all != 4 {
		t.Errorf("%d slots; want 4 in all", s.all)
	}
	for _, taken := range append(open, open...) { // a slot that was taken over or left is left again
		s.leave(taken)
	}
	if s.all != 0 || len(s.users) != 0 || len(s.addresses) != 0 {
		t.Errorf("left over: %d slots, users %v, addresses %v", s.all, s.users, s.addresses)
	}
}

package live

import (
	"context"
	"net"
	"testing"
	"time"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
	"example.com/verification-status/server/internal/verification"
)

func openRedis(t *testing.T, server *redistest.Server) *redisstore.Store {
	t.Helper()
	opened, err := redisstore.Open(redisstore.Options{Addrs: []string{server.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	return opened
}

func flushAll(t *testing.T, server *redistest.Server) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", server.Addr, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 16)
	if _, err := conn.Write([]byte("FLUSHALL\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(answer); err != nil || string(answer[:n]) != "+OK\r\n" {
		t.Fatalf("FLUSHALL: %q, %v", answer, err)
	}
}

// commitEvent makes one revision of a session, as soon as the store takes it.
func commitEvent(t *testing.T, s store.Store, id, eventID string, second int64) {
	t.Helper()
	event := verification.Event{
		ID: eventID, Type: verification.EventProcessing, Source: verification.SourceWebhook, Second: second,
		RecordTime: time.Now().UnixMilli(),
		Object:     verification.Object{ID: id, Status: verification.StatusProcessing, Type: "document", Report: "vr_" + eventID},
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := s.Update(ctx, id, func(current verification.Session) (verification.Session, bool, error) {
			next, outcome := verification.Transition(current, event)
			return next, outcome.Write, nil
		})
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestOnARealRedisAFlushIsNoticedAndWakesEveryWatcher(t *testing.T) {
	server := redistest.Start(t)
	s, h := openRedis(t, server), hub.New()
	commitEvent(t, s, "vs_1", "evt_0", 1)
	session, quiet := watch(t, h, hub.Session("vs_1")), watch(t, h, hub.Session("vs_quiet"))
	stop := run(t, s, h)
	quiet.wokenWithin(10 * time.Second) // it has begun
	commitEvent(t, s, "vs_1", "evt_1", 2)
	session.wokenWithin(10 * time.Second)
	flushAll(t, server)
	quiet.wokenWithin(2 * checkEvery)
	commitEvent(t, s, "vs_quiet", "evt_2", 3)
	quiet.wokenWithin(10 * time.Second)
	if took := stop(); took > 2*followBlock {
		t.Errorf("stopping took %v", took)
	}
}

func TestOnARealRedisACrashIsSurvived(t *testing.T) {
	server := redistest.Start(t)
	s, h := openRedis(t, server), hub.New()
	quiet := watch(t, h, hub.Session("vs_quiet"))
	stop := run(t, s, h)
	quiet.wokenWithin(10 * time.Second)
	server.Stop()
	server.Start() // empty: nothing was kept
	quiet.wokenWithin(2 * checkEvery)
	commitEvent(t, s, "vs_quiet", "evt_1", 1)
	quiet.wokenWithin(10 * time.Second)
	if took := stop(); took > 2*followBlock {
		t.Errorf("stopping took %v", took)
	}
}

func TestOnARealRedisAHangIsSurvived(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, h := openRedis(t, server), hub.New()
	quiet := watch(t, h, hub.Session("vs_quiet"))
	stop := run(t, s, h)
	quiet.wokenWithin(10 * time.Second)
	server.Pause()
	hung := time.NewTimer(4 * time.Second) // longer than a blocked read may be late
	<-hung.C
	server.Resume()
	quiet.wokenWithin(20 * time.Second)
	commitEvent(t, s, "vs_quiet", "evt_1", 1)
	quiet.wokenWithin(10 * time.Second)
	if took := stop(); took > 2*followBlock {
		t.Errorf("stopping took %v", took)
	}
}

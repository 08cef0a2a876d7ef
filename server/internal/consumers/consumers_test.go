package consumers

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"example.com/verification-status/server/internal/store/redisstore"
	"example.com/verification-status/server/internal/testing/redistest"
)

func TestSmoke(t *testing.T) {
	s, err := redisstore.Open(redisstore.Options{Addrs: []string{redistest.Imitate(t).Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := New(Config{Store: s, Logger: slog.New(slog.DiscardHandler), Lease: time.Second})
	ctx := context.Background()
	st, err := c.Open(ctx, Request{Name: "billing", Caller: "pay"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Open(ctx, Request{Name: "billing", Caller: "pay"})
	t.Log(err)
	states, err := c.List(ctx)
	t.Log(states, err, st.Positions()[0])
	st.Close()
	st, err = c.Open(ctx, Request{Name: "billing", Caller: "pay", MustExist: true})
	if err != nil {
		t.Fatal(err)
	}
	st.Close()
}

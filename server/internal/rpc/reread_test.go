package rpc

import (
	"context"
	"testing"
	"time"

	"example.com/verification-status/server/internal/verification"
)

// hanging is an Ingest whose first read of Stripe hangs until its callers have given up.
type hanging struct {
	Ingest
	begun chan struct{}
	reads int
}

func (h *hanging) Refresh(ctx context.Context, current verification.Session) (verification.Session, error) {
	if h.reads++; h.reads > 1 {
		return current, nil
	}
	close(h.begun)
	<-ctx.Done()
	return current, ctx.Err()
}

// A caller that gives up before Stripe has answered uses up nobody's read: the next one asks.
func TestG8_ARereadThatWasGivenUpIsNotCached(t *testing.T) {
	rereads, from := newRereads(), &hanging{begun: make(chan struct{})}
	session := verification.Session{ID: "vs_1", Revision: 1}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := rereads.read(ctx, from, session, time.Now())
		ended <- err
	}()
	select {
	case <-from.begun:
	case <-ctx.Done():
		t.Fatal("Stripe is not asked")
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a read that was given up has no error")
	}
	again, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if _, err := rereads.read(again, from, session, time.Now()); err != nil || from.reads != 2 {
		t.Errorf("%d reads, error %v; want a second read", from.reads, err)
	}
}

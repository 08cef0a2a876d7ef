package client_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"testing"

	"example.com/verification-status/client"
	"example.com/verification-status/client/clienttest"
)

func TestMaxHeldHasALimit(t *testing.T) {
	leavesNothing(t)
	server := clienttest.New(t)
	for _, n := range []int{1_000_001, 1 << 46, math.MaxInt / 2, math.MaxInt} {
		err := server.Client().Consume(within(t), "mailer", nil, client.MaxHeld(n))
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("MaxHeld(%d): Consume returned %v; want an error at once", n, err)
		}
	}
}

// TestMaxHeldReservesNoMemory: the greatest number costs nothing before the changes come.
func TestMaxHeldReservesNoMemory(t *testing.T) {
	virtually(t, func(t *testing.T, server *clienttest.Server) {
		c := server.Client()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := consume(t, c, nil, client.MaxHeld(1_000_000))
		runtime.ReadMemStats(&after)
		if allocated, most := after.TotalAlloc-before.TotalAlloc, uint64(8<<20); allocated > most {
			t.Errorf("Consume allocated %d bytes before the first change; want at most %d", allocated, most)
		}
		flip(server, "vs_1", 1)
		r.want("with the greatest number", "vs_1/1")
	})
}

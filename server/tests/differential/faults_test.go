package differential

import (
	"context"
	"time"
)

// faults breaks something five times a second on average.
func (r *round) faults(ctx context.Context) {
	rng := r.choices.of(4)
	for pause(ctx, time.Duration(rng.Int64N(int64(400*time.Millisecond)))) == nil {
		master := r.form.master(rng)
		var name string
		switch rng.IntN(7) {
		case 0, 1:
			name = "all connections killed"
			master.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		case 2:
			name = "scripts flushed"
			master.ScriptFlush(ctx)
		case 3:
			name = "writes paused"
			master.Do(ctx, "CLIENT", "PAUSE", 30+rng.IntN(250), "WRITE")
		case 4:
			name = "everything paused"
			master.Do(ctx, "CLIENT", "PAUSE", 30+rng.IntN(100), "ALL")
		case 5:
			name = "Stripe away"
			r.stripe.away.Store(true)
			_ = pause(ctx, time.Duration(rng.Int64N(int64(60*time.Millisecond))))
			r.stripe.away.Store(false)
		case 6:
			if len(r.form.proxies) == 0 || rng.IntN(2) > 0 {
				continue // it lasts
			}
			name = "one replica's feed stalled"
			r.form.proxies[rng.IntN(2)].stallFeed(2500 * time.Millisecond)
		}
		r.count("fault, " + name)
	}
}

package differential

import (
	"context"
	"fmt"
	"slices"
	"time"

	"example.com/verification-status/server/internal/testing/checker"
)

// loss is a way in which Redis loses writes.
type loss struct {
	name string
	// prepare marks what is to be kept. It returns false if that is not possible now.
	prepare func(r *round) bool
	// lose goes back to the mark, and returns the revision at which each session was kept.
	lose func(r *round) (kept map[string]int32, err error)
	// everything: nothing is kept.
	everything bool
}

// losses loses the newest writes every few seconds.
func (r *round) losses(ctx context.Context) {
	rng := r.choices.of(5)
	for pause(ctx, 500*time.Millisecond+time.Duration(rng.Int64N(int64(2*time.Second)))) == nil {
		kind := r.form.losses[rng.IntN(len(r.form.losses))]
		if !kind.prepare(r) {
			r.count("loss not possible")
			continue
		}
		lag := time.Duration(rng.Int64N(int64(400 * time.Millisecond)))
		if rng.IntN(3) == 0 {
			lag /= 20
		}
		_ = pause(ctx, lag) // what is committed meanwhile is lost
		r.loses(ctx, kind)
		r.count("loss, " + kind.name)
	}
}

// loses makes a loss. It ends the era when nothing that was lost must be shown any more.
func (r *round) loses(ctx context.Context, kind loss) {
	var kept map[string]int32
	described := checker.Loss{Reason: kind.name, Everything: kind.everything}
	if !kind.everything {
		described.Kept = func(id string) int32 { return kept[id] }
	}
	shown := make([]map[string]int32, len(r.replicas))
	r.setLoss(true)
	settled := r.recorder.Era(described)
	for i, replica := range r.replicas {
		shown[i] = replica.follows.beforeLoss()
	}
	var err error
	if kept, err = kind.lose(r); err != nil {
		r.violation("%s: %v", kind.name, err)
		return // the era continues
	}
	lost, at := time.Now(), r.stripe.clock.now()
	_ = pause(context.WithoutCancel(ctx), lossVisible)
	r.calls.wait()
	settled()
	r.setLoss(false)
	for i, replica := range r.replicas {
		if unnamed := replica.follows.awaitNamed(shown[i], kept, lost.Add(named)); len(unnamed) > 0 {
			slices.Sort(unnamed)
			r.violation("%v after a loss (%s), the follower of %s has not named %d sessions that lost a shown revision: %s", time.Since(lost).Round(time.Millisecond), kind.name, replica.name, len(unnamed), describe(unnamed[:min(3, len(unnamed))], shown[i], kept))
		}
		replica.follows.afterLoss()
	}
	r.t.Logf("%s: %s; over at %s", at.UTC().Format("15:04:05.000"), kind.name, r.stripe.clock.now().UTC().Format("15:04:05.000"))
}

func describe(ids []string, shown, kept map[string]int32) (text string) {
	for _, id := range ids {
		text += fmt.Sprintf("%s (shown %d, kept %d) ", id, shown[id], kept[id])
	}
	return text
}

// setLoss drops what is known. During a loss nothing is stored.
func (r *round) setLoss(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inLoss = on
	clear(r.known)
}

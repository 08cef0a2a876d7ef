package maintain

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	// daily is how long after its completion a job is due again.
	daily = 24 * time.Hour
	// lookEvery is how often a replica looks whether a job is due, and so how soon another replica takes
	// over a job that failed.
	lookEvery = 10 * time.Minute
	// A job that failed is tried again after 30 s to lookEvery, doubling.
	firstRetry = 30 * time.Second
)

// Store is what the jobs ask of the store.
type Store interface {
	store.Jobs
	store.ListRepairs
	// Update is store.Store's.
	Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error)
	// Walk calls visit for every session at least once, in no order, and returns visit's first error.
	Walk(ctx context.Context, visit func(context.Context, verification.Session) error) error
}

// Config is what Jobs are made of. All but SettledTTL are required.
type Config struct {
	// Store keeps the sessions, the lists, the leases and the marks.
	Store Store
	// SettledTTL is how long after its last change a settled session is archived; 0: never.
	SettledTTL time.Duration
	// Clock tells what is due. Those of replicas can differ by minutes.
	Clock func() time.Time
	// Logger gets what was done and what failed.
	Logger *slog.Logger
}

// Jobs are the jobs of one process. It is safe for concurrent use.
type Jobs struct {
	config Config
	holder string
}

// New makes the jobs of a process. It asks nobody anything.
func New(config Config) *Jobs { return &Jobs{config: config, holder: rand.Text()} }

// Run does every job whenever it is due, until ctx ends. It returns when the work has ended.
func (j *Jobs) Run(ctx context.Context) {
	var jobs sync.WaitGroup
	jobs.Go(func() { j.keep(ctx, j.lists()) })
	if j.config.SettledTTL > 0 {
		jobs.Go(func() { j.keep(ctx, j.retention()) })
	}
	jobs.Wait()
}

// job is work on all sessions that becomes due again some time after it was completed.
type job struct {
	name  string // in the log
	lease string
	// due says whether the job is to be done, by what the store has noted of its last completion.
	due func(context.Context) (bool, error)
	// do does the job and notes its completion in the store. It calls keep before each step.
	do func(ctx context.Context, keep Keep) error
}

// keep does a job whenever it is due, until ctx ends.
func (j *Jobs) keep(ctx context.Context, work job) {
	retry := firstRetry
	for ctx.Err() == nil {
		pause := lookEvery
		switch err := j.look(ctx, work); {
		case err == nil:
			retry = firstRetry
		case errors.Is(err, ErrElsewhere), errors.Is(err, ErrLost):
			pause = LeaseFor // the other replica can die over it
		case ctx.Err() == nil:
			level := slog.LevelWarn
			if errors.Is(err, store.ErrUnavailable) {
				level = slog.LevelDebug // readiness tells of a Redis that is away
			}
			pause, retry = retry, min(2*retry, lookEvery)
			j.config.Logger.Log(ctx, level, work.name+": stopped early; it is tried again", "error", err, "in", pause)
		}
		wait(ctx, pause+mathrand.N(pause/10)) // so that replicas do not look in step
	}
}

// look does a job if it is due.
func (j *Jobs) look(ctx context.Context, work job) error {
	if due, err := work.due(ctx); err != nil || !due {
		return err
	}
	return j.leased(work.lease).Do(ctx, func(ctx context.Context, keep Keep) error {
		// Another replica can have completed the job between the first look and the lease.
		if due, err := work.due(ctx); err != nil || !due {
			return err
		}
		return work.do(ctx, keep)
	})
}

func (j *Jobs) leased(name string) Lease {
	return Lease{Store: j.config.Store, Name: name, Holder: j.holder, Clock: j.config.Clock, Logger: j.config.Logger}
}

// dueAgain says whether a job that was completed at a time in Unix seconds is due again; 0: never
// completed. A time of more than a day ahead was noted by a clock that was wrong: it must not keep the
// job from being done until then.
func dueAgain(now time.Time, completed int64) bool {
	passed := now.Sub(time.Unix(completed, 0))
	return completed == 0 || passed >= daily || passed < -daily
}

func wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

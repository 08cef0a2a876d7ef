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
	// daily is the time after the completion of a job at which it is due again.
	daily = 24 * time.Hour
	// lookEvery is the time between two checks whether a job is due. After at most this time another replica runs a job
	// that failed.
	lookEvery = 10 * time.Minute
	// firstRetry is the time after which a job that failed is tried again. It doubles up to lookEvery.
	firstRetry = 30 * time.Second
)

// Store is the part of store.Backend that the jobs need.
type Store interface {
	store.Jobs
	store.ListRepairs
	Update(ctx context.Context, id string, fn store.UpdateFunc) (verification.Session, error)
	Walk(ctx context.Context, visit func(context.Context, verification.Session) error) error
}

// Config configures Jobs. All fields but SettledTTL and the last two are required.
type Config struct {
	// Store keeps the sessions, the lists, the leases and the marks.
	Store Store
	// SettledTTL is the time after its last change at which a settled session is archived. 0 means never.
	SettledTTL time.Duration
	// Clock decides when a job is due. The clocks of replicas can differ by minutes.
	Clock func() time.Time
	// Logger gets each job that was completed or failed.
	Logger *slog.Logger
	// CheckEndpoint returns what keeps Stripe's events from this server, as a set of bits. It returns an error if it cannot tell now,
	// and is then called again. nil: there is no such job.
	CheckEndpoint func(context.Context) (problems int64, err error)
	// ShowEndpoint gets the result of the last check by any replica, every few minutes. It is required if CheckEndpoint is set.
	ShowEndpoint func(problems int64)
}

// Jobs runs the jobs of one process. It is safe for concurrent use.
type Jobs struct {
	config Config
	holder string
}

// New returns the jobs of a process. It does not call the store.
func New(config Config) *Jobs { return &Jobs{config: config, holder: rand.Text()} }

// Run runs each job whenever it is due, until ctx ends. It returns when no job runs any more.
func (j *Jobs) Run(ctx context.Context) {
	var jobs sync.WaitGroup
	jobs.Go(func() { j.keep(ctx, j.lists()) })
	if j.config.SettledTTL > 0 {
		jobs.Go(func() { j.keep(ctx, j.retention()) })
	}
	if j.config.CheckEndpoint != nil {
		jobs.Go(func() { j.keep(ctx, j.endpoint()) })
	}
	jobs.Wait()
}

// job is work over all sessions that becomes due again some time after it was completed.
type job struct {
	name  string // in the log
	lease string
	after time.Duration // before the first check whether the job is due
	// due returns whether the job is due. It asks the store when the job was last completed.
	due func(context.Context) (bool, error)
	// do does the job and records its completion in the store. It calls keep before each step.
	do func(ctx context.Context, keep Keep) error
}

// keep does a job whenever it is due, until ctx ends.
func (j *Jobs) keep(ctx context.Context, work job) {
	if work.after > 0 {
		wait(ctx, work.after)
	}
	retry := firstRetry
	for ctx.Err() == nil {
		pause := lookEvery
		switch err := j.look(ctx, work); {
		case err == nil:
			retry = firstRetry
		case errors.Is(err, ErrElsewhere), errors.Is(err, ErrLost):
			pause = LeaseFor // the other replica can die during the job
		case ctx.Err() == nil:
			level := slog.LevelWarn
			if errors.Is(err, store.ErrUnavailable) {
				level = slog.LevelDebug // readiness logs that Redis cannot be reached
			}
			pause, retry = retry, min(2*retry, lookEvery)
			j.config.Logger.Log(ctx, level, work.name+": failed, and is tried again", "error", err, "in", pause)
		}
		wait(ctx, pause+mathrand.N(pause/10)) // so that replicas do not check at the same time
	}
}

// look checks whether a job is due, and does it.
func (j *Jobs) look(ctx context.Context, work job) error {
	if due, err := work.due(ctx); err != nil || !due {
		return err
	}
	return j.leased(work.lease).Do(ctx, func(ctx context.Context, keep Keep) error {
		// Another replica can have completed the job between the first check and the lease.
		if due, err := work.due(ctx); err != nil || !due {
			return err
		}
		return work.do(ctx, keep)
	})
}

func (j *Jobs) leased(name string) Lease {
	return Lease{Store: j.config.Store, Name: name, Holder: j.holder, Clock: j.config.Clock, Logger: j.config.Logger}
}

// dueAgain reports whether a job is due again. completed is the Unix second of its last completion, or 0 if it was never completed. A
// time of more than a day in the future comes from a wrong clock, and must not delay the job until then.
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

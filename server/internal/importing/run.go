package importing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/verification-status/server/internal/maintain"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

const (
	leaseName = "import"
	// leaseWait is how long a run waits for the lease of another one: a little longer than the lease of a process that was
	// killed. poll is the time between two tries.
	leaseWait = maintain.LeaseFor + 5*time.Second
	poll      = time.Second

	// tries is how often a step is tried. The pauses between the tries begin with firstPause and double: half a minute in
	// all, in which Stripe's limit of the rate or a failover of Redis is over.
	tries      = 7
	firstPause = 500 * time.Millisecond
	// stepTimeout bounds one try. It is shorter than the lease, which is prolonged between two tries.
	stepTimeout = 30 * time.Second
)

// Platform is the name of the platform itself among the accounts, for people.
const Platform = "platform"

// Reasons to end a run early.
var (
	// ErrReads: the run has made as many reads as Config.Reads allows.
	ErrReads = errors.New("the reads that --reads allows are used up")
	// ErrElsewhere: another import holds the lease.
	ErrElsewhere = errors.New("another import is running")
	// ErrInterrupted: the context ended.
	ErrInterrupted = errors.New("interrupted")
	// ErrNoAccounts: no account is named, and the key has none of its own.
	ErrNoAccounts = errors.New("no account to import: the key of an organization has no sessions of its own. Name the accounts in STRIPE_ACCOUNTS or with --account")
	// errList: Stripe does not list the sessions of an account. verification.ErrStripeUnknown speaks of one session.
	errList = errors.New("Stripe lists no sessions for it: the account does not exist, or the API key has no access to it")
	// errRefused: Stripe answered, and refuses to list the sessions of an account.
	errRefused = errors.New("Stripe refuses the account")
	// errLost: the store no longer has the marks that this run wrote.
	errLost = errors.New("Redis lost what the import had stored")
)

// run is one Run. mu guards summary, because several sessions are applied at the same time.
type run struct {
	*Importer
	job   job
	pace  *pace
	holds int64         // the most sessions of a window
	keep  maintain.Keep // it is safe for concurrent use
	began time.Time

	mu      sync.Mutex
	summary Summary
}

// Run imports until every account is done, or until ctx ends, the reads are used up, or something fails. The next Run resumes
// there. If Stripe refuses an account, Run names it in the summary and imports the others. The error says why the job is
// unfinished; it is nil if every account is done and every session was imported.
func (i *Importer) Run(ctx context.Context) (Summary, error) {
	r := &run{Importer: i, pace: newPace(i.config), holds: windowHolds, began: i.config.Clock()}
	if i.config.Reads > 0 { // a run with few reads must complete a window too
		r.holds = min(r.holds, max(1, int64(i.config.Reads)/4)*pageSize)
	}
	lease := maintain.Lease{Store: i.config.Store, Name: leaseName, Holder: i.holder, Clock: i.config.Clock, Logger: i.config.Logger}
	var err error
	for waited := time.Duration(0); ; waited += i.poll {
		err = lease.Do(ctx, r.all)
		if !errors.Is(err, maintain.ErrElsewhere) {
			break
		}
		if waited >= i.leaseWait {
			err = ErrElsewhere
			break
		}
		r.show(Progress{Waiting: "another import is running, or one was killed less than a minute ago"})
		if err = sleep(ctx, i.poll); err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		err = ErrInterrupted
	}
	r.summary.Took = i.config.Clock().Sub(r.began)
	r.summary.Stopped = err
	if err == nil {
		err = r.summary.incomplete()
	}
	return r.summary, err
}

// all imports every account. If the store loses data meanwhile, it begins again at the positions that the store still has:
// the records that were written after them can be lost too.
func (r *run) all(ctx context.Context, keep maintain.Keep) error {
	var one sync.Mutex
	r.keep = func(ctx context.Context) error {
		one.Lock()
		defer one.Unlock()
		return keep(ctx)
	}
	marks, err := r.marks(ctx, markAddedAt, markAdded)
	if err != nil {
		return err
	}
	r.pace.resume(r.config.Clock(), marks[0], marks[1])
	for try := 1; ; try++ {
		err := r.each(ctx, try == 1)
		if !errors.Is(err, errLost) || try == tries {
			return err
		}
		r.config.Logger.Warn("import: Redis lost what the import had stored; the import begins again at the positions that Redis still has")
	}
}

// each imports one account after the other.
func (r *run) each(ctx context.Context, first bool) (err error) {
	if r.job, err = r.begin(ctx); err != nil {
		return err
	}
	if first {
		r.summary.Resumed = r.job.resumed
	}
	r.summary.Accounts, r.summary.Refused, r.summary.Resume = 0, nil, ""
	for i := range r.job.accounts {
		of := &r.job.accounts[i]
		if of.done {
			r.summary.Accounts++
			continue
		}
		w := &walk{run: r, account: of, from: of.position, width: of.width}
		err := w.sessions(ctx)
		switch {
		case errors.Is(err, errRefused):
			r.config.Logger.Error("import: Stripe refuses to list an account's sessions", "account", of.Name(), "error", err)
			r.summary.Refused = append(r.summary.Refused, of.Name())
			continue
		case err != nil:
			if of.stored && !errors.Is(err, verification.ErrStripeUnauthorized) {
				r.summary.Resume = fmt.Sprintf("%s, sessions created from %s on", of.Name(), time.Unix(w.from, 0).UTC().Format(time.RFC3339))
			}
			return fmt.Errorf("importing %s: %w", of.Name(), err)
		}
		if err := r.finished(ctx, of); err != nil {
			return err
		}
		r.summary.Accounts++
	}
	return r.close(ctx)
}

// withRetries does one step. It tries again after a pause if Stripe or the store is unavailable, or if other writers were
// faster.
func (r *run) withRetries(ctx context.Context, do func(context.Context) error) error {
	pause := r.firstPause
	for try := 1; ; try++ {
		step, cancel := context.WithTimeout(ctx, stepTimeout)
		err := do(step)
		cancel()
		passing := errors.Is(err, verification.ErrStripeUnavailable) || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrConflict)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !passing || try == tries {
			return err
		}
		// A try and the pause after it take less than the lease. All tries take longer.
		if err := r.kept(ctx); err != nil {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		if err := r.kept(ctx); err != nil {
			return err
		}
		pause *= 2
	}
}

// kept prolongs the lease between two tries. It returns an error only if another import has the lease, or if ctx has ended: if the
// store is away, the next try can still succeed.
func (r *run) kept(ctx context.Context) error {
	if err := r.keep(ctx); errors.Is(err, maintain.ErrLost) || ctx.Err() != nil {
		return cmp.Or(err, ctx.Err())
	}
	return nil
}

// read takes one read from Config.Reads. It returns ErrReads if none is left.
func (r *run) read() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.config.Reads > 0 && r.summary.Reads >= r.config.Reads {
		return ErrReads
	}
	r.summary.Reads++
	return nil
}

// sleep returns after a pause, or the context's error when ctx ends.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

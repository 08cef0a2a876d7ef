package importing

import (
	"context"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"slices"
)

// The names of the marks that the store keeps. The name of an account's mark ends with the id of the account, which is
// empty for the platform.
const (
	// markJob is the random number of the unfinished job. 0 means that there is none.
	markJob = "import:job"
	// markSince is Config.Since of the unfinished job.
	markSince = "import:since"
	// markSome is 1 if the unfinished job was begun with Config.Only. 0 means that it is of everything.
	markSome = "import:some"
	// markPosition is the position of the account, in the job that markAccount names.
	markPosition = "import:position:"
	// markWidth is the width of the account's next window, in seconds, as an earlier run has found it.
	markWidth = "import:width:"
	// markAccount is the number of the job that imported the account last. It is negative if the job is done with it.
	markAccount = "import:account:"
	// markAdded is the greatest number of changes that imports have added to a partition of the feed within awayFor before the
	// Unix second of markAddedAt. It includes the step that a run is doing.
	markAdded   = "import:added"
	markAddedAt = "import:added-at"
)

// job is the unfinished job of a run.
type job struct {
	number   int64
	resumed  bool
	some     bool // it was begun with Config.Only
	accounts []account
}

// account is an account of a job.
type account struct {
	name     string // empty for the platform
	position int64
	width    int64
	stored   bool // the store holds position, in this job
	done     bool
}

// Name returns the account's id, or "platform".
func (a account) Name() string {
	if a.name == "" {
		return Platform
	}
	return a.name
}

// begin returns the unfinished job, or a new one if there is none, if it had another Since, or if Config.Again asks for a new one.
func (r *run) begin(ctx context.Context) (job, error) {
	names, err := r.accounts(ctx)
	if err != nil {
		return job{}, err
	}
	wanted := []string{markJob, markSince, markSome}
	for _, name := range names {
		wanted = append(wanted, markPosition+name, markWidth+name, markAccount+name)
	}
	marks, err := r.marks(ctx, wanted...)
	if err != nil {
		return job{}, err
	}
	j := job{number: marks[0], resumed: marks[0] != 0 && marks[1] == r.config.Since && !r.config.Again, some: len(r.config.Only) > 0}
	if !j.resumed {
		j.number = 1 + mathrand.Int64N(math.MaxInt64-1)
	} else if marks[2] == 0 {
		j.some = false
	}
	for i, name := range names {
		of := account{name: name, position: r.config.Since}
		switch position, width, by := marks[3+3*i], marks[4+3*i], marks[5+3*i]; by {
		case j.number:
			of.position, of.width, of.stored = max(position, of.position), width, true
		case -j.number:
			of.done = true
		}
		j.accounts = append(j.accounts, of)
	}
	some := int64(0)
	if j.some {
		some = 1
	}
	if j.resumed {
		if marks[2] == some {
			return j, nil
		}
		return j, r.note(ctx, markSome, some) // a job of some accounts becomes one of everything
	}
	// Each of these marks alone must not look like an unfinished job with another Since.
	for _, mark := range []struct {
		name  string
		value int64
	}{{markJob, 0}, {markSince, r.config.Since}, {markSome, some}, {markJob, j.number}} {
		if err := r.note(ctx, mark.name, mark.value); err != nil {
			return job{}, err
		}
	}
	return j, nil
}

// accounts returns the names of the accounts to import, the platform first.
func (r *run) accounts(ctx context.Context) ([]string, error) {
	if r.config.NoPlatform && slices.Contains(r.config.Only, "") {
		return nil, ErrNoAccounts
	}
	if len(r.config.Only) > 0 {
		return slices.Compact(slices.Sorted(slices.Values(r.config.Only))), nil
	}
	names, err := r.everything(ctx)
	if err == nil && len(names) == 0 {
		return nil, ErrNoAccounts
	}
	return names, err
}

// everything returns the names of all accounts that are imported if Config.Only is empty, the platform first.
func (r *run) everything(ctx context.Context) (names []string, err error) {
	known, err := r.config.Store.Accounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the connected accounts: %w", err)
	}
	if !r.config.NoPlatform {
		names = append(names, "")
	}
	for name := range r.config.Accepted {
		names = append(names, name)
	}
	for _, name := range slices.Concat(r.config.Keyed, known) {
		if r.config.Accepted.Accept(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// moved stores how far a walk has come. The number of the job comes last: the other marks count only with it.
func (r *run) moved(ctx context.Context, w *walk) error {
	if err := r.note(ctx, markPosition+w.account.name, w.from); err != nil {
		return err
	}
	if err := r.note(ctx, markWidth+w.account.name, w.width); err != nil {
		return err
	}
	if err := r.note(ctx, markAccount+w.account.name, r.job.number); err != nil {
		return err
	}
	w.account.position, w.account.stored = w.from, true
	return nil
}

// unchanged returns errLost if the marks of the job and of an account are not those that this run stored last.
func (r *run) unchanged(ctx context.Context, of account) error {
	marks, err := r.marks(ctx, markJob, markAccount+of.name, markPosition+of.name)
	switch {
	case err != nil:
		return err
	case marks[0] != r.job.number,
		of.done && marks[1] != -r.job.number,
		!of.done && of.stored && (marks[1] != r.job.number || marks[2] != of.position):
		return errLost
	}
	return nil
}

// pacing stores what the pace has counted, and a step of more sessions that is done next. A run that is killed leaves the marks for
// the next one.
func (r *run) pacing(ctx context.Context, step int) error {
	if err := r.note(ctx, markAddedAt, r.config.Clock().Unix()); err != nil {
		return err
	}
	return r.note(ctx, markAdded, r.pace.most()+int64(step))
}

// finished stores that the job is done with an account.
func (r *run) finished(ctx context.Context, of *account) error {
	if err := r.note(ctx, markAccount+of.name, -r.job.number); err != nil {
		return err
	}
	of.done = true
	return nil
}

// close ends the job, unless other accounts of it are unfinished. It returns errLost if the store has lost marks of the job.
func (r *run) close(ctx context.Context) error {
	for _, of := range r.job.accounts {
		if err := r.unchanged(ctx, of); err != nil {
			return err
		}
	}
	if err := r.pacing(ctx, 0); err != nil {
		return err
	}
	unfinished, err := r.othersUnfinished(ctx)
	if err != nil || unfinished {
		return err
	}
	// An account that has left for ever must not keep the job unfinished.
	return r.note(ctx, markJob, 0)
}

// othersUnfinished reports whether an account that this run was not asked for is unfinished in the job. An account that was not
// begun is unfinished too if the job is of everything.
func (r *run) othersUnfinished(ctx context.Context) (bool, error) {
	if len(r.config.Only) == 0 {
		return false, nil
	}
	names, err := r.everything(ctx)
	if err != nil {
		return false, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(r.config.Only, name) })
	wanted := []string{}
	for _, name := range names {
		wanted = append(wanted, markAccount+name)
	}
	marks, err := r.marks(ctx, wanted...)
	return slices.ContainsFunc(marks, func(by int64) bool {
		return by == r.job.number || !r.job.some && by != -r.job.number
	}), err
}

func (r *run) marks(ctx context.Context, names ...string) (marks []int64, err error) {
	err = r.withRetries(ctx, func(ctx context.Context) (err error) {
		marks, err = r.config.Store.Marks(ctx, names...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the marks of the import: %w", err)
	}
	return marks, nil
}

func (r *run) note(ctx context.Context, name string, value int64) error {
	err := r.withRetries(ctx, func(ctx context.Context) error { return r.config.Store.SetMark(ctx, name, value) })
	if err != nil {
		return fmt.Errorf("storing the mark %s: %w", name, err)
	}
	return nil
}

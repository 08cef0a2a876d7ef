package maintain

import (
	"context"
	"time"
)

const (
	endpointLease    = "endpoint"
	endpointChecked  = "endpoint-checked"  // the Unix second of the last check
	endpointProblems = "endpoint-problems" // what it found
	// endpointAgain is the time after which a check that found a problem is repeated, so that an alert ends soon after the correction.
	endpointAgain = time.Hour
	// endpointAfter is the time before the first look of a process, so that a start does not ask Stripe for everything at once.
	endpointAfter = 10 * time.Second
)

// endpoint is the job that checks the webhook endpoint at Stripe: once a day, every hour while there is a problem, and at the start of a
// process, since a new configuration can be the correction. The store keeps the result, and each replica shows it.
func (j *Jobs) endpoint() job {
	started := j.config.Clock().Unix()
	return job{
		name: "webhook endpoint", lease: endpointLease, after: endpointAfter,
		due: func(ctx context.Context) (bool, error) {
			marks, err := j.config.Store.Marks(ctx, endpointChecked, endpointProblems)
			if err != nil {
				return false, err
			}
			checked, problems := marks[0], marks[1]
			j.config.ShowEndpoint(problems)
			now := j.config.Clock()
			return dueAgain(now, checked) || problems != 0 && (checked < started || now.Sub(time.Unix(checked, 0)) >= endpointAgain), nil
		},
		do: func(ctx context.Context, _ Keep) error {
			problems, err := j.config.CheckEndpoint(ctx)
			if err != nil {
				return err
			}
			j.config.ShowEndpoint(problems)
			if err := j.config.Store.SetMark(ctx, endpointProblems, problems); err != nil {
				return err
			}
			return j.config.Store.SetMark(ctx, endpointChecked, j.config.Clock().Unix())
		},
	}
}

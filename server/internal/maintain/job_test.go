package maintain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/store"
)

const day = 24 * time.Hour

// fleet has replicas over one store, in a bubble of virtual time.
type fleet struct {
	t     *testing.T
	store *fakeStore
	views map[string]*fakeView
	stops map[string]context.CancelFunc
	work  sync.WaitGroup
}

// inBubble calls run with a fleet and ends its replicas afterwards.
func inBubble(t *testing.T, run func(f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, store: newFakeStore(), views: map[string]*fakeView{}, stops: map[string]context.CancelFunc{}}
		defer f.work.Wait()
		defer func() {
			for _, stop := range f.stops {
				stop()
			}
		}()
		run(f)
	})
}

// view returns what a replica has of the store.
func (f *fleet) view(name string) *fakeView {
	if f.views[name] == nil {
		f.views[name] = &fakeView{fakeStore: f.store, replica: name}
	}
	return f.views[name]
}

// start starts a replica whose clock is ahead.
func (f *fleet) start(name string, ahead time.Duration) {
	f.t.Helper()
	jobs := New(Config{
		Store: f.view(name), SettledTTL: time.Hour, Logger: slog.New(slog.DiscardHandler),
		Clock: func() time.Time { return time.Now().Add(ahead) },
	})
	ctx, cancel := context.WithCancel(f.t.Context())
	f.stops[name] = cancel
	f.work.Go(func() { jobs.Run(ctx) })
}

func (f *fleet) stop(name string) {
	f.stops[name]()
	synctest.Wait()
}

// wantWalks compares how many walks a replica has begun; all replicas if the name is empty.
func (f *fleet) wantWalks(when, replica string, want int) {
	f.t.Helper()
	synctest.Wait()
	if got := f.store.walked(replica); len(got) != want {
		f.t.Errorf("%s: %d walks of replica %q: %v; want %d", when, len(got), replica, got, want)
	}
}

func TestRetentionWalksOnceADay(t *testing.T) {
	for replicas := 1; replicas <= 3; replicas++ {
		inBubble(t, func(f *fleet) {
			for n := range replicas {
				f.start(fmt.Sprint(n), 0)
			}
			for n := range 4 {
				time.Sleep(time.Hour) // each look is up to 11 minutes late
				f.wantWalks(fmt.Sprintf("%d replicas, day %d", replicas, n), "", n+1)
				time.Sleep(day - time.Hour)
			}
		})
	}
}

// A restart causes no walk, and replicas that are replaced all the time still walk.
func TestRetentionWalksOnceADayOverRestarts(t *testing.T) {
	inBubble(t, func(f *fleet) {
		for n := range 10 * 24 {
			name := fmt.Sprint(n)
			f.start(name, 0)
			time.Sleep(time.Hour)
			f.stop(name)
		}
		f.wantWalks("ten days of restarts", "", 10)
	})
}

// However a replica fails, another one does the job within minutes, not after a day.
func TestAFailedJobIsTakenOver(t *testing.T) {
	for name, fail := range map[string]func(f *fleet){
		"an error": func(f *fleet) {
			f.view("a").visit = func(int) error { return errPlanted }
		},
		"the store goes away from it in the middle": func(f *fleet) {
			f.view("a").visit = func(n int) error {
				f.view("a").setCut(n == 1)
				return f.view("a").reach()
			}
		},
		"it dies with the lease in its hand": func(f *fleet) {
			f.view("a").visit = func(int) error {
				f.view("a").setCut(true)
				f.stops["a"]()
				return nil
			}
		},
		"it is stopped": func(f *fleet) {
			f.view("a").visit = func(int) error {
				f.stops["a"]()
				return nil
			}
		},
		"it hangs": func(f *fleet) {
			f.view("a").visit = func(int) error {
				time.Sleep(2 * day)
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(f *fleet) {
				fail(f)
				f.start("a", 0)
				time.Sleep(5 * time.Second)
				f.wantWalks("at first", "a", 1)
				f.start("b", 0)
				time.Sleep(lookEvery + 2*LeaseFor)
				f.wantWalks("minutes later", "b", 1)
				if walks := f.store.walked("b"); len(walks) != 1 || !walks[0].complete || f.store.mark(retentionMark) == 0 {
					t.Errorf("taken over: %v, mark %d", walks, f.store.mark(retentionMark))
				}
				time.Sleep(day - time.Hour)
				f.wantWalks("for the rest of the day", "b", 1)
				time.Sleep(2 * day) // a replica that hung comes back in between
				for _, w := range f.store.walked("a") {
					if w.complete && name == "it hangs" {
						t.Error("a replica that had lost its lease walked to the end")
					}
				}
			})
		})
	}
}

// The mark is set only if a job was completed.
func TestOnlyACompletedJobIsMarked(t *testing.T) {
	inBubble(t, func(f *fleet) {
		f.view("a").visit = func(n int) error {
			if n == 2 {
				return errPlanted
			}
			return nil
		}
		f.start("a", 0)
		time.Sleep(3 * time.Hour)
		if mark := f.store.mark(retentionMark); mark != 0 {
			t.Errorf("marked %d though no walk was completed", mark)
		}
		// 30 s, doubling to ten minutes: a failure does not cost a walk a minute.
		if walks := len(f.store.walked("a")); walks < 15 || walks > 25 {
			t.Errorf("%d tries in three hours", walks)
		}
		f.store.mu.Lock()
		f.view("a").visit = nil
		f.store.mu.Unlock()
		time.Sleep(lookEvery * 2)
		if mark := f.store.mark(retentionMark); time.Since(time.Unix(mark, 0)) > lookEvery*2 {
			t.Errorf("marked %d", mark)
		}
	})
}

// One session that cannot be written stops neither the others nor the job.
func TestASessionThatCannotBeArchivedIsLeft(t *testing.T) {
	for _, err := range []error{store.ErrConflict, store.ErrCorrupt} {
		inBubble(t, func(f *fleet) {
			f.view("a").update = fmt.Errorf("session vs_a: %w", err)
			f.start("a", 0)
			time.Sleep(23 * time.Hour)
			f.wantWalks(err.Error(), "a", 1)
			if f.store.mark(retentionMark) == 0 {
				t.Errorf("%v: the walk was not completed", err)
			}
		})
	}
	inBubble(t, func(f *fleet) {
		f.view("a").update = store.ErrUnavailable
		f.start("a", 0)
		time.Sleep(time.Hour)
		if f.store.mark(retentionMark) != 0 {
			t.Error("marked as completed though nothing could be written")
		}
	})
}

func TestAJobLongerThanItsLeaseKeepsIt(t *testing.T) {
	inBubble(t, func(f *fleet) {
		f.store.sessions, f.store.step = 100, 30*time.Second // 50 minutes
		f.start("a", 0)
		time.Sleep(time.Second)
		f.start("b", 0)
		f.start("c", 0)
		time.Sleep(20 * time.Hour)
		f.wantWalks("twenty hours later", "", 1)
		if walks := f.store.walked("a"); len(walks) != 1 || !walks[0].complete {
			t.Errorf("%v", walks)
		}
	})
}

// A replica that hung until its lease ended stops at the next step, and does not release the lease of the other replica.
func TestAJobWhoseLeaseIsLostStops(t *testing.T) {
	inBubble(t, func(f *fleet) {
		f.store.sessions = 1000
		hung := false
		f.view("a").visit = func(n int) error {
			if n == 10 && !hung {
				hung = true
				time.Sleep(2 * LeaseFor)
			}
			return nil
		}
		f.start("a", 0)
		time.Sleep(20 * time.Second)
		f.start("b", 0)
		time.Sleep(2 * time.Hour)
		f.wantWalks("the other replica", "b", 1)
		f.wantWalks("the replica that hung", "a", 1)
		if f.store.walked("a")[0].complete || !f.store.walked("b")[0].complete {
			t.Errorf("%v", f.store.walked(""))
		}
	})
}

func TestClocksOfReplicasDiffer(t *testing.T) {
	inBubble(t, func(f *fleet) {
		for name, ahead := range map[string]time.Duration{"a": 0, "b": 7 * time.Minute, "c": -7 * time.Minute} {
			f.start(name, ahead)
		}
		for n := range 5 {
			time.Sleep(time.Hour)
			f.wantWalks(fmt.Sprint("day ", n), "", n+1)
			time.Sleep(day - time.Hour)
		}
	})
}

// The mark of a replica whose clock was a year ahead does not delay the other replicas.
func TestAMarkOfAWrongClock(t *testing.T) {
	inBubble(t, func(f *fleet) {
		f.start("a", 365*day)
		time.Sleep(time.Minute)
		f.stop("a")
		f.start("b", 0)
		time.Sleep(day)
		f.wantWalks("a day", "b", 1)
	})
}

// Two replicas that find a job due at the same time do it once: the second one checks again under the lease.
func TestAJobCompletedMeanwhileIsNotDoneAgain(t *testing.T) {
	inBubble(t, func(f *fleet) {
		j := New(Config{Store: f.view("b"), SettledTTL: time.Hour, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
		work := j.retention()
		due := work.due
		looked := false
		work.due = func(ctx context.Context) (bool, error) {
			is, err := due(ctx)
			if !looked {
				looked = true
				other := New(Config{Store: f.view("a"), SettledTTL: time.Hour, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
				if err := other.look(ctx, other.retention()); err != nil {
					t.Error(err)
				}
			}
			return is, err
		}
		if err := j.look(f.t.Context(), work); err != nil {
			t.Error(err)
		}
		f.wantWalks("both", "a", 1)
		f.wantWalks("both", "b", 0)
	})
}

// former is the loop of the version before: a lease of 23 hours, and no mark.
func (f *fleet) former(name string) {
	ctx, cancel := context.WithCancel(f.t.Context())
	f.stops[name] = cancel
	view := f.view(name)
	f.work.Go(func() {
		for {
			wait(ctx, day/24)
			if ctx.Err() != nil {
				return
			}
			if held, err := view.Lease(ctx, "retention", name, day-day/24); err != nil || !held {
				continue
			}
			archiving := New(Config{Store: view, SettledTTL: time.Hour, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
			if _, _, err := archiving.archive(ctx, func(context.Context) error { return nil }); err != nil && !errors.Is(err, context.Canceled) {
				f.t.Error(err)
			}
		}
	})
}

// During a rolling update, neither version delays the other or adds more than one walk.
func TestTheVersionBeforeAtTheSameTime(t *testing.T) {
	t.Run("forward", func(t *testing.T) {
		inBubble(t, func(f *fleet) {
			f.former("old")
			time.Sleep(90 * time.Minute)
			f.wantWalks("the old version", "old", 1)
			f.stop("old") // its lease lasts for 23 hours
			f.start("new", 0)
			time.Sleep(time.Hour)
			f.wantWalks("after the roll", "new", 1)
			time.Sleep(22 * time.Hour)
			f.wantWalks("for the rest of the day", "new", 1)
		})
	})
	t.Run("side by side", func(t *testing.T) {
		inBubble(t, func(f *fleet) {
			f.start("new", 0)
			time.Sleep(time.Minute)
			f.former("old")
			time.Sleep(22 * time.Hour)
			f.wantWalks("a day", "", 1)
		})
	})
	t.Run("back", func(t *testing.T) {
		inBubble(t, func(f *fleet) {
			f.start("new", 0)
			time.Sleep(2 * time.Hour)
			f.stop("new")
			f.former("old")
			time.Sleep(20 * time.Hour)
			f.wantWalks("for the rest of the day", "old", 0)
			time.Sleep(3 * time.Hour)
			if len(f.store.walked("old")) == 0 {
				t.Error("the version before was kept from its work")
			}
		})
	})
}

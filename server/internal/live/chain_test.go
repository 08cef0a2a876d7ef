package live

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/verification-status/server/internal/live/hub"
	"example.com/verification-status/server/internal/store"
)

// losses notes what Config.Lost gets.
type losses struct {
	mu       sync.Mutex
	sessions []string
	more     bool
	times    int
}

func (l *losses) rewound(sessions []string, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions, l.more, l.times = append(l.sessions, sessions...), l.more || more, l.times+1
}

func (l *losses) noted() (sessions []string, more bool, times int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sessions), l.more, l.times
}

// The store loses its newest entries, and more come than were lost before anybody asks for a position: the
// entry that is read next follows another one than the one read last. The same where an older version writes
// these, so that they do not say what they follow.
func TestG7_ALossThatIsOvergrownBetweenTwoChecksIsNoticed(t *testing.T) {
	for name, set := range map[string]func(*feed){
		"this version":     func(*feed) {},
		"an older version": func(f *feed) { f.old = true },
		"and the check meets an untouched server": func(f *feed) { f.blind = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, h, m, l := newFeed(), hub.New(), &fakeCache{}, &losses{}
				set(f)
				runFollower(t, newFollowing(f, h, m, l.rewound, slog.New(slog.DiscardHandler)))
				synctest.Wait()
				for n := range 5 {
					f.add(0, store.Entry{SessionID: fmt.Sprintf("vs_%d", n), Revision: 1})
				}
				quiet := watch(t, h, hub.Session("vs_quiet"), hub.Reference("person"), hub.Partition(1))
				time.Sleep(checkEvery / 5)
				synctest.Wait()
				quiet.woken()
				f.set(func() {
					f.entries[0] = slices.Clone(f.entries[0][:3])
					for n := range 4 {
						f.append(0, store.Entry{SessionID: fmt.Sprintf("vs_new%d", n), Revision: 1})
					}
				})
				f.notify()
				if !quiet.woken() {
					t.Error("a watcher of another session was not woken, although the store has lost writes")
				}
				if lost, more, times := l.noted(); !slices.Equal(lost, []string{"vs_3", "vs_4"}) || more || times != 1 {
					t.Errorf("got %v as lost, more %v, %d times; want vs_3 and vs_4 once", lost, more, times)
				}
				if lines := m.lines(); lines[len(lines)-2] != "reset 0" {
					t.Errorf("the cache got %q; want a reset last", lines)
				}
				f.add(0, store.Entry{SessionID: "vs_quiet", Revision: 1})
				if !quiet.woken() {
					t.Error("the feed is not followed any more")
				}
				if _, _, times := l.noted(); times != 1 {
					t.Errorf("a loss was reported %d times", times)
				}
			})
		})
	}
}

// Entries are trimmed before they were read: the next one that is there follows none that was seen.
func TestG6_AFeedThatIsTrimmedBeforeItIsReadIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, h, m, l := newFeed(), hub.New(), &fakeCache{}, &losses{}
		runFollower(t, newFollowing(f, h, m, l.rewound, slog.New(slog.DiscardHandler)))
		synctest.Wait()
		quiet := watch(t, h, hub.Session("vs_quiet"))
		f.set(func() {
			for range 3 {
				f.append(0, store.Entry{SessionID: "vs_1", Revision: 1})
			}
			f.trimmed = 2
		})
		f.notify()
		if !quiet.woken() {
			t.Error("a watcher was not woken, although entries were trimmed before they were read")
		}
		if lines := m.lines(); !slices.Contains(lines[2:], "reset 0") {
			t.Errorf("the cache got %q; want a reset", lines)
		}
		if _, _, times := l.noted(); times != 0 {
			t.Error("trimmed entries were reported as lost")
		}
	})
}

// An answer of the feed does not say that the positions still are good: the cache is fresh as far as the last
// check, however much is read since.
func TestG8_TheCacheAnswersOnlyWhileTheLastCheckIsRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, m := newFeed(), &boundedCache{fakeCache: &fakeCache{}}
		m.fresh = func(until time.Time) {
			if f.mu.Lock(); until.After(f.checked) && !f.checked.IsZero() {
				t.Errorf("the cache is fresh until %v after the last check", until.Sub(f.checked))
			}
			f.mu.Unlock()
		}
		runWith(t, f, hub.New(), m)
		for n := range 200 {
			time.Sleep(7 * time.Millisecond)
			f.add(n%2, store.Entry{SessionID: "vs_1", Revision: int32(n)})
		}
		synctest.Wait()
	})
}

// boundedCache reports until when it is marked fresh.
type boundedCache struct {
	*fakeCache
	fresh func(until time.Time)
}

func (m *boundedCache) markFresh(_ int, until time.Time) []string {
	m.fresh(until)
	return nil
}

// A commit of this process that the feed does not show is lost, although the positions are good; after a
// break all commits that it had not shown can be lost.
func TestG7_OwnCommitsThatTheFeedDoesNotShowAreReportedLost(t *testing.T) {
	for name, loses := range map[string]func(*feed){
		"behind the position": func(*feed) {},
		"with the position":   func(f *feed) { f.lost = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, h, m, l := newFeed(), hub.New(), &fakeCache{}, &losses{}
				runFollower(t, newFollowing(f, h, m, l.rewound, slog.New(slog.DiscardHandler)))
				synctest.Wait()
				watcher := watch(t, h, hub.Session("vs_own"))
				m.setUnconfirmed("vs_own")
				f.set(func() { loses(f) })
				time.Sleep(2 * (followBlock + checkEvery))
				if !watcher.woken() {
					t.Error("the session's watcher was not woken")
				}
				if lost, _, _ := l.noted(); !slices.Equal(lost, []string{"vs_own"}) {
					t.Errorf("got %v as lost; want vs_own", lost)
				}
			})
		})
	}
}

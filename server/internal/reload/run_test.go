package reload

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/verification-status/server/internal/config"
)

// started runs a Watcher of one file and returns what it takes.
func started(t *testing.T, path string, settle, poll time.Duration) <-chan string {
	t.Helper()
	taken := make(chan string, 10)
	w := New(Config{Read: config.ReadFile, Logger: slog.New(slog.DiscardHandler)})
	w.settle, w.poll = settle, poll
	err := w.Add(Source{Name: "SECRET_FILE", Paths: []string{path}, Apply: func(texts []string) error {
		taken <- texts[0]
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return taken
}

func awaitTaken(t *testing.T, taken <-chan string, want string) {
	t.Helper()
	select {
	case got := <-taken:
		if got != want {
			t.Fatalf("%q was taken, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %q", want)
	}
}

// The file system tells of every way in which a file is replaced: with a poll an hour away, nothing
// else can.
func TestNoticesOfTheFileSystem(t *testing.T) {
	mounted := &volume{t: t, dir: t.TempDir()}
	mounted.swap(map[string]string{"secret": "1"})
	path := filepath.Join(mounted.dir, "secret")
	taken := started(t, path, 20*time.Millisecond, time.Hour)
	awaitTaken(t, taken, "1")
	mounted.swap(map[string]string{"secret": "2"})
	awaitTaken(t, taken, "2")
	mounted.swap(map[string]string{"secret": "3"}) // the watch must outlive the directory it led to
	awaitTaken(t, taken, "3")
	replace(t, path, "4")
	awaitTaken(t, taken, "4")
	write(t, path, "5")
	awaitTaken(t, taken, "5")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, "6")
	awaitTaken(t, taken, "6")
}

// A directory that went away takes its watch along: the poll finds what came in its place.
func TestPollWithoutNotices(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mount")
	path := filepath.Join(dir, "secret")
	mount := func(text string) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, text)
	}
	mount("1")
	taken := started(t, path, 10*time.Millisecond, 20*time.Millisecond)
	awaitTaken(t, taken, "1")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	mount("2")
	awaitTaken(t, taken, "2")
	// Behind a link to elsewhere nothing is told either.
	elsewhere := filepath.Join(t.TempDir(), "secret")
	write(t, elsewhere, "3")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, path); err != nil {
		t.Fatal(err)
	}
	awaitTaken(t, taken, "3")
	replace(t, elsewhere, "4")
	awaitTaken(t, taken, "4")
}

// What changed between Add and Run is found without any notice.
func TestChangeBeforeRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, "good-1")
	s := newSetting(t, path)
	write(t, path, "good-2")
	changed := make(chan string, 1)
	s.sources[0].Apply = func(texts []string) error {
		changed <- texts[0]
		return nil
	}
	s.settle = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	awaitTaken(t, changed, "good-2")
	cancel()
	<-ended
}

// Nothing to watch is no work, and no reason to wait for an end.
func TestRunOfNothing(t *testing.T) {
	New(Config{Read: config.ReadFile}).Run(context.Background())
}

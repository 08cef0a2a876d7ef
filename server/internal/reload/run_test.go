package reload

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestRunFindsEveryKindOfChange: however a file is replaced, also in a directory that was missing, and behind a link that gets another
// target. Run ends with its context.
func TestRunFindsEveryKindOfChange(t *testing.T) {
	mounted := &volume{t: t, dir: filepath.Join(t.TempDir(), "mount")}
	mount := func(text string) {
		if err := os.MkdirAll(mounted.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		mounted.swap(map[string]string{"secret": text})
	}
	mount("start")
	path := filepath.Join(mounted.dir, "secret")
	elsewhere := filepath.Join(t.TempDir(), "secret")
	taken := make(chan string, 1)
	w := New(Config{Logger: slog.New(slog.DiscardHandler)})
	w.every = time.Millisecond
	err := w.Add(Source{Name: "SECRET_FILE", Paths: []string{path}, Read: readSmall, Apply: func(texts []string) error {
		taken <- texts[0]
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	await := func(want string) {
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
	await("start")
	replace(t, path, "before Run")
	running.Go(func() { w.Run(ctx) })
	await("before Run")
	for _, change := range []struct {
		name string
		make func(text string)
	}{
		{"renamed over", func(text string) { replace(t, path, text) }},
		{"removed, and there again", func(text string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			replace(t, path, text)
		}},
		{"its directory created again", func(text string) {
			if err := os.RemoveAll(mounted.dir); err != nil {
				t.Fatal(err)
			}
			mount(text)
		}},
		{"swapped", mount},
		{"swapped again", mount},
		{"a link to elsewhere", func(text string) {
			replace(t, elsewhere, text)
			if err := errors.Join(os.Symlink(elsewhere, path+".new"), os.Rename(path+".new", path)); err != nil {
				t.Fatal(err)
			}
		}},
		{"replaced there", func(text string) { replace(t, elsewhere, text) }},
	} {
		change.make(change.name)
		await(change.name)
	}
}
